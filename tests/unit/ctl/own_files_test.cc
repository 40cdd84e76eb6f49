// What an import may write: only what nobody has decided yet. The package's own files are such.

#include "supervisor/ctl/setup/own_files.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "tests/unit/ctl/temporary_directory.h"

namespace cosigner::ctl::test {
namespace {

namespace fs = std::filesystem;

const fs::path kPackaged = fs::path(COSIGNER_SOURCE_DIR) / "packaging/config";

std::string packaged(const char* name) {
  return read_file(kPackaged / name).value();
}

}  // namespace

TEST_CASE("setup: cosigner.toml is the operator's once it names an account") {
  const cosigner::test::TemporaryDirectory root;
  const NodeDirectory directory(root.path());
  CHECK(needs_configuration(directory));  // there is none
  const std::string text = packaged("cosigner.toml");
  REQUIRE(directory.write_public(directory.configuration(), text));
  CHECK(needs_configuration(directory));
  std::string own = text;
  const std::size_t from = own.find("account = \"") + std::string("account = \"").size();
  own.replace(from, own.find('"', from) - from, std::string(56, 'A'));
  REQUIRE(directory.write_public(directory.configuration(), own));
  CHECK_FALSE(needs_configuration(directory));
}

TEST_CASE("setup: initiators.toml is the operator's once it lists somebody") {
  const cosigner::test::TemporaryDirectory root;
  const NodeDirectory directory(root.path());
  CHECK(lists_no_initiator(directory));
  REQUIRE(directory.write_public(directory.initiators(), packaged("initiators.toml")));
  CHECK(lists_no_initiator(directory));
  const auto none = listed_initiators(directory);
  REQUIRE(none);
  CHECK_FALSE(none->has_value());
  REQUIRE(directory.write_public(
      directory.initiators(),
      "[[initiator]]\nname = \"desk\"\npublic_key = \"" + std::string(64, 'a') + "\"\n"));
  CHECK_FALSE(lists_no_initiator(directory));
  const auto one = listed_initiators(directory);
  REQUIRE(one);
  REQUIRE(one->has_value());
  CHECK((*one)->size() == 1);
}

TEST_CASE("setup: the package's list of peers has none") {
  const cosigner::test::TemporaryDirectory root;
  const NodeDirectory directory(root.path());
  REQUIRE(directory.write_public(directory.peers(), packaged("peers.toml")));
  const auto listed = listed_peers(directory);
  REQUIRE(listed);
  CHECK(listed->peers.empty());
  CHECK(listed->former.empty());
}

}  // namespace cosigner::ctl::test
