#include "crypto/dkls23/presignature.h"

#include "crypto/base/hash.h"

namespace cosigner::dkls23 {

using secp256k1::EcdsaSignature;
using secp256k1::MessageDigest;
using secp256k1::Point;
using secp256k1::Scalar;

Digest presigned_key(const PublicKeyRecord& record) {
  return TaggedHash(tag::kPresignedKey)
      .part(record.public_key)
      .part(record.chain_code)
      .part(record.transcript)
      .finish();
}

void SignatureShare::write(ByteVector& out) const {
  for (const Scalar& value : {w, u}) {
    const Bytes<32> bytes = value.encode();
    out.insert(out.end(), bytes.data.begin(), bytes.data.end());
  }
}

std::optional<SignatureShare> SignatureShare::decode(ByteView bytes) {
  if (bytes.size() != kEncodedSize) {
    return std::nullopt;
  }
  const std::optional<Scalar> w = Scalar::decode(bytes.first(32));
  const std::optional<Scalar> u = Scalar::decode(bytes.last(32));
  return w && u ? std::optional(SignatureShare{*w, *u}) : std::nullopt;
}

SignatureShare SignatureShare::make(Presignature presignature, const MessageDigest& digest,
                                    const Scalar& tweak, const Scalar& shift,
                                    const Scalar& nonce_x) {
  const Presignature spent = std::move(presignature);  // wiped at the end of this function
  const Scalar m = Scalar::reduce(digest);
  const auto v = spent.v_ + tweak * spent.phi_;
  return {(m * spent.phi_ + nonce_x * v).reveal(), (spent.u_ + shift * spent.phi_).reveal()};
}

std::optional<NoncePoint> nonce_point(const Bytes<33>& nonce) {
  const ByteView x = nonce.view().subspan(1);
  NoncePoint out;
  out.x = Scalar::reduce(x);
  out.x_overflowed = !Scalar::decode(x);
  out.y_odd = nonce.data[0] == 3;
  return out.x.is_zero() ? std::nullopt : std::optional(out);
}

std::optional<NoncePoint> nonce_point(const Point& nonce) {
  return nonce_point(nonce.encode());
}

std::optional<EcdsaSignature> combine_shares(const NoncePoint& nonce,
                                             std::span<const SignatureShare> shares) {
  Scalar w;
  Scalar u;
  for (const SignatureShare& share : shares) {
    w = w + share.w;
    u = u + share.u;
  }
  // One signer can make Σu zero on purpose: an error, never a crash.
  const std::optional<Scalar> inverse = u.inverse_vartime();
  if (!inverse) {
    return std::nullopt;
  }
  Scalar s = w * *inverse;
  if (s.is_zero()) {
    return std::nullopt;
  }
  bool y_odd = nonce.y_odd;
  if (s.is_high_vartime()) {
    s = -s;
    y_odd = !y_odd;
  }
  EcdsaSignature out;
  out.r = nonce.x.encode();
  out.s = s.encode();
  out.recovery_id = static_cast<std::uint8_t>((y_odd ? 1 : 0) | (nonce.x_overflowed ? 2 : 0));
  return out;
}

Result<EcdsaSignature> assemble(const Point& nonce, std::span<const SignatureShare> shares,
                                const MessageDigest& digest, const Point& key) {
  const std::optional<NoncePoint> point = nonce_point(nonce);
  const std::optional<EcdsaSignature> signature =
      point ? combine_shares(*point, shares) : std::nullopt;
  if (!signature || !recovers_vartime(*signature, digest, key)) {
    return unattributable("the shares do not add up to a valid signature");
  }
  return *signature;
}

}  // namespace cosigner::dkls23
