#pragma once
// H(tag; a, b, …): SHA-256 with the BIP-340 prefix SHA256(tag)‖SHA256(tag), then
// every part as u32-be length ‖ bytes. XOF(tag, n; …) = H(tag; …, u32 0) ‖ H(tag; …, u32 1) ‖ … cut
// to n bytes.

#include <openssl/sha.h>

#include <cstdint>
#include <string_view>

#include "crypto/base/bytes.h"
#include "crypto/base/tags.h"

namespace cosigner {

/// Plain SHA-256, streaming. Copyable: a copy is a midstate (112 bytes, no heap).
/// OpenSSL's low-level functions cost 66 ns a block against 109 ns through EVP.
class Sha256 {
 public:
  Sha256();
  Sha256& update(ByteView bytes);
  [[nodiscard]] Digest finish();
  /// Writes the digest to `out` (32 bytes), for callers that keep it secret.
  void finish_into(std::span<std::uint8_t> out);

 private:
  SHA256_CTX context_;
};

/// The tagged hash, streaming; each call adds one length-prefixed part.
class TaggedHash {
 public:
  explicit TaggedHash(tag::Tag tag);
  TaggedHash& part(ByteView bytes);
  TaggedHash& part(std::string_view text) { return part(as_bytes(text)); }
  TaggedHash& part_u8(std::uint8_t value);
  TaggedHash& part_u16(std::uint16_t value);  ///< big endian, length prefix 2
  TaggedHash& part_u32(std::uint32_t value);
  TaggedHash& part_u64(std::uint64_t value);
  [[nodiscard]] Digest finish() { return sha_.finish(); }
  void finish_into(std::span<std::uint8_t> out) { sha_.finish_into(out); }

  /// XOF over the parts so far, `out.size()` bytes. Leaves this object as it was.
  void expand_into(std::span<std::uint8_t> out) const;

 private:
  Sha256 sha_;
};

}  // namespace cosigner
