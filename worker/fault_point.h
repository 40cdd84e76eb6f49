#pragma once
// Named places where a test can make a worker fail: COSIGNER_FAULT_POINT("request.received"). In
// the programs we ship they are nothing at all. Only the test program cosigner-worker-faults
// (tests/faults), which compiles the sources that have them once more, knows how to fail; each
// of its points leaves the text "COSIGNER_FAULT_POINT:<name>" in it, by which a test shows that the
// shipped programs have none. That program also tells a test what its workers' engines draw
// (tests/faults/noted_draws.h): secrets must be known to be searched for.

#ifdef COSIGNER_FAULT_POINTS

#include <string>

namespace cosigner {
class Random;
}  // namespace cosigner

namespace cosigner::worker {
class ProtocolFactory;

/// Fails if a test has ordered it for this user and point, else returns.
void reach_fault_point(const char* name);
/// Whose worker this process is.
void fault_points_of(const std::string& user);
/// The schemes' protocols with fault points between their steps.
ProtocolFactory* protocols_with_fault_points();
/// `random`, or the same with a note of what is drawn from it. Lives as long as the process.
Random& noting_random(Random& random);
}  // namespace cosigner::worker

#define COSIGNER_FAULT_POINT(name) \
  ::cosigner::worker::reach_fault_point("COSIGNER_FAULT_POINT:" name)
#define COSIGNER_FAULT_USER(user) ::cosigner::worker::fault_points_of(user)
#define COSIGNER_FAULT_PROTOCOLS ::cosigner::worker::protocols_with_fault_points()
#define COSIGNER_FAULT_RANDOM(random) ::cosigner::worker::noting_random(random)

#else

#define COSIGNER_FAULT_POINT(name) static_cast<void>(0)
#define COSIGNER_FAULT_USER(user) static_cast<void>(0)
#define COSIGNER_FAULT_PROTOCOLS nullptr
#define COSIGNER_FAULT_RANDOM(random) (random)

#endif
