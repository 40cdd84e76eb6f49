#pragma once
// Byte views, fixed-size byte strings with a kind, and hex. Nothing here is secret: see secret.h
// for that.

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cosigner {

using ByteView = std::span<const std::uint8_t>;
using ByteVector = std::vector<std::uint8_t>;

/// A public byte string of exactly N bytes. `Kind` keeps different meanings apart (a session id is
/// no digest).
template <std::size_t N, class Kind = void>
struct Bytes {
  static constexpr std::size_t kSize = N;
  std::array<std::uint8_t, N> data{};

  /// Copies `view`; nothing unless it has exactly N bytes.
  [[nodiscard]] static std::optional<Bytes> from(ByteView view) {
    if (view.size() != N) {
      return std::nullopt;
    }
    Bytes out;
    std::memcpy(out.data.data(), view.data(), N);
    return out;
  }
  [[nodiscard]] ByteView view() const { return ByteView(data); }
  [[nodiscard]] std::span<std::uint8_t> span() { return std::span<std::uint8_t>(data); }
  operator ByteView() const { return view(); }  // NOLINT(google-explicit-constructor)
  friend auto operator<=>(const Bytes&, const Bytes&) = default;
};

using Digest = Bytes<32, struct DigestKind>;      ///< output of a tagged SHA-256
using SessionId = Bytes<32, struct SessionKind>;  ///< tagged hash of a request's bytes
using Ed25519PublicKey =
    Bytes<32, struct Ed25519PublicKeyKind>;  ///< an identity, worker, gateway or initiator key
using Ed25519Signature = Bytes<64, struct Ed25519SignatureKind>;
using X25519PublicKey = Bytes<32, struct X25519PublicKeyKind>;

inline ByteView as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline ByteVector to_vector(ByteView bytes) {
  return {bytes.begin(), bytes.end()};
}

/// Lower-case hex.
[[nodiscard]] std::string to_hex(ByteView bytes);
/// Accepts upper and lower case, no separators; nothing for odd length or any other character.
[[nodiscard]] std::optional<ByteVector> from_hex(std::string_view hex);

/// Compares in time that depends on the lengths only.
[[nodiscard]] bool constant_time_equal(ByteView a, ByteView b);

/// For unordered containers keyed by hashes and random ids (already uniform: the first bytes
/// serve).
struct BytesHash {
  template <std::size_t N, class Kind>
  std::size_t operator()(const Bytes<N, Kind>& bytes) const {
    static_assert(N >= sizeof(std::size_t));
    std::size_t value = 0;
    std::memcpy(&value, bytes.data.data(), sizeof value);
    return value;
  }
};

}  // namespace cosigner
