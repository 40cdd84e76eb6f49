#include "ipc/error.h"

#include <array>

namespace cosigner {
namespace {
// In the order of the enumeration.
constexpr std::array<std::string_view, 30> kNames = {"bad_request",
                                                     "unauthorized",
                                                     "denied",
                                                     "awaiting_approval",
                                                     "rate_limited",
                                                     "expired",
                                                     "replayed",
                                                     "unknown_user",
                                                     "unknown_key",
                                                     "already_exists",
                                                     "conflict",
                                                     "deleted",
                                                     "overloaded",
                                                     "quorum_unavailable",
                                                     "epoch_mismatch",
                                                     "peer_unreachable",
                                                     "peer_timeout",
                                                     "peer_misbehaved",
                                                     "banned",
                                                     "protocol_failed",
                                                     "handler_failed",
                                                     "worker_crashed",
                                                     "worker_unresponsive",
                                                     "out_of_memory",
                                                     "quarantined",
                                                     "cancelled",
                                                     "storage_failed",
                                                     "unsupported_version",
                                                     "shutting_down",
                                                     "internal"};
static_assert(kNames.size() == static_cast<std::size_t>(ErrorCode::kInternal) + 1);
}  // namespace

std::string_view error_name(ErrorCode code) {
  return kNames.at(static_cast<std::size_t>(code));
}

ErrorCode error_from_name(std::string_view name) {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) {
      return static_cast<ErrorCode>(i);
    }
  }
  return ErrorCode::kInternal;
}

}  // namespace cosigner
