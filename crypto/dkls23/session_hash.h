#pragma once
// H(tag; sid, 24 zero bytes, …) for inputs so short that what follows is one SHA-256 block. The tag
// prefix fills the first block; sid and the zero bytes, with their length prefixes, fill the
// second. Both are hashed once per session, so that each of the thousands of hashes of an OT
// extension costs one compression (45 ns with SHA extensions) instead of three.

#include <openssl/sha.h>

#include <cstdint>

#include "crypto/base/bytes.h"
#include "crypto/base/tags.h"

namespace cosigner::dkls23 {

/// The last block of such a hash: up to 55 bytes of length-prefixed parts, then SHA-256's padding.
/// Built once, then changed in place by offset. Wiped when it goes.
class HashBlock {
 public:
  HashBlock();
  ~HashBlock();
  HashBlock(const HashBlock&) = delete;
  HashBlock& operator=(const HashBlock&) = delete;

  /// Each appends one part and returns the offset of its bytes.
  std::size_t part_u32(std::uint32_t value);
  std::size_t part(ByteView bytes);

  void set_u32(std::size_t offset, std::uint32_t value) {
    const std::uint32_t big_endian = __builtin_bswap32(value);
    std::memcpy(bytes_.data() + offset, &big_endian, 4);
  }
  void set(std::size_t offset, const std::uint8_t* bytes, std::size_t size) {
    std::memcpy(bytes_.data() + offset, bytes, size);
  }

 private:
  friend class SessionHash;
  void pad();
  alignas(16) std::array<std::uint8_t, 64> bytes_{};
  std::size_t used_ = 0;
};

class SessionHash {
 public:
  SessionHash(tag::Tag tag, const Digest& sid);

  /// The 32-byte hash; `out` is 32 bytes.
  void digest(const HashBlock& block, std::uint8_t* out) const;

 private:
  SHA256_CTX midstate_;
};

}  // namespace cosigner::dkls23
