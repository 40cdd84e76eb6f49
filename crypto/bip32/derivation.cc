#include "crypto/bip32/derivation.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <cassert>
#include <charconv>

namespace cosigner::bip32 {

using secp256k1::Point;
using secp256k1::Scalar;

std::optional<Path> parse_path(std::string_view text) {
  if (text.empty() || text.front() != 'm') {
    return std::nullopt;
  }
  text.remove_prefix(1);
  Path out;
  while (!text.empty()) {
    if (text.front() != '/' || out.size() == kMaxDepth) {
      return std::nullopt;
    }
    text.remove_prefix(1);
    const std::string_view digits = text.substr(0, text.find('/'));
    std::uint32_t index = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    if (error != std::errc() || end != digits.data() + digits.size() || index >= kHardened ||
        (digits.size() > 1 && digits.front() == '0')) {
      return std::nullopt;
    }
    out.push_back(index);
    text.remove_prefix(digits.size());
  }
  return out;
}

std::string path_text(const Path& path) {
  std::string out = "m";
  for (const std::uint32_t index : path) {
    out += '/';
    out += std::to_string(index);
  }
  return out;
}

std::optional<Derived> child_of(const Derived& parent, ByteView hmac) {
  assert(hmac.size() == 64);
  const std::optional<Scalar> left = Scalar::decode(hmac.first(32));
  if (!left) {
    return std::nullopt;
  }
  // I_L = 0 leaves the key as it is, which BIP-32 allows; the library's addition does as well.
  const std::optional<Point> key = parent.key.plus_generator_times_vartime(*left);
  if (!key) {
    return std::nullopt;
  }
  return Derived{*key, *Digest::from(hmac.last(32)), parent.tweak + *left};
}

Result<Derived> derive(const Point& root, const Digest& chain_code, const Path& path) {
  if (path.size() > kMaxDepth) {
    return recoverable("a derivation path deeper than 255");
  }
  Derived current{root, chain_code, Scalar()};
  for (const std::uint32_t index : path) {
    if (index >= kHardened) {
      return recoverable("a hardened step in the path " + path_text(path));
    }
    std::array<std::uint8_t, 37> data;
    const Bytes<33> key = current.key.encode();
    std::memcpy(data.data(), key.data.data(), 33);
    const std::uint32_t big_endian = __builtin_bswap32(index);
    std::memcpy(data.data() + 33, &big_endian, 4);
    std::array<std::uint8_t, 64> hmac;
    if (HMAC(EVP_sha512(), current.chain_code.data.data(), 32, data.data(), data.size(),
             hmac.data(), nullptr) == nullptr) {
      return recoverable("HMAC-SHA512 failed");
    }
    std::optional<Derived> child = child_of(current, hmac);
    if (!child) {
      return recoverable("the path " + path_text(path) + " has a step that does not exist");
    }
    current = *child;
  }
  return current;
}

Result<Derived> derive(const PublicKeyRecord& record, const Path& path) {
  const std::optional<Point> root = Point::decode(record.public_key);
  if (!root) {
    return recoverable("the key record's public key does not decode");
  }
  return derive(*root, record.chain_code, path);
}

Result<ByteVector> derive_public_key(ByteView root, const Digest& chain_code, const Path& path) {
  const std::optional<Point> point = Point::decode(root);
  if (!point) {
    return recoverable("the key to derive from is no compressed point");
  }
  const Result<Derived> derived = derive(*point, chain_code, path);
  if (!derived) {
    return std::unexpected(derived.error());
  }
  return to_vector(derived->key.encode());
}

}  // namespace cosigner::bip32
