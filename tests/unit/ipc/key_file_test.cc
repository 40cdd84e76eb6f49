#include "ipc/key_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/support/seeded_random.h"

using namespace cosigner;

namespace {

struct Directory {
  std::string path;
  Directory() {
    char pattern[] = "/tmp/cosigner-key-file-XXXXXX";
    path = ::mkdtemp(pattern);
  }
  ~Directory() { std::filesystem::remove_all(path); }
  std::string file(const char* name, const std::string& content, mode_t mode = 0600) const {
    const std::string full = path + "/" + name;
    std::ofstream(full) << content;
    ::chmod(full.c_str(), mode);
    return full;
  }
};

const std::string kHex = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

}  // namespace

TEST_CASE("a key file is made with mode 0600, once, and reads back") {
  const Directory directory;
  SeededRandom random(1);
  const std::string path = directory.path + "/identity.key";
  REQUIRE(create_key_file(path, random));
  struct stat status{};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0600);
  CHECK(status.st_size == 65);
  CHECK(load_identity_file(path));
  CHECK_FALSE(create_key_file(path, random));
  CHECK_FALSE(create_key_file(directory.path + "/none/identity.key", random));
}

TEST_CASE("what a key file may hold") {
  const Directory directory;
  const auto loads = [&](const std::string& content) {
    return load_key_file(directory.file("key", content)).has_value();
  };
  CHECK(loads(kHex));
  CHECK(loads(kHex + "\n"));
  CHECK(loads(kHex + "\r\n"));
  CHECK_FALSE(loads(""));
  CHECK_FALSE(loads("\n"));
  CHECK_FALSE(loads(kHex.substr(1)));
  CHECK_FALSE(loads(kHex + "0"));
  CHECK_FALSE(loads(kHex + "\n\n"));
  CHECK_FALSE(loads(" " + kHex));
  CHECK_FALSE(loads("g" + kHex.substr(1)));
  CHECK_FALSE(loads(kHex + std::string(100'000, '\n')));
  CHECK(to_hex(load_identity_file(directory.file("key", kHex))->public_key()) ==
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
}

TEST_CASE("a key file that others may touch is refused with a remedy") {
  const Directory directory;
  for (const mode_t mode : {0640U, 0604U, 0660U, 0644U, 0601U}) {
    const auto loaded = load_key_file(directory.file("key", kHex, mode));
    REQUIRE_FALSE(loaded);
    CHECK(loaded.error().code == ErrorCode::kBadRequest);
    CHECK(loaded.error().message.find("chmod 600") != std::string::npos);
  }
  CHECK(load_key_file(directory.file("key", kHex, 0400)));
  CHECK_FALSE(load_key_file(directory.path));
  CHECK_FALSE(load_key_file(directory.path + "/absent"));
  const std::string fifo = directory.path + "/fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  CHECK_FALSE(load_key_file(fifo));  // and does not hang

  // A systemd credential may be readable by its group.
  ::setenv("CREDENTIALS_DIRECTORY", directory.path.c_str(), 1);
  CHECK(load_key_file(directory.file("key2", kHex, 0440)));
  CHECK_FALSE(load_key_file(directory.file("key3", kHex, 0444)));
  CHECK_FALSE(load_key_file(directory.file("key4", kHex, 0460)));
  ::unsetenv("CREDENTIALS_DIRECTORY");
  CHECK_FALSE(load_key_file(directory.path + "/key2"));
}
