#pragma once
// Encodings that no secp256k1 point or scalar field may accept: what is allowed is compressed
// points with the prefixes 02 and 03 and a canonical x on the curve, and scalars below q.

#include <array>
#include <string_view>

#include "tests/support/bad_encoding.h"

namespace cosigner::test {

inline constexpr std::array kBadSecp256k1Points{
    BadEncoding{"000000000000000000000000000000000000000000000000000000000000000000", "all zero"},
    BadEncoding{"0079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
                "identity's prefix"},
    BadEncoding{"0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
                "uncompressed prefix"},
    BadEncoding{"0579be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
                "no such prefix"},
    BadEncoding{"0679be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
                "hybrid, even"},
    BadEncoding{"0779be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
                "hybrid, odd"},
    BadEncoding{"020000000000000000000000000000000000000000000000000000000000000000",
                "x = 0, not on the curve"},
    BadEncoding{"020000000000000000000000000000000000000000000000000000000000000005",
                "x = 5, not on the curve"},
    BadEncoding{"02fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f", "x = p"},
    BadEncoding{"02fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc30",
                "x = p + 1, which reduced is on the curve"},
    BadEncoding{"03ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
                "x = 2^256 - 1"},
};

inline constexpr std::array kBadSecp256k1Scalars{
    BadEncoding{"fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", "q"},
    BadEncoding{"fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364142", "q + 1"},
    BadEncoding{"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "2^256 - 1"},
};

inline constexpr BadEncodings kSecp256k1Encodings{kBadSecp256k1Points, kBadSecp256k1Scalars};

}  // namespace cosigner::test
