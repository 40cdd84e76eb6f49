// The arguments of control commands, as anybody who reaches the socket may send them.

#include "supervisor/control/command_arguments.h"

#include <catch2/catch.hpp>
#include <functional>

#include "ipc/pack.h"

using namespace cosigner;
using namespace cosigner::supervisor;

namespace {

/// Whether `read` takes these arguments whole.
bool takes(const ByteVector& bytes, const std::function<void(ipc::MapReader&)>& read) {
  const auto tree = open_arguments(bytes);
  if (!tree) {
    return false;
  }
  ipc::MapReader reader(tree->root(), "arguments");
  read(reader);
  return finish_arguments(reader).has_value();
}

ipc::MapPacker map() {
  return {};
}

const auto read_user = [](ipc::MapReader& reader) { static_cast<void>(user_argument(reader)); };
const auto read_optional = [](ipc::MapReader& reader) {
  static_cast<void>(optional_user_argument(reader));
};
const auto read_pair = [](ipc::MapReader& reader) { static_cast<void>(pair_arguments(reader)); };
const auto read_key = [](ipc::MapReader& reader) { static_cast<void>(key_arguments(reader)); };
const auto read_follow = [](ipc::MapReader& reader) { static_cast<void>(follow_argument(reader)); };
const auto read_level = [](ipc::MapReader& reader) { static_cast<void>(level_argument(reader)); };
const auto read_envelope = [](ipc::MapReader& reader) {
  static_cast<void>(envelope_argument(reader));
};
const auto read_nothing = [](ipc::MapReader& reader) { static_cast<void>(no_arguments(reader)); };
const auto read_unban = [](ipc::MapReader& reader) { static_cast<void>(unban_arguments(reader)); };

}  // namespace

TEST_CASE("control arguments: none at all are an empty map, and what is no map is refused") {
  CHECK(takes({}, read_nothing));
  CHECK(takes({0x80}, read_nothing));
  CHECK_FALSE(takes({0x90}, read_nothing));
  CHECK_FALSE(takes({0x81}, read_nothing));
  CHECK_FALSE(takes({0x80, 0x80}, read_nothing));
  CHECK_FALSE(takes(map().text("user", "alice").finish(), read_nothing));
}

TEST_CASE("control arguments: a user is an id and nothing else") {
  CHECK(takes(map().text("user", "alice@example.net").finish(), read_user));
  CHECK_FALSE(takes({}, read_user));
  CHECK_FALSE(takes(map().text("user", "").finish(), read_user));
  CHECK_FALSE(takes(map().text("user", "al ice").finish(), read_user));
  CHECK_FALSE(takes(map().text("user", std::string(129, 'a')).finish(), read_user));
  CHECK_FALSE(takes(map().unsigned_integer("user", 7).finish(), read_user));
  CHECK_FALSE(takes(map().text("user", "alice").boolean("more", true).finish(), read_user));
  CHECK(takes({}, read_optional));
  CHECK(takes(map().text("user", "alice").finish(), read_optional));
  CHECK_FALSE(takes(map().text("user", "al ice").finish(), read_optional));
}

TEST_CASE("control arguments: what is wrong or left over is a typed error that says what to do") {
  const auto error_of = [](const ByteVector& bytes,
                           const std::function<void(ipc::MapReader&)>& read) {
    const auto tree = open_arguments(bytes);
    REQUIRE(tree);
    ipc::MapReader reader(tree->root(), "arguments of 'status'");
    read(reader);
    const auto whole = finish_arguments(reader);
    REQUIRE_FALSE(whole);
    CHECK(whole.error().code == ErrorCode::kBadRequest);
    return whole.error().message;
  };
  CHECK(error_of(map().text("colour", "red").finish(), read_nothing) ==
        "arguments of 'status': 'colour' is not known; leave it out, or use the cosignerctl of "
        "this node's release (" COSIGNER_VERSION ")");
  CHECK(error_of(map().text("user", "al ice").finish(), read_user) ==
        "arguments of 'status': 'user' is no user id: use 1 to 128 of A-Z a-z 0-9 . _ : @ -");
  // The field's own error first: what is left over may be a slip of the same hand.
  CHECK(error_of(map().text("user", "").text("colour", "red").finish(), read_user)
            .find("is no user id") != std::string::npos);
}

TEST_CASE("control arguments: a key is of a user, and may be left out") {
  CHECK(takes(map().text("user", "alice").finish(), read_key));
  CHECK_FALSE(takes(map().text("key", "main").finish(), read_key));
  CHECK_FALSE(takes(map().text("user", "al ice").text("key", "main").finish(), read_key));
  CHECK_FALSE(takes(map().text("user", "alice").text("key", "").finish(), read_key));
  CHECK_FALSE(takes(map().text("user", "alice").text("key", "no key").finish(), read_key));
  CHECK_FALSE(
      takes(map().text("user", "alice").text("key", std::string(65, 'k')).finish(), read_key));
  CHECK_FALSE(takes(map().text("user", "alice").unsigned_integer("key", 1).finish(), read_key));
  const ByteVector bytes = map().text("user", "alice").text("key", "main").finish();
  const auto tree = open_arguments(bytes);
  REQUIRE(tree);
  ipc::MapReader reader(tree->root(), "arguments");
  const KeyArguments wanted = key_arguments(reader);
  CHECK(wanted.user == "alice");
  CHECK(wanted.key == "main");
}

TEST_CASE("control arguments: of a pair each field is demanded and bounded") {
  struct Fields {
    std::string user = "alice", key = "main", peer = "b", reason = "a broken disk";
  };
  const auto packed = [](const Fields& fields, std::string_view without = {}) {
    ipc::MapPacker out;
    const auto put = [&](std::string_view name, const std::string& value) {
      if (name != without) {
        out.text(name, value);
      }
    };
    put("user", fields.user);
    put("key", fields.key);
    put("peer", fields.peer);
    put("reason", fields.reason);
    return out.finish();
  };
  CHECK(takes(packed({}), read_pair));
  for (const char* name : {"user", "key", "peer", "reason"}) {
    INFO(name);
    CHECK_FALSE(takes(packed({}, name), read_pair));
  }
  CHECK_FALSE(takes(packed({.user = "al ice"}), read_pair));
  CHECK_FALSE(takes(packed({.key = "no key"}), read_pair));
  CHECK_FALSE(takes(packed({.key = ""}), read_pair));
  CHECK_FALSE(takes(packed({.peer = std::string(1000, 'b')}), read_pair));
  CHECK_FALSE(takes(packed({.reason = std::string(1025, 'r')}), read_pair));
  CHECK(takes(packed({.reason = ""}), read_pair));
  CHECK(takes(packed({}), read_unban));
  CHECK_FALSE(takes(packed({.reason = ""}), read_unban));
  const ByteVector bytes = packed({});
  const auto tree = open_arguments(bytes);
  REQUIRE(tree);
  ipc::MapReader reader(tree->root(), "arguments");
  const PairArguments pair = pair_arguments(reader);
  CHECK(pair.user == "alice");
  CHECK(pair.key == "main");
  CHECK(pair.peer == "b");
  CHECK(pair.reason == "a broken disk");
}

TEST_CASE("control arguments: follow, level and envelope") {
  CHECK(takes({}, read_follow));
  CHECK(takes(map().boolean("follow", true).finish(), read_follow));
  CHECK_FALSE(takes(map().text("follow", "yes").finish(), read_follow));
  CHECK(takes(map().text("level", "debug").finish(), read_level));
  CHECK_FALSE(takes(map().text("level", std::string(17, 'd')).finish(), read_level));
  CHECK(takes(map().bytes("envelope", ByteVector{1}).finish(), read_envelope));
  CHECK_FALSE(takes(map().text("envelope", "text").finish(), read_envelope));
  const ByteVector session(32);
  CHECK(takes(map().bytes("envelope", ByteVector{1}).bytes("session", session).finish(),
              read_envelope));
  CHECK_FALSE(
      takes(map().bytes("envelope", ByteVector{1}).bytes("session", ByteVector(33)).finish(),
            read_envelope));
}
