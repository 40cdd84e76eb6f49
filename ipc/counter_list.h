#pragma once
// A struct of counters and nothing else, whose members are listed once: the list is their order in
// a frame and their names outside of the program. A member that is not in it does not compile.
//
//   struct Doors {
//     std::uint64_t opened = 0;
//     std::uint64_t closed = 0;
//     COSIGNER_COUNTERS(opened, closed)
//   };
//   for (std::size_t i = 0; i < kCounterNames<Doors>.size(); ++i) {
//     … kCounterNames<Doors>[i] … *counters_of(doors)[i] …
//   }

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <tuple>

#include "ipc/message_types.h"

#define COSIGNER_COUNTERS(...) \
  COSIGNER_PART(__VA_ARGS__)   \
  static constexpr std::string_view kListed = #__VA_ARGS__;

namespace cosigner::ipc {

/// The counters themselves, in the order of the list.
template <class T>
[[nodiscard]] constexpr auto counters_of(T& counted) {
  return std::apply([](auto&... one) { return std::array{&one...}; }, counted.fields());
}

namespace counter_list {

template <class T>
consteval auto names() {
  constexpr std::size_t kCount = std::tuple_size_v<decltype(T().fields())>;
  static_assert(sizeof(T) == kCount * sizeof(std::uint64_t), "a counter that is not in the list");
  std::array<std::string_view, kCount> out;
  std::string_view rest = T::kListed;
  for (std::string_view& name : out) {
    name = rest.substr(0, rest.find_first_of(", "));
    rest.remove_prefix(name.size());
    rest.remove_prefix(std::min(rest.find_first_not_of(", "), rest.size()));
  }
  return out;
}

}  // namespace counter_list

template <class T>
inline constexpr auto kCounterNames = counter_list::names<T>();

/// What has been counted since `told`, which is `now` from here on.
template <class T>
[[nodiscard]] T take_since(T& told, const T& now) {
  T out;
  const auto before = counters_of(told);
  const auto after = counters_of(now);
  const auto between = counters_of(out);
  for (std::size_t i = 0; i < between.size(); ++i) {
    *between[i] = *after[i] - *before[i];
  }
  told = now;
  return out;
}

}  // namespace cosigner::ipc
