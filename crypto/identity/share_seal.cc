#include "crypto/identity/share_seal.h"

#include "crypto/base/hash.h"
#include "crypto/base/wire.h"

namespace cosigner {
namespace {

constexpr std::uint8_t kSealVersion = 1;

// A digest of fixed size: the binding's lists are length-prefixed by count and by item.
Digest associated_data(const ShareBinding& binding) {
  TaggedHash hash(tag::kShareAad);
  hash.part_u8(kSealVersion)
      .part(binding.user)
      .part(binding.key)
      .part(binding.scheme)
      .part_u64(binding.epoch)
      .part_u16(binding.threshold)
      .part_u32(static_cast<std::uint32_t>(binding.participants.size()));
  for (const auto& [index, node] : binding.participants) {
    hash.part_u16(index).part(node);
  }
  hash.part_u32(static_cast<std::uint32_t>(binding.public_shares.size()));
  for (const ByteVector& share : binding.public_shares) {
    hash.part(share);
  }
  return hash.part(binding.record).finish();
}

}  // namespace

AeadKey derive_user_sealing_key(ByteView key_encryption_key, std::string_view cluster,
                                std::string_view node, std::string_view user) {
  const Digest info = TaggedHash(tag::kUserSealingKey).part(cluster).part(node).part(user).finish();
  AeadKey out;
  hkdf_sha256(key_encryption_key, {}, info, out.expose_mutable());
  return out;
}

ByteVector seal_share(const AeadKey& key, const ShareBinding& binding, ByteView secret,
                      Random& random) {
  const auto nonce = random.bytes<AeadNonce>();
  const ByteVector sealed = aead_seal(key, nonce, associated_data(binding), secret);
  return Writer().u8(kSealVersion).fixed(nonce).fixed(sealed).take();
}

Checked<SecretVector> open_share(const AeadKey& key, const ShareBinding& binding, ByteView sealed) {
  Reader in(sealed);
  const std::uint8_t version = in.u8();
  const auto nonce = in.take<AeadNonce>();
  const ByteView rest = in.fixed(in.remaining());
  if (!in.finished() || version != kSealVersion) {
    return wrong("a sealed share of another version");
  }
  auto secret = aead_open(key, nonce, associated_data(binding), rest);
  if (!secret) {
    return wrong("the share does not open: another key-encryption key, or altered data");
  }
  return std::move(*secret);
}

}  // namespace cosigner
