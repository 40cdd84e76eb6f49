#include "supervisor/ctl/message_hash.h"

// OpenSSL 3.0, libsodium, libgcrypt 1.10 and nettle 3.8 have SHA3-256 but not Ethereum's
// Keccak-256.
#include <cryptopp/keccak.h>

#include "crypto/base/hash.h"

namespace cosigner::ctl {

std::optional<MessageHash> message_hash_from_name(std::string_view name) {
  if (name == "sha256") {
    return MessageHash::kSha256;
  }
  if (name == "keccak256") {
    return MessageHash::kKeccak256;
  }
  return name == "sha256d" ? std::optional(MessageHash::kSha256d) : std::nullopt;
}

Digest hash_message(MessageHash hash, ByteView message) {
  switch (hash) {
    case MessageHash::kSha256:
      return Sha256().update(message).finish();
    case MessageHash::kSha256d:
      return Sha256().update(Sha256().update(message).finish()).finish();
    case MessageHash::kKeccak256:
      break;
  }
  Digest out;
  CryptoPP::Keccak_256 keccak;
  keccak.Update(message.data(), message.size());
  keccak.Final(out.data.data());
  return out;
}

Outcome<ByteVector> message_to_sign(const SignInput& input, Scheme scheme, ByteVector bytes) {
  const auto refuse = [](std::string reason) {
    return failed(ExitStatus::kUsage, ErrorCode::kBadRequest, std::move(reason));
  };
  if (scheme != Scheme::kEcdsaSecp256k1) {
    if (input.is_digest || input.hash) {
      return refuse("this is an " + std::string(scheme_name(scheme)) +
                    " key, which signs the message itself: leave out --digest-hex and --hash.");
    }
    return bytes;
  }
  if (input.hash) {
    if (input.is_digest) {
      return refuse("--digest-hex is a hash already: leave out --hash.");
    }
    return to_vector(hash_message(*input.hash, bytes));
  }
  // Not even 32 bytes are taken for a digest unasked: signed unhashed, a message of somebody
  // else's choosing is a signature on anything whose hash it is.
  if (!input.is_digest) {
    return refuse("ECDSA signs a digest: say how the message is hashed with --hash " +
                  std::string(kMessageHashNames) + ", or give --digest-hex.");
  }
  if (bytes.size() != 32) {
    return refuse("--digest-hex takes a digest of 32 bytes, 64 hex digits.");
  }
  return bytes;
}

}  // namespace cosigner::ctl
