#include "crypto/secp256k1/ecdsa.h"

#include <secp256k1_recovery.h>

#include "crypto/base/wire.h"
#include "crypto/secp256k1/context.h"

namespace cosigner::secp256k1 {

namespace {

std::optional<secp256k1_ecdsa_signature> raw(const EcdsaSignature& signature) {
  std::array<std::uint8_t, 64> compact;
  std::memcpy(compact.data(), signature.r.data.data(), 32);
  std::memcpy(compact.data() + 32, signature.s.data.data(), 32);
  secp256k1_ecdsa_signature out;
  return secp256k1_ecdsa_signature_parse_compact(context(), &out, compact.data()) == 1
             ? std::optional(out)
             : std::nullopt;
}

}  // namespace

ByteVector EcdsaSignature::encode() const {
  return Writer().fixed(r).fixed(s).u8(recovery_id).take();
}

std::optional<EcdsaSignature> EcdsaSignature::decode(ByteView bytes) {
  Reader reader(bytes);
  EcdsaSignature out;
  out.r = reader.take<Bytes<32>>();
  out.s = reader.take<Bytes<32>>();
  out.recovery_id = reader.u8();
  const std::optional<Scalar> r = Scalar::decode(out.r);
  const std::optional<Scalar> s = Scalar::decode(out.s);
  if (!reader.finished() || out.recovery_id > 3 || !r || !s || r->is_zero() || s->is_zero() ||
      s->is_high_vartime()) {
    return std::nullopt;
  }
  return out;
}

ByteVector EcdsaSignature::der() const {
  const std::optional<secp256k1_ecdsa_signature> parsed = raw(*this);
  if (!parsed) {
    return {};
  }
  ByteVector out(72);
  std::size_t size = out.size();
  secp256k1_ecdsa_signature_serialize_der(context(), out.data(), &size, &*parsed);
  out.resize(size);
  return out;
}

std::optional<Point> ecdsa_recover_vartime(const MessageDigest& digest,
                                           const EcdsaSignature& signature) {
  std::array<std::uint8_t, 64> compact;
  std::memcpy(compact.data(), signature.r.data.data(), 32);
  std::memcpy(compact.data() + 32, signature.s.data.data(), 32);
  secp256k1_ecdsa_recoverable_signature parsed;
  secp256k1_pubkey key;
  std::array<std::uint8_t, 65> encoded;
  std::size_t size = encoded.size();
  if (signature.recovery_id > 3 ||
      secp256k1_ecdsa_recoverable_signature_parse_compact(context(), &parsed, compact.data(),
                                                          signature.recovery_id) != 1 ||
      secp256k1_ecdsa_recover(context(), &key, &parsed, digest.data.data()) != 1) {
    return std::nullopt;
  }
  secp256k1_ec_pubkey_serialize(context(), encoded.data(), &size, &key, SECP256K1_EC_UNCOMPRESSED);
  return Point::decode_uncompressed(encoded);
}

bool recovers_vartime(const EcdsaSignature& signature, const MessageDigest& digest,
                      const Point& key) {
  const std::optional<Scalar> s = Scalar::decode(signature.s);
  if (!s || s->is_high_vartime()) {
    return false;
  }
  const std::optional<Point> recovered = ecdsa_recover_vartime(digest, signature);
  return recovered && *recovered == key;
}

}  // namespace cosigner::secp256k1
