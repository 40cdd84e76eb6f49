#pragma once
// Looking into a node's reply: what an older or newer node does not say is nothing, not a mistake.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "supervisor/ctl/json.h"

namespace cosigner::ctl {

/// null if there is no such part.
inline const Json& part(const Json& object, std::string_view name) {
  static const Json kNothing;
  const auto found = object.is_object() ? object.find(name) : object.end();
  return object.is_object() && found != object.end() ? *found : kNothing;
}

inline std::optional<std::uint64_t> number(const Json& object, std::string_view name) {
  const Json& value = part(object, name);
  return value.is_number_integer() ? std::optional(value.get<std::uint64_t>()) : std::nullopt;
}
/// 0, "" or false where it is missing or something else.
inline std::uint64_t number_of(const Json& object, std::string_view name) {
  return number(object, name).value_or(0);
}
inline std::string text_of(const Json& object, std::string_view name) {
  const Json& value = part(object, name);
  return value.is_string() ? value.get<std::string>() : std::string();
}
inline bool flag_of(const Json& object, std::string_view name) {
  const Json& value = part(object, name);
  return value.is_boolean() && value.get<bool>();
}

}  // namespace cosigner::ctl
