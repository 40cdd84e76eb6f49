#include "crypto/dkls23/ecdsa.h"

#include "crypto/dkls23/presigned.h"
#include "crypto/dkls23/renewal.h"
#include "crypto/dkls23/signing.h"
#include "crypto/protocol/schemes.h"

namespace cosigner::dkls23 {

using secp256k1::MessageDigest;

namespace {

Result<void> check_scheme(const PublicKeyRecord& record) {
  if (record.scheme != Scheme::kEcdsaSecp256k1) {
    return recoverable("the key is not for ECDSA");
  }
  return {};
}

Result<void> check(const SignParameters& parameters) {
  if (auto checked = check_scheme(parameters.record); !checked) {
    return checked;
  }
  return check_sign_parameters(parameters);
}

}  // namespace

Result<std::unique_ptr<Protocol>> make_sign(SignParameters parameters, Random& random) {
  const std::optional<MessageDigest> digest = MessageDigest::from(parameters.message);
  if (!digest) {
    return recoverable("ECDSA signs a digest of 32 bytes");
  }
  return Signing::make(std::move(parameters), digest, random);
}

Result<std::unique_ptr<PresignProtocol>> make_presign(SignParameters parameters, Random& random) {
  if (auto checked = check(parameters); !checked) {
    return std::unexpected(checked.error());
  }
  if (!parameters.message.empty() || !parameters.path.empty()) {
    return recoverable("a presignature is made without message and path");
  }
  return Signing::make(std::move(parameters), std::nullopt, random);
}

Result<std::unique_ptr<Protocol>> make_presigned_sign(SignParameters parameters,
                                                      Presignature presignature,
                                                      const Bytes<32>& nonce) {
  if (auto checked = check(parameters); !checked) {
    return std::unexpected(checked.error());
  }
  const std::optional<MessageDigest> digest = MessageDigest::from(parameters.message);
  if (!digest) {
    return recoverable("ECDSA signs a digest of 32 bytes");
  }
  return PresignedSigning::make(std::move(parameters), *digest, std::move(presignature), nonce);
}

ByteVector presigned_hello(const Digest& presignature, const Bytes<32>& nonce) {
  return Writer().fixed(presignature).fixed(nonce).take();
}

Result<std::unique_ptr<Protocol>> make_renewal(RenewalParameters parameters, Random& random) {
  if (auto checked = check_scheme(parameters.record); !checked) {
    return std::unexpected(checked.error());
  }
  if (auto checked = check_participation(parameters.record, parameters.self, parameters.peer);
      !checked) {
    return std::unexpected(checked.error());
  }
  return Renewal::make(std::move(parameters), random);
}

}  // namespace cosigner::dkls23
