#pragma once
// The shell around one user's SessionEngine: a uv loop with the socket to the supervisor, the
// broker connection, and the engine's timer. It brings everything in, takes every effect out, and
// decides nothing about sessions.
//
//   WorkerHello →, ← WorkerStart, broker subscribed, WorkerReady →, then work until the supervisor
//   evicts or drains it, or its end of the socket closes.

#include <cstdint>

namespace cosigner::worker {

/// Runs the worker on the connected stream `socket` until its end; returns an ExitStatus. Frames
/// carry `generation`.
[[nodiscard]] int run_user_worker(int socket, std::uint64_t generation);

}  // namespace cosigner::worker
