#include "supervisor/control/command_arguments.h"

#include <array>

#include "ipc/names.h"
#include "ipc/request.h"

namespace cosigner::supervisor {
namespace {

constexpr std::array<std::uint8_t, 1> kEmptyMap{0x80};
constexpr std::size_t kMaxLevelName = 16;
constexpr std::size_t kMaxReason = 1024;

}  // namespace

Expected<ipc::Tree> open_arguments(ByteView bytes) {
  return ipc::Tree::parse(bytes.empty() ? ByteView(kEmptyMap) : bytes);
}

std::string user_argument(ipc::MapReader& arguments) {
  std::string user = arguments.text("user", kMaxUserName);
  if (!arguments.failed() && !valid_user_name(user)) {
    arguments.fail("this is no user id");
  }
  return user;
}

std::string optional_user_argument(ipc::MapReader& arguments) {
  return arguments.has("user") ? user_argument(arguments) : std::string();
}

KeyArguments key_arguments(ipc::MapReader& arguments) {
  KeyArguments out{.user = user_argument(arguments), .key = {}};
  if (arguments.has("key")) {
    out.key = arguments.text("key", kMaxKeyName);
    if (!arguments.failed() && !valid_key_name(out.key)) {
      arguments.fail("'key' is no key name");
    }
  }
  return out;
}

PairArguments pair_arguments(ipc::MapReader& arguments) {
  PairArguments out{.user = user_argument(arguments),
                    .key = arguments.text("key", kMaxKeyName),
                    .peer = arguments.text("peer", kMaxNodeName),
                    .reason = arguments.text("reason", kMaxReason)};
  if (!arguments.failed() && !valid_key_name(out.key)) {
    arguments.fail("'key' is no key name");
  }
  return out;
}

bool follow_argument(ipc::MapReader& arguments) {
  return arguments.has("follow") && arguments.boolean("follow");
}

std::string level_argument(ipc::MapReader& arguments) {
  return arguments.text("level", kMaxLevelName);
}

ByteView envelope_argument(ipc::MapReader& arguments) {
  const ByteView envelope = arguments.bytes("envelope", kMaxEnvelopeBytes);
  if (arguments.has("session")) {
    static_cast<void>(arguments.bytes("session", SessionId::kSize));
  }
  return envelope;
}

}  // namespace cosigner::supervisor
