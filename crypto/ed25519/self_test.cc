#include "crypto/ed25519/self_test.h"

#include <sodium.h>

#include "crypto/ed25519/group.h"

namespace cosigner::ed25519 {
namespace {

struct Case {
  std::string_view hex;
  bool valid;
  std::string_view name;
};

// The mixed-order points are B + (a point of order 2, 4, 8), computed with affine arithmetic over
// the integers, not with the library under test.
constexpr std::array kCases{
    Case{"5866666666666666666666666666666666666666666666666666666666666666", true, "base point"},
    Case{"0100000000000000000000000000000000000000000000000000000000000000", false, "identity"},
    Case{"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", false,
         "point of order 2"},
    Case{"0000000000000000000000000000000000000000000000000000000000000000", false,
         "point of order 4"},
    Case{"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", false,
         "point of order 8"},
    Case{"9599999999999999999999999999999999999999999999999999999999999999", false,
         "base point plus a point of order 2"},
    Case{"9bad33f580df7ecc49df5342bac8145d5bedc40f573d1b067f3c4ce449689a15", false,
         "base point plus a point of order 4"},
    Case{"98519eadf35b995233b51b5cd23e9cc5a28b639b5a4af0ec903cb960d81b7819", false,
         "base point plus a point of order 8"},
    Case{"f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", false,
         "non-canonical y"},
};

}  // namespace

std::optional<std::string> self_test(const PointPredicate& accepts) {
  for (const Case& test : kCases) {
    if (accepts(*from_hex(test.hex)) != test.valid) {
      return "this libsodium (" + std::string(sodium_version_string()) + ") " +
             (test.valid ? "refuses the " : "accepts as valid: ") + std::string(test.name) +
             (test.valid ? "" : " (CVE-2025-69277 when of mixed order)");
    }
  }
  return std::nullopt;
}

std::optional<std::string> self_test() {
  if (const auto failure =
          self_test([](ByteView bytes) { return Point::decode(bytes).has_value(); })) {
    return failure;
  }
  // The signing path relies on the multiplication to validate its operand.
  return self_test([](ByteView bytes) {
    return Group::multiply_encoded_vartime(Scalar::from_u64(8), bytes).has_value();
  });
}

}  // namespace cosigner::ed25519
