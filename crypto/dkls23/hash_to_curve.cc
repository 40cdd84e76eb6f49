#include "crypto/dkls23/hash_to_curve.h"

#include "crypto/base/declassify.h"

namespace cosigner::dkls23 {

using secp256k1::Point;

Point hash_to_curve_vartime(const TaggedHash& input) {
  for (std::uint32_t counter = 0;; ++counter) {
    TaggedHash attempt = input;
    attempt.part_u32(counter);
    std::array<std::uint8_t, 33> candidate;
    attempt.expand_into(candidate);
    candidate[0] = static_cast<std::uint8_t>(2 + (candidate[0] & 1U));
    // Tracked as secret when the input names a choice bit. Both parties of a base OT evaluate the
    // same two hashes for each OT, once as the real and once as the dummy one, so which candidates
    // lie on the curve is known to both.
    declassify(candidate.data(), candidate.size());
    if (const std::optional<Point> point = Point::decode(candidate)) {
      return *point;
    }
  }
}

Point random_point(Random& random) {
  for (;;) {
    std::array<std::uint8_t, 33> candidate;
    random.fill(candidate);
    candidate[0] = static_cast<std::uint8_t>(2 + (candidate[0] & 1U));
    declassify(candidate.data(), candidate.size());  // the result is published
    if (const std::optional<Point> point = Point::decode(candidate)) {
      return *point;
    }
  }
}

}  // namespace cosigner::dkls23
