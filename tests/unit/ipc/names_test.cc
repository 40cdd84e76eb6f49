// Names and patterns of users.

#include "ipc/names.h"

#include <catch2/catch.hpp>

using namespace cosigner;

TEST_CASE("names and patterns") {
  CHECK(valid_node_name("node-1"));
  CHECK_FALSE(valid_node_name("all"));
  CHECK_FALSE(valid_node_name("none"));
  CHECK_FALSE(valid_node_name("node.1"));
  CHECK_FALSE(valid_node_name(std::string(33, 'a')));
  CHECK(valid_cluster_name("all"));
  CHECK(valid_user_name("A-z_0.9:@x"));
  for (const char* bad : {"", "a*", "a b", "a>", "a/b", "ä", "a\n"}) {
    CHECK_FALSE(valid_user_name(bad));
    CHECK_FALSE(valid_key_name(bad));
  }
  CHECK(policy_matches("*", ""));
  CHECK(policy_matches("ab*", "ab"));
  CHECK(policy_matches("ab*", "abc"));
  CHECK_FALSE(policy_matches("ab*", "a"));
  CHECK_FALSE(policy_matches("ab", "abc"));
  CHECK_FALSE(policy_matches("", "a"));
  CHECK(valid_user_pattern("*"));
  CHECK(valid_user_pattern("team-*"));
  CHECK_FALSE(valid_user_pattern("te*am"));
  CHECK_FALSE(valid_user_pattern(""));
}
