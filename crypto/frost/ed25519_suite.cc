#include "crypto/frost/ed25519_suite.h"

#include "crypto/ed25519/sha512.h"

namespace cosigner {
namespace {

using ed25519::Sha512;

void begin(Sha512& hash, std::string_view label) {
  hash.update(as_bytes(FrostEd25519::kContext)).update(as_bytes(label));
}

}  // namespace

ed25519::SecretScalar FrostEd25519::nonce(const SecretBytes<32>& randomness,
                                          const ed25519::SecretScalar& share) {
  Sha512 hash;
  begin(hash, "nonce");
  SecretBytes<64> wide;
  hash.update(randomness.expose()).update(share.expose());
  hash.finish_into(wide.expose_mutable().first<64>());
  return ed25519::SecretScalar::reduce(wide.expose().first<64>());
}

Bytes<64> FrostEd25519::hash_message(ByteView message) {
  Sha512 hash;
  begin(hash, "msg");
  return hash.update(message).finish();
}

Bytes<64> FrostEd25519::hash_commitments(ByteView list) {
  Sha512 hash;
  begin(hash, "com");
  return hash.update(list).finish();
}

ed25519::Scalar FrostEd25519::binding_factor(ByteView prefix, ByteView identifier) {
  Sha512 hash;
  begin(hash, "rho");
  return ed25519::Scalar::reduce(hash.update(prefix).update(identifier).finish().data);
}

ed25519::Scalar FrostEd25519::challenge(ByteView commitment, ByteView key, ByteView message) {
  Sha512 hash;
  return ed25519::Scalar::reduce(hash.update(commitment).update(key).update(message).finish().data);
}

ByteVector FrostEd25519::encode_signature(ByteView commitment, const ed25519::Scalar& z) {
  ByteVector out = to_vector(commitment);
  out.insert(out.end(), z.view().begin(), z.view().end());
  return out;
}

bool FrostEd25519::verify_vartime(ByteView key, ByteView message, ByteView signature) {
  return ed25519::verify_vartime(key, message, signature);
}

}  // namespace cosigner
