#pragma once
// Between cosignerctl and the supervisor.

#include <cstdint>
#include <string>

#include "crypto/base/bytes.h"
#include "ipc/message_types.h"

namespace cosigner::ipc {

struct ControlCall {
  std::uint64_t call = 0;
  std::string command;
  ByteVector arguments;  ///< msgpack map
  COSIGNER_MESSAGE(kControlCall, call, command, arguments)
};
/// One or more for each call; the last has `final`. `error_name` empty: success so far.
struct ControlReply {
  std::uint64_t call = 0;
  bool final = false;
  std::string error_name;
  std::string error_message;
  bool may_have_executed = false;
  ByteVector body;  ///< msgpack map; of an error: retryable, retry_after_ms
  COSIGNER_MESSAGE(kControlReply, call, final, error_name, error_message, may_have_executed, body)
};
struct ControlCancel {
  std::uint64_t call = 0;
  COSIGNER_MESSAGE(kControlCancel, call)
};

}  // namespace cosigner::ipc
