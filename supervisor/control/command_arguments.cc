#include "supervisor/control/command_arguments.h"

#include <array>

#include "ipc/names.h"
#include "ipc/request.h"

namespace cosigner::supervisor {
namespace {

constexpr std::array<std::uint8_t, 1> kEmptyMap{0x80};
constexpr std::size_t kMaxLevelName = 16;
constexpr std::size_t kMaxReason = 1024;
constexpr std::string_view kNoKeyName =
    "'key' is no key name: use 1 to 64 of A-Z a-z 0-9 . _ : @ -";

}  // namespace

Expected<ipc::Tree> open_arguments(ByteView bytes) {
  return ipc::Tree::parse(bytes.empty() ? ByteView(kEmptyMap) : bytes);
}

Expected<void> finish_arguments(const ipc::MapReader& arguments) {
  if (auto fields = arguments.finish_lenient(); !fields) {
    return fields;
  }
  auto whole = arguments.finish();
  if (!whole) {
    whole.error().message += "; leave it out, or use the cosignerctl of this node's release (" +
                             std::string(COSIGNER_VERSION) + ")";
  }
  return whole;
}

std::string user_argument(ipc::MapReader& arguments) {
  std::string user = arguments.text("user", kMaxUserName);
  if (!arguments.failed() && !valid_user_name(user)) {
    arguments.fail("'user' is no user id: use 1 to 128 of A-Z a-z 0-9 . _ : @ -");
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
      arguments.fail(kNoKeyName);
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
    arguments.fail(kNoKeyName);
  }
  return out;
}

PairArguments unban_arguments(ipc::MapReader& arguments) {
  PairArguments out = pair_arguments(arguments);
  if (!arguments.failed() && out.reason.empty()) {
    arguments.fail("a ban is lifted for a reason: say which");
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
