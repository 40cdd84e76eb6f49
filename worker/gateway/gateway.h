#pragma once
// The gateway role: the node's side door on the broker. Takes client requests, checks them
// (request_gate.h), hands the original bytes to the supervisor, publishes the answers; carries
// wake-ups and presence between the nodes' gateways; publishes what came in by the control socket.
// It holds no share, no identity key, and no user's authority.

#include <cstdint>

namespace cosigner::worker {

/// Runs in the forked child until the supervisor says Drain or goes away; the process's exit
/// status.
[[nodiscard]] int run_gateway(int socket_fd, std::uint64_t generation);

}  // namespace cosigner::worker
