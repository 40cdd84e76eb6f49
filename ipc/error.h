#pragma once
// The closed set of errors: the same in C++, on the wire and in cosignerctl. An unknown name
// decodes as `internal`.

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace cosigner {

enum class ErrorCode : std::uint8_t {
  kBadRequest,        ///< malformed, or a value outside its range: change the request
  kUnauthorized,      ///< no valid signature of a trusted initiator
  kDenied,            ///< signed by a trusted initiator that may not do this
  kAwaitingApproval,  ///< more signatures are needed
  kRateLimited,       ///< this initiator or peer asks too often: retry after the delay
  kExpired,           ///< the request's time is over, or the clocks differ
  kReplayed,          ///< the same initiator and id came with other bytes before
  kUnknownUser,
  kUnknownKey,
  kAlreadyExists,  ///< a key of that name exists
  kConflict,       ///< another operation on this key is in the way
  kDeleted,
  kOverloaded,         ///< a limit of this node is reached: retry after the delay
  kQuorumUnavailable,  ///< fewer than t participants are present; the message names who is missing
  kEpochMismatch,
  kPeerUnreachable,  ///< a message was not acknowledged within the delivery window
  kPeerTimeout,      ///< a peer acknowledged but did not do its part in time
  kPeerMisbehaved,   ///< a peer's message failed a check; `peer` names it
  kBanned,  ///< a pair of nodes is banned from signing together until its OT state is renewed
  kProtocolFailed,      ///< the protocol failed and nobody can be named
  kHandlerFailed,       ///< an exception in the worker; the worker lives on
  kWorkerCrashed,       ///< the user's process died; the next request gets a new one
  kWorkerUnresponsive,  ///< the user's process stopped answering and was killed
  kOutOfMemory,         ///< the user's process hit its memory limit
  kQuarantined,         ///< this user's process crashed too often: an operator must clear it
  kCancelled,
  kStorageFailed,
  kUnsupportedVersion,
  kShuttingDown,
  kInternal
};

/// "bad_request", "unauthorized", …
[[nodiscard]] std::string_view error_name(ErrorCode code);
/// Unknown names are `internal`.
[[nodiscard]] ErrorCode error_from_name(std::string_view name);

struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;  ///< one human sentence that says what to do where something can be done
  bool may_have_executed = false;  ///< the operation may have taken effect all the same
  bool retryable = false;
  std::uint32_t retry_after_ms = 0;  ///< 0: unknown
  // Initialised here too, so that whoever blames nobody need not say so.
  std::string peer{};         ///< the node to blame, or empty
  std::string peer_reason{};  ///< why

  friend bool operator==(const Error&, const Error&) = default;
};

template <class T>
using Expected = std::expected<T, Error>;

/// One that may be over when the caller asks again. `retry_after_ms`: 0 if that is unknown.
[[nodiscard]] inline Error retryable(ErrorCode code, std::string message,
                                     std::uint32_t retry_after_ms = 0) {
  return {.code = code,
          .message = std::move(message),
          .retryable = true,
          .retry_after_ms = retry_after_ms};
}

inline std::unexpected<Error> fail(ErrorCode code, std::string message) {
  return std::unexpected(Error{.code = code, .message = std::move(message)});
}

}  // namespace cosigner
