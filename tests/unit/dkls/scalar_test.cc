// Scalars against OpenSSL's BN and libsecp256k1's tweak functions, on random and edge values.

#include "crypto/secp256k1/scalar.h"

#include <openssl/bn.h>

#include <catch2/catch.hpp>
#include <memory>

#include "crypto/secp256k1/context.h"
#include "tests/support/full.h"
#include "tests/support/seeded_random.h"

using namespace cosigner;
using namespace cosigner::secp256k1;

namespace {

struct BnFree {
  void operator()(BIGNUM* number) const { BN_free(number); }
};
using Bn = std::unique_ptr<BIGNUM, BnFree>;

class Oracle {
 public:
  Oracle() : context_(BN_CTX_new()) {
    BIGNUM* order = nullptr;
    BN_hex2bn(&order, "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141");
    order_.reset(order);
  }
  ~Oracle() { BN_CTX_free(context_); }
  Oracle(const Oracle&) = delete;
  Oracle& operator=(const Oracle&) = delete;

  static Bn number(ByteView bytes) {
    return Bn(BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr));
  }
  Bytes<32> reduced(const BIGNUM* value) {
    const Bn out(BN_new());
    BN_nnmod(out.get(), value, order_.get(), context_);
    Bytes<32> bytes;
    BN_bn2binpad(out.get(), bytes.data.data(), 32);
    return bytes;
  }
  Bytes<32> product(ByteView a, ByteView b) {
    const Bn out(BN_new());
    BN_mul(out.get(), number(a).get(), number(b).get(), context_);
    return reduced(out.get());
  }
  Bytes<32> sum(ByteView a, ByteView b) {
    const Bn out(BN_new());
    BN_add(out.get(), number(a).get(), number(b).get());
    return reduced(out.get());
  }
  Bytes<32> difference(ByteView a, ByteView b) {
    const Bn out(BN_new());
    BN_sub(out.get(), number(a).get(), number(b).get());
    return reduced(out.get());
  }
  Bytes<32> inverse(ByteView a) {
    const Bn out(BN_new());
    BN_mod_inverse(out.get(), number(a).get(), order_.get(), context_);
    return reduced(out.get());
  }

 private:
  BN_CTX* context_;
  Bn order_;
};

/// Values around the places where carries and reductions change their ways.
std::vector<Bytes<32>> edge_values() {
  std::vector<Bytes<32>> out;
  for (const char* hex : {"0000000000000000000000000000000000000000000000000000000000000000",
                          "0000000000000000000000000000000000000000000000000000000000000001",
                          "0000000000000000000000000000000000000000000000000000000000000002",
                          "000000000000000000000000000000000000000000000000ffffffffffffffff",
                          "0000000000000000000000000000000000000000000000010000000000000000",
                          "00000000000000000000000000000000ffffffffffffffffffffffffffffffff",
                          "000000000000000000000000000000014551231950b75fc4402da1732fc9bebf",
                          "000000000000000000000000000000014551231950b75fc4402da1732fc9bec0",
                          "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0",
                          "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a1",
                          "8000000000000000000000000000000000000000000000000000000000000000",
                          "fffffffffffffffffffffffffffffffe00000000000000000000000000000000",
                          "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd036413f",
                          "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140"}) {
    out.push_back(*Bytes<32>::from(*from_hex(hex)));
  }
  return out;
}

void check_pair(Oracle& oracle, ByteView a_bytes, ByteView b_bytes) {
  const Scalar a = *Scalar::decode(a_bytes);
  const Scalar b = *Scalar::decode(b_bytes);
  CHECK((a * b).encode() == oracle.product(a_bytes, b_bytes));
  CHECK((a + b).encode() == oracle.sum(a_bytes, b_bytes));
  CHECK((a - b).encode() == oracle.difference(a_bytes, b_bytes));
  ByteVector wide = to_vector(a_bytes);
  wide.insert(wide.end(), b_bytes.begin(), b_bytes.end());
  CHECK(Scalar::reduce(wide).encode() == oracle.reduced(Oracle::number(wide).get()));

  // libsecp256k1's seckey functions, where its refusal of zero allows.
  if (!a.is_zero() && !b.is_zero()) {
    Bytes<32> key = *Bytes<32>::from(a_bytes);
    REQUIRE(secp256k1_ec_seckey_tweak_mul(context(), key.data.data(), b_bytes.data()) == 1);
    CHECK(key == (a * b).encode());
    key = *Bytes<32>::from(a_bytes);
    REQUIRE(secp256k1_ec_seckey_negate(context(), key.data.data()) == 1);
    CHECK(key == (-a).encode());
    if (!(a + b).is_zero()) {
      key = *Bytes<32>::from(a_bytes);
      REQUIRE(secp256k1_ec_seckey_tweak_add(context(), key.data.data(), b_bytes.data()) == 1);
      CHECK(key == (a + b).encode());
    }
  }
}

Bytes<32> random_bytes(SeededRandom& random) {
  return SecretScalar::random(random).reveal().encode();
}

}  // namespace

TEST_CASE("scalar arithmetic equals OpenSSL's and libsecp256k1's on edge values") {
  Oracle oracle;
  const std::vector<Bytes<32>> edges = edge_values();
  for (const Bytes<32>& a : edges) {
    for (const Bytes<32>& b : edges) {
      check_pair(oracle, a, b);
    }
    if (a != edges[0]) {
      CHECK(inverse(*Scalar::decode(a)).encode() == oracle.inverse(a));
    }
  }
  CHECK(inverse(Scalar()).is_zero());
}

TEST_CASE(
    "the variable-time inverse equals the constant-time one, whatever zeros a value ends in") {
  SeededRandom random(9);
  const auto check = [](const Scalar& a) {
    const std::optional<Scalar> fast = a.inverse_vartime();
    REQUIRE(fast);
    CHECK(*fast == inverse(a));
  };
  CHECK_FALSE(Scalar().inverse_vartime());
  for (const Bytes<32>& a : edge_values()) {
    if (const Scalar value = *Scalar::decode(a); !value.is_zero()) {
      check(value);
    }
  }
  for (std::size_t zeros = 0; zeros < 256; ++zeros) {  // 2^zeros, and a random value that ends so
    ByteVector power(32);
    power[31 - zeros / 8] = static_cast<std::uint8_t>(1U << (zeros % 8));
    check(*Scalar::decode(power));
    ByteVector bytes = to_vector(random_bytes(random));
    bytes[0] &= 0x7fU;  // below q
    std::fill(bytes.end() - static_cast<std::ptrdiff_t>(zeros / 8), bytes.end(), std::uint8_t{0});
    bytes[31 - zeros / 8] |= 1U;
    check(*Scalar::decode(bytes));
  }
  for (int i = 0; i < cosigner::test::rounds(2'000, 100'000); ++i) {
    check(*Scalar::decode(random_bytes(random)));
  }
}

TEST_CASE("scalar arithmetic equals OpenSSL's and libsecp256k1's on random values") {
  Oracle oracle;
  SeededRandom random(1);
  for (int i = 0; i < cosigner::test::rounds(2'000, 100'000); ++i) {
    const Bytes<32> a = random_bytes(random);
    const Bytes<32> b = random_bytes(random);
    check_pair(oracle, a, b);
    if (i % 16 == 0) {
      CHECK(inverse(*Scalar::decode(a)).encode() == oracle.inverse(a));
    }
  }
}

TEST_CASE("reduction of 64 bytes of extreme patterns equals OpenSSL's") {
  Oracle oracle;
  SeededRandom random(2);
  for (int i = 0; i < cosigner::test::rounds(2'000, 100'000); ++i) {
    // Runs of ones and zeros: they reach the carries that uniform values do not.
    std::array<std::uint8_t, 64> wide{};
    std::uint8_t fill = 0;
    for (std::uint8_t& byte : wide) {
      if (random.next_u64() % 8 == 0) {
        fill = static_cast<std::uint8_t>(~fill);
      }
      byte = fill;
    }
    CHECK(Scalar::reduce(wide).encode() == oracle.reduced(Oracle::number(wide).get()));
  }
}

TEST_CASE("lazy inner products equal the sum of products") {
  SeededRandom random(3);
  ProductSum lazy;
  Limbs direct{};
  const Limbs top = Scalar::decode(edge_values().back())->limbs();
  for (int i = 0; i < 1'000; ++i) {
    const SecretScalar a = SecretScalar::random(random);
    const SecretScalar b = SecretScalar::random(random);
    lazy.add_product(a.limbs(), b.limbs()).add(a.limbs()).add_product(top, top);
    direct = add(direct, multiply(a.limbs(), b.limbs()));
    direct = add(direct, a.limbs());
    direct = add(direct, multiply(top, top));
    REQUIRE(lazy.reduce().v == direct.v);
  }
}

TEST_CASE("checklist: scalar = q, q+1, 2^256-1 rejected, q-1 and 0 accepted") {
  for (const char* hex : {"fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
                          "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364142",
                          "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"}) {
    CHECK_FALSE(Scalar::decode(*from_hex(hex)));
    CHECK_FALSE(SecretScalar::decode(*from_hex(hex)));
  }
  for (const Bytes<32>& edge : edge_values()) {
    REQUIRE(Scalar::decode(edge));
    CHECK(Scalar::decode(edge)->encode() == edge);
  }
  CHECK_FALSE(Scalar::decode(ByteVector(31)));
  CHECK_FALSE(Scalar::decode(ByteVector(33)));
}

TEST_CASE("select, mask, zero test and the high half") {
  const std::vector<Bytes<32>> edges = edge_values();
  const Limbs a = Scalar::decode(edges[8])->limbs();
  const Limbs b = Scalar::decode(edges[9])->limbs();
  CHECK(select(~0ULL, a, b).v == a.v);
  CHECK(select(0, a, b).v == b.v);
  CHECK(masked(a, 0).v == Limbs{}.v);
  CHECK(masked(a, ~0ULL).v == a.v);
  CHECK(zero_mask(Limbs{}) == ~0ULL);
  CHECK(zero_mask(a) == 0);
  CHECK_FALSE(Scalar(a).is_high_vartime());  // (q-1)/2
  CHECK(Scalar(b).is_high_vartime());        // (q+1)/2
  CHECK(Scalar::decode(edges.back())->is_high_vartime());
}

TEST_CASE("a moved-from secret scalar is wiped") {
  SeededRandom random(4);
  SecretScalar a = SecretScalar::random(random);
  const SecretScalar b = std::move(a);
  CHECK(a.zero_mask() == ~0ULL);  // NOLINT(bugprone-use-after-move): the point of the test
  CHECK(b.zero_mask() == 0);
}
