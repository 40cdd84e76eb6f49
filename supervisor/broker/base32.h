#pragma once
// Base32 of RFC 4648 §6, upper case, without padding: the alphabet of NKeys and JWT ids.

#include <string>
#include <string_view>

#include "crypto/base/bytes.h"
#include "crypto/base/secret.h"

namespace cosigner::broker {

/// Appends the encoding of `bytes` to `out` (std::string, or a text that wipes itself).
template <class Text>
void append_base32(ByteView bytes, Text& out) {
  static constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  std::uint32_t buffer = 0;
  unsigned bits = 0;
  for (const std::uint8_t byte : bytes) {
    buffer = buffer << 8U | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      out.push_back(kAlphabet[buffer >> bits & 31U]);
    }
    buffer &= (1U << bits) - 1;
  }
  if (bits > 0) {
    out.push_back(kAlphabet[buffer << (5 - bits) & 31U]);
  }
}

/// Nothing for a character outside the alphabet or for left-over bits that are not zero.
[[nodiscard]] inline std::optional<SecretVector> base32_decode(std::string_view text) {
  SecretVector out;
  out.reserve(text.size() * 5 / 8);
  std::uint32_t buffer = 0;
  unsigned bits = 0;
  for (const char c : text) {
    std::uint32_t value = 0;
    if (c >= 'A' && c <= 'Z') {
      value = static_cast<std::uint32_t>(c - 'A');
    } else if (c >= '2' && c <= '7') {
      value = static_cast<std::uint32_t>(c - '2') + 26;
    } else {
      return std::nullopt;
    }
    buffer = buffer << 5U | value;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      out.push_back(static_cast<std::uint8_t>(buffer >> bits));
      buffer &= (1U << bits) - 1;
    }
  }
  if (bits >= 5 || buffer != 0) {
    return std::nullopt;
  }
  return out;
}

}  // namespace cosigner::broker
