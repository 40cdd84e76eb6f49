// BIP-32 public derivation against the vectors of the BIP, and the cases no vector reaches.

#include <catch2/catch.hpp>

#include "crypto/bip32/derivation.h"
#include "tests/unit/dkls/fixture.h"

using namespace cosigner;
using namespace cosigner::dkls23::test;
using bip32::Path;

namespace {

struct Extended {
  Point key;
  Digest chain_code;
};

/// The 78-byte payload of an xpub in Base58Check; its checksum is checked.
Extended parse_xpub(std::string_view text) {
  constexpr std::string_view kAlphabet =
      "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
  ByteVector bytes(82);
  for (const char character : text) {
    auto carry = static_cast<unsigned>(kAlphabet.find(character));
    for (std::size_t i = bytes.size(); i-- > 0;) {
      carry += 58U * bytes[i];
      bytes[i] = static_cast<std::uint8_t>(carry & 0xffU);
      carry >>= 8U;
    }
  }
  const Digest once = Sha256().update(ByteView(bytes).first(78)).finish();
  const Digest twice = Sha256().update(once).finish();
  REQUIRE(std::ranges::equal(ByteView(bytes).last(4), twice.view().first(4)));
  return {Point::decode(ByteView(bytes).subspan(45, 33)).value(),
          Digest::from(ByteView(bytes).subspan(13, 32)).value()};
}

}  // namespace

TEST_CASE("checklist: BIP-32 vectors, every non-hardened step of test vectors 1 and 2") {
  struct Step {
    const char* parent;
    std::uint32_t index;
    const char* child;
  };
  // BIP-32, "Test Vectors": vector 1 (m/0H → /1; m/0H/1/2H → /2; → /1000000000), vector 2 (m → /0;
  // m/0/2147483647H → /1; m/0/2147483647H/1/2147483646H → /2).
  const Step steps[] = {
      {"xpub68Gmy5EdvgibQVfPdqkBBCHxA5htiqg55crXYuXoQRKfDBFA1WEjWgP6LHhwBZeNK1VTsfTFUHCdrfp1bgwQ9xv"
       "5s"
       "ki8PX9rL2dZXvgGDnw",
       1,
       "xpub6ASuArnXKPbfEwhqN6e3mwBcDTgzisQN1wXN9BJcM47sSikHjJf3UFHKkNAWbWMiGj7Wf5uMash7SyYq527Hqck"
       "2AxYys"
       "AA7xmALppuCkwQ"},
      {"xpub6D4BDPcP2GT577Vvch3R8wDkScZWzQzMMUm3PWbmWvVJrZwQY4VUNgqFJPMM3No2dFDFGTsxxpG5uJh7n7epu4t"
       "rkrX7x"
       "7DogT5Uv6fcLW5",
       2,
       "xpub6FHa3pjLCk84BayeJxFW2SP4XRrFd1JYnxeLeU8EqN3vDfZmbqBqaGJAyiLjTAwm6ZLRQUMv1ZACTj37sR62cfN"
       "7fe5Jn"
       "J7dh8zL4fiyLHV"},
      {"xpub6FHa3pjLCk84BayeJxFW2SP4XRrFd1JYnxeLeU8EqN3vDfZmbqBqaGJAyiLjTAwm6ZLRQUMv1ZACTj37sR62cfN"
       "7fe5Jn"
       "J7dh8zL4fiyLHV",
       1'000'000'000,
       "xpub6H1LXWLaKsWFhvm6RVpEL9P4KfRZSW7abD2ttkWP3SSQvnyA8FSVqNTEcYFgJS2UaFcxupHiYkro49S8yGasTvX"
       "EYBVPa"
       "mhGW6cFJodrTHy"},
      {"xpub661MyMwAqRbcFW31YEwpkMuc5THy2PSt5bDMsktWQcFF8syAmRUapSCGu8ED9W6oDMSgv6Zz8idoc4a6mr8BDzT"
       "JY47LJ"
       "hkJ8UB7WEGuduB",
       0,
       "xpub69H7F5d8KSRgmmdJg2KhpAK8SR3DjMwAdkxj3ZuxV27CprR9LgpeyGmXUbC6wb7ERfvrnKZjXoUmmDznezpbZb7"
       "ap6r1D"
       "3tgFxHmwMkQTPH"},
      {"xpub6ASAVgeehLbnwdqV6UKMHVzgqAG8Gr6riv3Fxxpj8ksbH9ebxaEyBLZ85ySDhKiLDBrQSARLq1uNRts8RuJiHja"
       "DMBU4Z"
       "n9h8LZNnBC5y4a",
       1,
       "xpub6DF8uhdarytz3FWdA8TvFSvvAh8dP3283MY7p2V4SeE2wyWmG5mg5EwVvmdMVCQcoNJxGoWaU9DCWh89LojfZ53"
       "7wTfun"
       "Kau47EL2dhHKon"},
      {"xpub6ERApfZwUNrhLCkDtcHTcxd75RbzS1ed54G1LkBUHQVHQKqhMkhgbmJbZRkrgZw4koxb5JaHWkY4ALHY2grBGRj"
       "aDMzQLcg"
       "JvLJuZZvRcEL",
       2,
       "xpub6FnCn6nSzZAw5Tw7cgR9bi15UV96gLZhjDstkXXxvCLsUXBGXPdSnLFbdpq8p9HmGsApME5hQTZ3emM2rnY5agb"
       "9rXpVGyy3"
       "bdW6EEgAtqt"},
  };
  for (const Step& step : steps) {
    INFO(step.child);
    const Extended parent = parse_xpub(step.parent);
    const Extended child = parse_xpub(step.child);
    const auto derived = bip32::derive(parent.key, parent.chain_code, {step.index});
    REQUIRE(derived);
    CHECK(derived->key == child.key);
    CHECK(derived->chain_code == child.chain_code);
    CHECK(*parent.key.plus_generator_times_vartime(derived->tweak) == child.key);
  }
}

TEST_CASE("a path's tweak is the sum of its steps'") {
  const Point root = Point::generator();
  const Digest chain_code = digest_of("a chain code");
  const auto whole = bip32::derive(root, chain_code, {44, 60, 0, 0, 5});
  REQUIRE(whole);
  Point key = root;
  Digest code = chain_code;
  Scalar tweak;
  for (const std::uint32_t index : {44U, 60U, 0U, 0U, 5U}) {
    const auto step = bip32::derive(key, code, {index});
    REQUIRE(step);
    key = step->key;
    code = step->chain_code;
    tweak = tweak + step->tweak;
  }
  CHECK(whole->key == key);
  CHECK(whole->chain_code == code);
  CHECK(whole->tweak == tweak);
  CHECK(bip32::derive(root, chain_code, {})->key == root);
}

TEST_CASE("checklist: tweak I_L ≥ q, and a child that is the identity, do not exist") {
  const bip32::Derived parent{Point::generator(), digest_of("c"), Scalar()};
  ByteVector hmac(64, 0xff);
  CHECK_FALSE(bip32::child_of(parent, hmac));
  const ByteVector order =
      from_hex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141").value();
  std::ranges::copy(order, hmac.begin());
  CHECK_FALSE(bip32::child_of(parent, hmac));  // q
  hmac[31] = 0x40;
  CHECK_FALSE(bip32::child_of(parent, hmac));  // q − 1: G + (q−1)·G is the identity
  hmac[31] = 0x3f;
  CHECK(bip32::child_of(parent, hmac));
}

TEST_CASE("paths are parsed strictly") {
  CHECK(bip32::parse_path("m") == Path{});
  CHECK(bip32::parse_path("m/44/60/0/0/5") == Path{44, 60, 0, 0, 5});
  CHECK(bip32::parse_path("m/2147483647") == Path{0x7fffffff});
  CHECK(bip32::path_text({44, 60, 0}) == "m/44/60/0");
  for (const char* bad : {"", "M/1", "/1", "m/", "m//1", "m/1/", "m/1'", "m/1h", "m/-1", "m/+1",
                          "m/ 1", "m/01", "m/2147483648", "m/4294967296", "m/a", "44/60", "m1"}) {
    INFO(bad);
    CHECK_FALSE(bip32::parse_path(bad));
  }
  std::string deep = "m";
  for (std::size_t i = 0; i < bip32::kMaxDepth; ++i) {
    deep += "/1";
  }
  CHECK(bip32::parse_path(deep));
  CHECK_FALSE(bip32::parse_path(deep + "/1"));
  CHECK_FALSE(bip32::derive(Point::generator(), Digest(), {bip32::kHardened}));
}
