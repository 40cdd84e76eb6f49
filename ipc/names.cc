#include "ipc/names.h"

#include <algorithm>

#include "crypto/base/hash.h"

namespace cosigner {
namespace {

bool lower_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}
bool name_character(char c) {
  return lower_or_digit(c) || c == '-';
}
bool id_character(char c) {
  return lower_or_digit(c) || (c >= 'A' && c <= 'Z') || c == '.' || c == '_' || c == ':' ||
         c == '@' || c == '-';
}
bool all_of(std::string_view name, std::size_t limit, bool (*allowed)(char)) {
  return !name.empty() && name.size() <= limit && std::all_of(name.begin(), name.end(), allowed);
}

}  // namespace

bool valid_cluster_name(std::string_view name) {
  return all_of(name, kMaxNodeName, name_character);
}
bool valid_node_name(std::string_view name) {
  return all_of(name, kMaxNodeName, name_character) && name != "all" && name != "none";
}
bool valid_user_name(std::string_view name) {
  return all_of(name, kMaxUserName, id_character);
}
bool valid_key_name(std::string_view name) {
  return all_of(name, kMaxKeyName, id_character);
}

std::string user_subject_token(std::string_view cluster, std::string_view user) {
  static constexpr std::string_view kAlphabet = "abcdefghijklmnopqrstuvwxyz234567";
  const Digest digest = TaggedHash(tag::kUserSubject).part(cluster).part(user).finish();
  std::string out;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const std::uint8_t byte : digest.view().first(20)) {
    bits = bits << 8U | byte;
    count += 8;
    while (count >= 5) {
      count -= 5;
      out.push_back(kAlphabet[bits >> count & 31U]);
    }
  }
  return out;
}

bool policy_matches(std::string_view pattern, std::string_view value) {
  if (pattern.ends_with('*')) {
    return value.starts_with(pattern.substr(0, pattern.size() - 1));
  }
  return pattern == value;
}

bool valid_user_pattern(std::string_view pattern) {
  if (pattern == "*") {
    return true;
  }
  return valid_user_name(pattern.ends_with('*') ? pattern.substr(0, pattern.size() - 1) : pattern);
}

}  // namespace cosigner
