#pragma once
// A value, or one sentence that says what is wrong with what was handed in. The crypto rooms know
// nothing of the wire's error set; callers choose the code.

#include <expected>
#include <string>

namespace cosigner {

template <class T>
using Checked = std::expected<T, std::string>;

inline std::unexpected<std::string> wrong(std::string reason) {
  return std::unexpected(std::move(reason));
}

}  // namespace cosigner
