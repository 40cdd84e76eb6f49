#pragma once
// What the zygote does once so that no child has to: library initialisation, algorithm fetches,
// the allocator's settings. Each of these would cost every child time (together about 3 ms) and
// private memory (pages written after the fork).

namespace cosigner::worker {

/// Must run before the first allocation that matters and before any thread: one arena, small
/// default stacks for the threads that the children will start (the link thread and nats.c's).
void configure_memory();

/// Uses every primitive once: libsodium (and its self-test, crypto/ed25519/self_test.h), OpenSSL
/// (fetches of crypto/base/seal.h), libsecp256k1. If one of them does not work, says which on
/// stderr and ends the process with ipc::kExitSelfTest: the node starts no worker then. Touches
/// neither nats.c nor libuv, which must be new in each child.
void warm_up();

/// In a child: new randomness for every generator that keeps a state, since that state was copied.
void reseed();

}  // namespace cosigner::worker
