#include "supervisor/broker/nkey.h"

#include <sodium.h>

#include <array>
#include <cassert>

#include "supervisor/broker/base32.h"

namespace cosigner::broker {
namespace {

constexpr std::uint8_t kSeedPrefix = 18 << 3;  // 'S'
constexpr std::size_t kPublicSize = 1 + 32 + 2;
constexpr std::size_t kSeedSize = 2 + 32 + 2;

/// CRC-16/XMODEM (polynomial 0x1021, initial value 0), stored little endian.
std::uint16_t crc16(ByteView bytes) {
  std::uint32_t crc = 0;
  for (const std::uint8_t byte : bytes) {
    crc ^= static_cast<std::uint32_t>(byte) << 8U;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc & 0x8000U) != 0 ? (crc << 1U ^ 0x1021U) & 0xffffU : crc << 1U & 0xffffU;
    }
  }
  return static_cast<std::uint16_t>(crc);
}

void put_checksum(std::span<std::uint8_t> bytes) {
  const std::uint16_t crc = crc16(bytes.first(bytes.size() - 2));
  bytes[bytes.size() - 2] = static_cast<std::uint8_t>(crc & 0xffU);
  bytes[bytes.size() - 1] = static_cast<std::uint8_t>(crc >> 8U);
}

bool checksum_holds(ByteView bytes) {
  const std::uint16_t crc = crc16(bytes.first(bytes.size() - 2));
  return bytes[bytes.size() - 2] == (crc & 0xffU) && bytes[bytes.size() - 1] == crc >> 8U;
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::string_view kind_name(NkeyKind kind) {
  switch (kind) {
    case NkeyKind::kAccount:
      return "account";
    case NkeyKind::kOperator:
      return "operator";
    case NkeyKind::kUser:
      return "user";
  }
  return "unknown";
}

}  // namespace

std::string encode_public(NkeyKind kind, const Ed25519PublicKey& key) {
  std::array<std::uint8_t, kPublicSize> bytes{};
  bytes[0] = static_cast<std::uint8_t>(kind);
  std::copy(key.data.begin(), key.data.end(), bytes.begin() + 1);
  put_checksum(bytes);
  std::string out;
  append_base32(bytes, out);
  return out;
}

Expected<Ed25519PublicKey> decode_public(NkeyKind kind, std::string_view text) {
  const auto bytes = base32_decode(text);
  if (!bytes || bytes->size() != kPublicSize || !checksum_holds(as_view(*bytes)) ||
      bytes->front() != static_cast<std::uint8_t>(kind)) {
    return fail(ErrorCode::kBadRequest,
                "not the public nkey of an " + std::string(kind_name(kind)) + ".");
  }
  return *Ed25519PublicKey::from(as_view(*bytes).subspan(1, 32));
}

Nkey::Nkey(NkeyKind kind, const SecretBytes<32>& seed) : kind_(kind) {
  crypto_sign_seed_keypair(public_key_.data.data(), secret_.expose_mutable().data(),
                           seed.expose().data());
  public_text_ = encode_public(kind, public_key_);
}

Nkey Nkey::generate(NkeyKind kind, Random& random) {
  return Nkey(kind, random.secret<32>());
}

Expected<Nkey> Nkey::from_seed(NkeyKind kind, std::string_view text) {
  const auto bytes = base32_decode(trim(text));
  const auto prefix = static_cast<std::uint8_t>(kind);
  if (!bytes || bytes->size() != kSeedSize || !checksum_holds(as_view(*bytes)) ||
      (*bytes)[0] != (kSeedPrefix | prefix >> 5U) ||
      (*bytes)[1] != static_cast<std::uint8_t>(prefix << 3U)) {
    return fail(ErrorCode::kBadRequest,
                "not the nkey seed of an " + std::string(kind_name(kind)) + ".");
  }
  return Nkey(kind, *SecretBytes<32>::from(as_view(*bytes).subspan(2, 32)));
}

SecretText Nkey::seed_text() const {
  SecretBytes<kSeedSize> bytes;
  const auto out = bytes.expose_mutable();
  const auto prefix = static_cast<std::uint8_t>(kind_);
  out[0] = static_cast<std::uint8_t>(kSeedPrefix | prefix >> 5U);
  out[1] = static_cast<std::uint8_t>(prefix << 3U);
  const ByteView seed = secret_.expose().first(32);
  std::copy(seed.begin(), seed.end(), out.begin() + 2);
  put_checksum(out);
  SecretText text;
  text.reserve(64);
  append_base32(bytes.expose(), text);
  return text;
}

Ed25519Signature Nkey::sign(ByteView message) const {
  Ed25519Signature out;
  crypto_sign_detached(out.data.data(), nullptr, message.data(), message.size(),
                       secret_.expose().data());
  return out;
}

}  // namespace cosigner::broker
