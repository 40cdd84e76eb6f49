#include "crypto/base/seal.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <sodium.h>

#include <memory>
#include <new>
#include <stdexcept>

#include "crypto/base/declassify.h"

namespace cosigner {
namespace {

struct Free {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
  void operator()(EVP_KDF_CTX* context) const { EVP_KDF_CTX_free(context); }
};

// Fetched once: an implicit fetch costs more than the cipher.
const EVP_CIPHER* aes_256_gcm() {
  static EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  return cipher;
}
EVP_KDF* hkdf() {
  static EVP_KDF* const kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  return kdf;
}

// Out of memory or a broken OpenSSL: not something a peer's bytes can cause. An allocation that
// OpenSSL was refused is what it is everywhere: std::bad_alloc, of which a worker dies at once.
void require(bool ok, const char* what) {
  if (!ok) {
    if (ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_MALLOC_FAILURE) {
      throw std::bad_alloc();
    }
    throw std::runtime_error(what);
  }
}

OSSL_PARAM octets(const char* name, ByteView bytes) {
  // OpenSSL refuses a null pointer even where the length is zero, as an absent salt's is.
  static std::uint8_t none = 0;
  return OSSL_PARAM_construct_octet_string(
      name, bytes.empty() ? &none : const_cast<std::uint8_t*>(bytes.data()), bytes.size());
}

}  // namespace

X25519PublicKey x25519_public_key(const X25519SecretKey& secret) {
  X25519PublicKey out;
  crypto_scalarmult_curve25519_base(out.data.data(), secret.expose().data());
  declassify(&out, sizeof out);  // a public key
  return out;
}

std::optional<SecretBytes<32>> x25519(const X25519SecretKey& secret, const X25519PublicKey& peer) {
  SecretBytes<32> out;
  // Fails for a peer's key of small order, whatever the secret is.
  if (declassified(crypto_scalarmult_curve25519(out.expose_mutable().data(), secret.expose().data(),
                                                peer.data.data())) != 0) {
    return std::nullopt;
  }
  return out;
}

void hkdf_sha256(ByteView secret, ByteView salt, ByteView info, std::span<std::uint8_t> out) {
  const std::unique_ptr<EVP_KDF_CTX, Free> context(EVP_KDF_CTX_new(hkdf()));
  require(context != nullptr, "HKDF is not available");
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      octets(OSSL_KDF_PARAM_KEY, secret),
      octets(OSSL_KDF_PARAM_SALT, salt),
      octets(OSSL_KDF_PARAM_INFO, info),
      OSSL_PARAM_construct_end(),
  };
  require(EVP_KDF_derive(context.get(), out.data(), out.size(), parameters) == 1, "HKDF failed");
}

ByteVector aead_seal(const AeadKey& key, const AeadNonce& nonce, ByteView associated,
                     ByteView plain) {
  const std::unique_ptr<EVP_CIPHER_CTX, Free> context(EVP_CIPHER_CTX_new());
  ByteVector out(plain.size() + kAeadTagSize);
  int size = 0;
  bool ok =
      context != nullptr && EVP_EncryptInit_ex2(context.get(), aes_256_gcm(), key.expose().data(),
                                                nonce.data.data(), nullptr) == 1;
  ok = ok && EVP_EncryptUpdate(context.get(), nullptr, &size, associated.data(),
                               static_cast<int>(associated.size())) == 1;
  ok = ok && (plain.empty() || EVP_EncryptUpdate(context.get(), out.data(), &size, plain.data(),
                                                 static_cast<int>(plain.size())) == 1);
  ok = ok && EVP_EncryptFinal_ex(context.get(), out.data() + plain.size(), &size) == 1;
  ok = ok && EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kAeadTagSize,
                                 out.data() + plain.size()) == 1;
  require(ok, "AES-256-GCM failed");
  declassify(out.data(), out.size());  // a ciphertext is made to be seen
  return out;
}

std::optional<SecretVector> aead_open(const AeadKey& key, const AeadNonce& nonce,
                                      ByteView associated, ByteView sealed) {
  if (sealed.size() < kAeadTagSize) {
    return std::nullopt;
  }
  const std::size_t plain_size = sealed.size() - kAeadTagSize;
  std::array<std::uint8_t, kAeadTagSize> tag{};
  std::memcpy(tag.data(), sealed.data() + plain_size, tag.size());
  const std::unique_ptr<EVP_CIPHER_CTX, Free> context(EVP_CIPHER_CTX_new());
  SecretVector out(plain_size);
  int size = 0;
  bool ok =
      context != nullptr && EVP_DecryptInit_ex2(context.get(), aes_256_gcm(), key.expose().data(),
                                                nonce.data.data(), nullptr) == 1;
  ok = ok && EVP_DecryptUpdate(context.get(), nullptr, &size, associated.data(),
                               static_cast<int>(associated.size())) == 1;
  ok = ok && (plain_size == 0 || EVP_DecryptUpdate(context.get(), out.data(), &size, sealed.data(),
                                                   static_cast<int>(plain_size)) == 1);
  ok =
      ok && EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, kAeadTagSize, tag.data()) == 1;
  std::uint8_t unused = 0;
  ok = ok && EVP_DecryptFinal_ex(context.get(), &unused, &size) == 1;
  if (!ok) {
    return std::nullopt;
  }
  return out;
}

}  // namespace cosigner
