#pragma once
// The cluster's own certificate authority for mutual TLS between its nats-servers: P-256 keys,
// X.509 v3. It vouches for nobody else, and nothing but these servers trusts it.

#include <cstdint>
#include <memory>
#include <string>

#include "crypto/base/bytes.h"
#include "ipc/error.h"
#include "supervisor/broker/nkey.h"

struct evp_pkey_st;
struct x509_st;

namespace cosigner::ctl {

/// How long certificates live. The authority's outlives them, so that they can be renewed.
inline constexpr std::int64_t kServerCertificateDays = 5LL * 365;
inline constexpr std::int64_t kAuthorityDays = 20LL * 365;

/// A private key.
class TlsKey {
 public:
  [[nodiscard]] static Expected<TlsKey> generate();
  [[nodiscard]] static Expected<TlsKey> from_pem(std::string_view pem);
  /// PKCS #8, not encrypted.
  [[nodiscard]] Expected<broker::SecretText> pem() const;
  /// SubjectPublicKeyInfo, DER.
  [[nodiscard]] Expected<ByteVector> public_der() const;

  ~TlsKey();
  TlsKey(TlsKey&&) noexcept;
  TlsKey& operator=(TlsKey&&) noexcept;

 private:
  friend class TlsAuthority;
  explicit TlsKey(evp_pkey_st* key) : key_(key) {}
  evp_pkey_st* key_;
};

class TlsAuthority {
 public:
  /// A new key and its self-signed certificate.
  [[nodiscard]] static Expected<TlsAuthority> create(const std::string& cluster,
                                                     std::int64_t now_s);
  [[nodiscard]] static Expected<TlsAuthority> from_pem(std::string_view key_pem,
                                                       std::string_view certificate_pem);
  [[nodiscard]] const TlsKey& key() const { return key_; }
  [[nodiscard]] Expected<ByteVector> certificate_der() const;

  /// For the server `name`, whose public key is `public_der` (P-256 only). `hosts`: DNS names and
  /// addresses it may be reached at; empty: it is a client only. Returns DER.
  [[nodiscard]] Expected<ByteVector> issue(const std::string& name, ByteView public_der,
                                           const std::vector<std::string>& hosts,
                                           std::int64_t now_s) const;

  ~TlsAuthority();
  TlsAuthority(TlsAuthority&&) noexcept;
  TlsAuthority& operator=(TlsAuthority&&) noexcept;

 private:
  TlsAuthority(TlsKey key, x509_st* certificate)
      : key_(std::move(key)), certificate_(certificate) {}
  TlsKey key_;
  x509_st* certificate_;
};

/// Whether this is one certificate. Errors: bad_request.
[[nodiscard]] Expected<std::string> certificate_pem(ByteView der);
/// The end of its time, seconds since 1970.
[[nodiscard]] Expected<std::int64_t> certificate_ends(std::string_view pem);

}  // namespace cosigner::ctl
