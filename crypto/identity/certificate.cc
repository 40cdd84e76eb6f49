#include "crypto/identity/certificate.h"

#include "crypto/base/hash.h"
#include "crypto/base/wire.h"

namespace cosigner {
namespace {

constexpr std::uint8_t kEncodingVersion = 1;
constexpr std::size_t kMaxText = 128;

}  // namespace

Digest certificate_digest(const Certificate& certificate) {
  return TaggedHash(tag::kCertificate)
      .part(certificate.cluster)
      .part(certificate.node)
      .part_u8(static_cast<std::uint8_t>(certificate.role))
      .part(certificate.user)
      .part_u64(certificate.generation)
      .part(certificate.x25519.view())
      .part(certificate.ed25519.view())
      .part_u64(certificate.not_before)
      .part_u64(certificate.not_after)
      .finish();
}

void sign_certificate(Certificate& certificate, const IdentityKey& identity) {
  certificate.signature = identity.sign(certificate_digest(certificate));
}

ByteVector encode_certificate(const Certificate& certificate) {
  Writer out;
  out.u8(kEncodingVersion)
      .text(certificate.cluster)
      .text(certificate.node)
      .u8(static_cast<std::uint8_t>(certificate.role))
      .text(certificate.user)
      .u64(certificate.generation)
      .fixed(certificate.x25519)
      .fixed(certificate.ed25519)
      .u64(certificate.not_before)
      .u64(certificate.not_after)
      .fixed(certificate.signature);
  return out.take();
}

Checked<Certificate> decode_certificate(ByteView bytes) {
  Reader in(bytes);
  Certificate out;
  if (in.u8() != kEncodingVersion) {
    return wrong("a certificate of another version");
  }
  out.cluster = in.text(kMaxText);
  out.node = in.text(kMaxText);
  const std::uint8_t role = in.u8();
  const bool worker = role == static_cast<std::uint8_t>(CertificateRole::kWorker);
  const bool gateway = role == static_cast<std::uint8_t>(CertificateRole::kGateway);
  out.role = worker ? CertificateRole::kWorker : CertificateRole::kGateway;
  out.user = in.text(kMaxText);
  out.generation = in.u64();
  out.x25519 = in.take<X25519PublicKey>();
  out.ed25519 = in.take<Ed25519PublicKey>();
  out.not_before = in.u64();
  out.not_after = in.u64();
  out.signature = in.take<Ed25519Signature>();
  if (!in.finished() || !(worker || gateway)) {
    return wrong("not a certificate");
  }
  if (worker == out.user.empty()) {
    return wrong("a worker's certificate names a user, a gateway's does not");
  }
  if (out.not_after <= out.not_before) {
    return wrong("the certificate ends before it begins");
  }
  return out;
}

Checked<void> verify_certificate(const Certificate& certificate, const Ed25519PublicKey& identity,
                                 std::uint64_t now_seconds) {
  // The issuer makes exactly this long; a longer one would outlive the recovery of a machine whose
  // key was someone else's for a moment.
  if (certificate.not_after - certificate.not_before > kCertificateLifetimeSeconds) {
    return wrong("the certificate is valid for longer than any that a node makes");
  }
  // Compared without sums, which a crafted 64-bit time could overflow.
  if (certificate.not_before > now_seconds &&
      certificate.not_before - now_seconds > kCertificateSkewSeconds) {
    return wrong("the certificate is not valid yet: compare the nodes' clocks");
  }
  if (now_seconds > certificate.not_after &&
      now_seconds - certificate.not_after > kCertificateSkewSeconds) {
    return wrong("the certificate is over: it was not renewed, or the nodes' clocks differ");
  }
  if (!ed25519_verify(identity, certificate_digest(certificate), certificate.signature)) {
    return wrong("the node's identity key did not sign this certificate");
  }
  return {};
}

Checked<Certificate> open_certificate(ByteView bytes, const ExpectedHolder& expected,
                                      const Ed25519PublicKey& identity, std::uint64_t now_seconds) {
  auto certificate = decode_certificate(bytes);
  if (!certificate) {
    return certificate;
  }
  if (certificate->cluster != expected.cluster) {
    return wrong("the certificate is of another cluster");
  }
  if (certificate->node != expected.node) {
    return wrong("the certificate is of another node");
  }
  if (certificate->role != expected.role) {
    return wrong("the certificate is of another role");
  }
  if (certificate->user != expected.user) {
    return wrong("the certificate is of another user");
  }
  if (const auto verified = verify_certificate(*certificate, identity, now_seconds); !verified) {
    return wrong(verified.error());
  }
  return certificate;
}

}  // namespace cosigner
