// Certificates and statements: both encodings are canonical, so what decodes encodes to the input.

#include "crypto/identity/certificate.h"
#include "crypto/identity/share_seal.h"
#include "crypto/identity/statement.h"
#include "tests/fuzz/require.h"

using namespace cosigner;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input(data, size);
  if (const auto certificate = decode_certificate(input)) {
    fuzz::require(std::ranges::equal(encode_certificate(*certificate), input));
    fuzz::require(!verify_certificate(*certificate, Ed25519PublicKey{}, certificate->not_before));
  }
  if (const auto statement = decode_statement(input)) {
    fuzz::require(std::ranges::equal(encode_statement(*statement), input));
    fuzz::require(!verify_statement(*statement, Ed25519PublicKey{}));
  }
  static const AeadKey key;
  fuzz::require(!open_share(key, ShareBinding{}, input));
  return 0;
}
