#pragma once
// A list as it stands in a sentence.

#include <string>
#include <string_view>

namespace cosigner {

/// "a, b, c"; of anything that holds texts.
template <class Texts>
[[nodiscard]] std::string joined(const Texts& texts, std::string_view between = ", ") {
  std::string out;
  bool first = true;
  for (const auto& text : texts) {
    if (!first) {
      out += between;
    }
    out += text;
    first = false;
  }
  return out;
}

}  // namespace cosigner
