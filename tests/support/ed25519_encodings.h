#pragma once
// Encodings that no Ed25519 point or scalar field may accept. The eight small-order encodings are
// those of the eight torsion points; then non-canonical forms; then mixed order, computed with
// affine integer arithmetic in Python.

#include <array>
#include <string_view>

#include "tests/support/bad_encoding.h"

namespace cosigner::test {

inline constexpr std::array kBadPoints{
    BadEncoding{"0100000000000000000000000000000000000000000000000000000000000000", "identity"},
    BadEncoding{"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "order 2"},
    BadEncoding{"0000000000000000000000000000000000000000000000000000000000000000", "order 4"},
    BadEncoding{"0000000000000000000000000000000000000000000000000000000000000080",
                "order 4, negative"},
    BadEncoding{"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "order 8, a"},
    BadEncoding{"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85", "order 8, -a"},
    BadEncoding{"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "order 8, b"},
    BadEncoding{"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa", "order 8, -b"},
    BadEncoding{"0100000000000000000000000000000000000000000000000000000000000080",
                "identity with negative zero"},
    BadEncoding{"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
                "order 2 with negative zero"},
    BadEncoding{"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                "identity as y = p + 1"},
    BadEncoding{"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                "order 4 as y = p"},
    BadEncoding{"f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "y = p + 3"},
    BadEncoding{"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
                "y = 2^255 - 1, negative"},
    BadEncoding{"0200000000000000000000000000000000000000000000000000000000000000",
                "not on the curve"},
    BadEncoding{"9599999999999999999999999999999999999999999999999999999999999999",
                "base point plus order 2"},
    BadEncoding{"9bad33f580df7ecc49df5342bac8145d5bedc40f573d1b067f3c4ce449689a15",
                "base point plus order 4"},
    BadEncoding{"98519eadf35b995233b51b5cd23e9cc5a28b639b5a4af0ec903cb960d81b7819",
                "base point plus order 8"},
};

inline constexpr std::array kBadScalars{
    BadEncoding{"edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010", "L"},
    BadEncoding{"eed3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010", "L + 1"},
    BadEncoding{"0000000000000000000000000000000000000000000000000000000000000080", "2^255"},
    BadEncoding{"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "2^256 - 1"},
};

inline constexpr BadEncodings kEd25519Encodings{kBadPoints, kBadScalars};

}  // namespace cosigner::test
