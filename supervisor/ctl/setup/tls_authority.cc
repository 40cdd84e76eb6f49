#include "supervisor/ctl/setup/tls_authority.h"

#include <arpa/inet.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <array>
#include <ctime>
#include <utility>
#include <vector>

namespace cosigner::ctl {
namespace {

template <auto kFree>
struct Free {
  template <class T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using BioPointer = std::unique_ptr<BIO, Free<BIO_free>>;
using KeyPointer = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using CertificatePointer = std::unique_ptr<X509, Free<X509_free>>;
using ExtensionPointer = std::unique_ptr<X509_EXTENSION, Free<X509_EXTENSION_free>>;

/// Clocks of machines that are being set up differ.
constexpr std::int64_t kSkewSeconds = 3600;
constexpr std::int64_t kDaySeconds = 86400;

std::unexpected<Error> failed(const char* what) {
  const unsigned long code = ERR_get_error();
  std::array<char, 256> reason{};
  ERR_error_string_n(code, reason.data(), reason.size());
  ERR_clear_error();
  return fail(ErrorCode::kInternal,
              std::string(what) + (code == 0 ? "" : ": " + std::string(reason.data())));
}

BioPointer reader(std::string_view text) {
  return BioPointer(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string_view contents(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_ctrl(bio, BIO_CTRL_INFO, 0, &data);
  return {data, static_cast<std::size_t>(size)};
}

Expected<ByteVector> der_of(X509* certificate) {
  unsigned char* bytes = nullptr;
  const int size = i2d_X509(certificate, &bytes);
  if (size <= 0) {
    return failed("a certificate cannot be encoded");
  }
  ByteVector out(bytes, bytes + size);
  OPENSSL_free(bytes);
  return out;
}

bool add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const ExtensionPointer extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

/// Version 3, a random serial number of 127 bits, a name, a time, a key; no extension, no
/// signature.
CertificatePointer blank(const std::string& common_name, EVP_PKEY* key, std::int64_t now_s,
                         std::int64_t days) {
  CertificatePointer out(X509_new());
  std::array<unsigned char, 16> serial{};
  if (!out || RAND_bytes(serial.data(), static_cast<int>(serial.size())) != 1) {
    return nullptr;
  }
  serial[0] = static_cast<unsigned char>((serial[0] & 0x7fU) | 0x40U);  // positive, of full length
  const std::unique_ptr<BIGNUM, Free<BN_free>> number(
      BN_bin2bn(serial.data(), static_cast<int>(serial.size()), nullptr));
  X509_NAME* name = X509_get_subject_name(out.get());
  const time_t from = now_s - kSkewSeconds;
  const time_t until = now_s + days * kDaySeconds;
  const bool good =
      number && X509_set_version(out.get(), X509_VERSION_3) == 1 &&
      BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(out.get())) != nullptr &&
      X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>("cosigner"), -1, -1,
                                 0) == 1 &&
      X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>(common_name.c_str()), -1,
                                 -1, 0) == 1 &&
      ASN1_TIME_set(X509_getm_notBefore(out.get()), from) != nullptr &&
      ASN1_TIME_set(X509_getm_notAfter(out.get()), until) != nullptr &&
      X509_set_pubkey(out.get(), key) == 1;
  return good ? std::move(out) : nullptr;
}

bool is_p256(EVP_PKEY* key) {
  std::array<char, 64> group{};
  std::size_t size = 0;
  return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
         EVP_PKEY_get_group_name(key, group.data(), group.size(), &size) == 1 &&
         std::string_view(group.data(), size) == SN_X9_62_prime256v1;
}

bool is_address(const std::string& host) {
  std::array<unsigned char, sizeof(in6_addr)> ignored{};
  return ::inet_pton(AF_INET, host.c_str(), ignored.data()) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), ignored.data()) == 1;
}

CertificatePointer parse_certificate(std::string_view pem) {
  const BioPointer bio = reader(pem);
  return CertificatePointer(bio ? PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)
                                : nullptr);
}

}  // namespace

// ---- keys

TlsKey::~TlsKey() {
  EVP_PKEY_free(key_);
}
TlsKey::TlsKey(TlsKey&& other) noexcept : key_(std::exchange(other.key_, nullptr)) {}
TlsKey& TlsKey::operator=(TlsKey&& other) noexcept {
  std::swap(key_, other.key_);
  return *this;
}

Expected<TlsKey> TlsKey::generate() {
  EVP_PKEY* key = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256");
  if (key == nullptr) {
    return failed("no TLS key could be made");
  }
  return TlsKey(key);
}

Expected<TlsKey> TlsKey::from_pem(std::string_view pem) {
  const BioPointer bio = reader(pem);
  EVP_PKEY* key = bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr) : nullptr;
  if (key == nullptr) {
    return failed("this is no TLS key");
  }
  return TlsKey(key);
}

Expected<broker::SecretText> TlsKey::pem() const {
  const BioPointer bio(BIO_new(BIO_s_secmem()));
  if (!bio ||
      PEM_write_bio_PKCS8PrivateKey(bio.get(), key_, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return failed("a TLS key cannot be written");
  }
  const std::string_view text = contents(bio.get());
  return broker::SecretText(text.begin(), text.end());
}

Expected<ByteVector> TlsKey::public_der() const {
  unsigned char* bytes = nullptr;
  const int size = i2d_PUBKEY(key_, &bytes);
  if (size <= 0) {
    return failed("a TLS key cannot be encoded");
  }
  ByteVector out(bytes, bytes + size);
  OPENSSL_free(bytes);
  return out;
}

// ---- the authority

TlsAuthority::~TlsAuthority() {
  X509_free(certificate_);
}
TlsAuthority::TlsAuthority(TlsAuthority&& other) noexcept
    : key_(std::move(other.key_)), certificate_(std::exchange(other.certificate_, nullptr)) {}
TlsAuthority& TlsAuthority::operator=(TlsAuthority&& other) noexcept {
  key_ = std::move(other.key_);
  std::swap(certificate_, other.certificate_);
  return *this;
}

Expected<TlsAuthority> TlsAuthority::create(const std::string& cluster, std::int64_t now_s) {
  auto key = TlsKey::generate();
  if (!key) {
    return std::unexpected(key.error());
  }
  CertificatePointer made = blank("cosigner cluster " + cluster, key->key_, now_s, kAuthorityDays);
  if (!made || X509_set_issuer_name(made.get(), X509_get_subject_name(made.get())) != 1 ||
      !add_extension(made.get(), made.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
      !add_extension(made.get(), made.get(), NID_key_usage, "critical,keyCertSign") ||
      !add_extension(made.get(), made.get(), NID_subject_key_identifier, "hash") ||
      X509_sign(made.get(), key->key_, EVP_sha256()) <= 0) {
    return failed("no certificate authority could be made");
  }
  return TlsAuthority(std::move(*key), made.release());
}

Expected<TlsAuthority> TlsAuthority::from_pem(std::string_view key_pem,
                                              std::string_view certificate_pem) {
  auto key = TlsKey::from_pem(key_pem);
  if (!key) {
    return std::unexpected(key.error());
  }
  CertificatePointer certificate = parse_certificate(certificate_pem);
  if (!certificate || X509_check_private_key(certificate.get(), key->key_) != 1) {
    return failed("the authority's certificate is not its key's");
  }
  return TlsAuthority(std::move(*key), certificate.release());
}

Expected<ByteVector> TlsAuthority::certificate_der() const {
  return der_of(certificate_);
}

Expected<ByteVector> TlsAuthority::issue(const std::string& name, ByteView public_der,
                                         const std::vector<std::string>& hosts,
                                         std::int64_t now_s) const {
  const unsigned char* at = public_der.data();
  const KeyPointer subject(d2i_PUBKEY(nullptr, &at, static_cast<long>(public_der.size())));
  if (!subject || at != public_der.data() + public_der.size() || !is_p256(subject.get())) {
    ERR_clear_error();
    return fail(ErrorCode::kBadRequest, "the TLS key of " + name + " is no P-256 key");
  }
  const CertificatePointer made = blank(name, subject.get(), now_s, kServerCertificateDays);
  std::string names;
  for (const std::string& host : hosts) {
    names += (names.empty() ? "" : ",") + std::string(is_address(host) ? "IP:" : "DNS:") + host;
  }
  if (!made || X509_set_issuer_name(made.get(), X509_get_subject_name(certificate_)) != 1 ||
      !add_extension(made.get(), certificate_, NID_basic_constraints, "critical,CA:FALSE") ||
      !add_extension(made.get(), certificate_, NID_key_usage, "critical,digitalSignature") ||
      !add_extension(made.get(), certificate_, NID_ext_key_usage,
                     hosts.empty() ? "clientAuth" : "serverAuth,clientAuth") ||
      !add_extension(made.get(), certificate_, NID_authority_key_identifier, "keyid:always") ||
      (!names.empty() && !add_extension(made.get(), certificate_, NID_subject_alt_name, names)) ||
      X509_sign(made.get(), key_.key_, EVP_sha256()) <= 0) {
    return failed("no certificate could be issued");
  }
  return der_of(made.get());
}

Expected<std::string> certificate_pem(ByteView der) {
  const unsigned char* at = der.data();
  const CertificatePointer certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  const BioPointer bio(BIO_new(BIO_s_mem()));
  if (!certificate || at != der.data() + der.size() || !bio ||
      PEM_write_bio_X509(bio.get(), certificate.get()) != 1) {
    ERR_clear_error();
    return fail(ErrorCode::kBadRequest, "this is no certificate");
  }
  return std::string(contents(bio.get()));
}

Expected<std::int64_t> certificate_ends(std::string_view pem) {
  const CertificatePointer certificate = parse_certificate(pem);
  std::tm end{};
  if (!certificate || ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &end) != 1) {
    ERR_clear_error();
    return fail(ErrorCode::kBadRequest, "this is no certificate");
  }
  return static_cast<std::int64_t>(::timegm(&end));
}

}  // namespace cosigner::ctl
