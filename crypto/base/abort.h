#pragma once
// How a protocol ends early. A failed check returns an Abort; there is no later round left to run.

#include <cstdint>
#include <expected>
#include <string>
#include <utility>
#include <vector>

namespace cosigner {

/// What the session engine must do with a failure. Of class C, worker/session/README.md has the
/// whole.
enum class AbortClass : std::uint8_t {
  kRecoverable,   ///< A: bad length, encoding, echo, stale, local error. Fail the attempt, wipe, no
                  ///< ban.
  kAttributable,  ///< B: provably one participant's fault, no OT secret involved. Report the
                  ///< culprit.
  kBurn,  ///< C: leaks OT state. Durable ban of that pair before anything observable happens.
  kUnattributable  ///< D: nobody can be named. Burn the attempt, alarm, count.
};

/// A participant's number 1..n in a key. 0 names nobody.
using ParticipantIndex = std::uint16_t;

struct Abort {
  AbortClass abort_class = AbortClass::kRecoverable;
  std::vector<ParticipantIndex> culprits;  ///< empty when nobody can be blamed
  std::string reason;                      ///< one sentence for the log; holds no secret
};

template <class T>
using Result = std::expected<T, Abort>;

inline std::unexpected<Abort> recoverable(std::string reason) {
  return std::unexpected(Abort{AbortClass::kRecoverable, {}, std::move(reason)});
}
/// A recoverable failure that a named participant's bytes caused (malformed, wrong length,
/// non-canonical).
inline std::unexpected<Abort> malformed(ParticipantIndex culprit, std::string reason) {
  return std::unexpected(Abort{AbortClass::kRecoverable, {culprit}, std::move(reason)});
}
inline std::unexpected<Abort> blame(ParticipantIndex culprit, std::string reason) {
  return std::unexpected(Abort{AbortClass::kAttributable, {culprit}, std::move(reason)});
}
inline std::unexpected<Abort> burn(ParticipantIndex culprit, std::string reason) {
  return std::unexpected(Abort{AbortClass::kBurn, {culprit}, std::move(reason)});
}
inline std::unexpected<Abort> unattributable(std::string reason) {
  return std::unexpected(Abort{AbortClass::kUnattributable, {}, std::move(reason)});
}

}  // namespace cosigner
