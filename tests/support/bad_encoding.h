#pragma once

#include <span>
#include <string_view>

namespace cosigner::test {

struct BadEncoding {
  std::string_view hex;
  std::string_view name;
};

/// What no field of a group's messages may accept.
struct BadEncodings {
  std::span<const BadEncoding> points;
  std::span<const BadEncoding> scalars;
};

}  // namespace cosigner::test
