#pragma once
// ECDSA signs a digest, and the cluster does not care of what: whoever asks hashes. These are the
// hashes that Bitcoin and Ethereum put before their signatures.

#include <optional>
#include <string_view>

#include "crypto/scheme/scheme.h"
#include "supervisor/ctl/message_io.h"

namespace cosigner::ctl {

enum class MessageHash : std::uint8_t { kSha256, kKeccak256, kSha256d };
inline constexpr std::string_view kMessageHashNames = "sha256, keccak256 or sha256d";
[[nodiscard]] std::optional<MessageHash> message_hash_from_name(std::string_view name);

/// sha256d is SHA-256 twice (Bitcoin). keccak256 is the Keccak of before the standard (Ethereum),
/// whose padding differs from SHA3-256's.
[[nodiscard]] Digest hash_message(MessageHash hash, ByteView message);

/// What the command line says is to be signed.
struct SignInput {
  MessageSource source;
  bool is_digest = false;  ///< --digest-hex
  std::optional<MessageHash> hash;
};
/// What goes into the request's `message`: the message itself for Ed25519; for ECDSA the digest,
/// made by --hash or given as one. Fails with kUsage where the options do not fit the scheme or
/// each other.
[[nodiscard]] Outcome<ByteVector> message_to_sign(const SignInput& input, Scheme scheme,
                                                  ByteVector bytes);

}  // namespace cosigner::ctl
