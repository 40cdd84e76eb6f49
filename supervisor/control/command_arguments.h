#pragma once
// The arguments of the control commands, read from untrusted msgpack: one function for each shape,
// apart from what a command then does, so that the fuzz target `control` drives all of them. A new
// shape belongs here and into tests/fuzz/control_fuzz.cc.

#include <string>

#include "ipc/map_reader.h"

namespace cosigner::supervisor {

/// A call's arguments as a tree that points into `bytes`; none at all are an empty map.
[[nodiscard]] Expected<ipc::Tree> open_arguments(ByteView bytes);

/// After the shape was read: what was wrong with it, or what is left over, which no command
/// overlooks: who sends it means something by it.
[[nodiscard]] Expected<void> finish_arguments(const ipc::MapReader& arguments);

/// Of commands that take none.
struct NoArguments {};
[[nodiscard]] inline NoArguments no_arguments(ipc::MapReader& /*arguments*/) {
  return {};
}
/// "user": a bad one is an error of the map, like everything below.
[[nodiscard]] std::string user_argument(ipc::MapReader& arguments);
/// The same, or empty if there is none: everybody.
[[nodiscard]] std::string optional_user_argument(ipc::MapReader& arguments);
/// Of `verify`: all keys of the user if `key` is empty.
struct KeyArguments {
  std::string user;
  std::string key;
};
[[nodiscard]] KeyArguments key_arguments(ipc::MapReader& arguments);
/// Of `renew`. Whether there is such a key and such a peer, the store knows.
struct PairArguments {
  std::string user;
  std::string key;
  std::string peer;
  std::string reason;
};
[[nodiscard]] PairArguments pair_arguments(ipc::MapReader& arguments);
/// Of `unban`: the same, but the reason may not be empty.
[[nodiscard]] PairArguments unban_arguments(ipc::MapReader& arguments);
/// "follow", false if it is not there.
[[nodiscard]] bool follow_argument(ipc::MapReader& arguments);
/// "level": a name that the logger knows or not; bounded.
[[nodiscard]] std::string level_argument(ipc::MapReader& arguments);
/// "envelope" of `submit`, and "session", which is of use to a reader of logs only. Points into the
/// input.
[[nodiscard]] ByteView envelope_argument(ipc::MapReader& arguments);

}  // namespace cosigner::supervisor
