#pragma once
// NKeys: Ed25519 keys in the text form NATS uses (base32 without padding, a kind prefix, CRC-16).
// A public key reads O…, A…, U…; a seed SO…, SA…, SU…. Compatible with nats-server and every NATS
// client.

#include <memory>
#include <string>
#include <string_view>

#include "crypto/base/bytes.h"
#include "crypto/base/random.h"
#include "crypto/base/secret.h"
#include "ipc/error.h"

namespace cosigner::broker {

/// The values are the prefix bytes of the encoding.
enum class NkeyKind : std::uint8_t {
  kAccount = 0,         ///< A…
  kOperator = 14 << 3,  ///< O…
  kUser = 20 << 3,      ///< U…
};

/// Text whose memory is wiped: an encoded seed.
using SecretText = std::basic_string<char, std::char_traits<char>, WipingAllocator<char>>;

/// "U…": 56 characters.
[[nodiscard]] std::string encode_public(NkeyKind kind, const Ed25519PublicKey& key);
/// Fails with bad_request on another kind, a wrong length, a wrong checksum or a stray bit.
[[nodiscard]] Expected<Ed25519PublicKey> decode_public(NkeyKind kind, std::string_view text);

/// A signing key; the secret half is wiped with it.
class Nkey {
 public:
  static Nkey generate(NkeyKind kind, Random& random);
  /// Parses "S<kind>…" (58 characters); surrounding white space is ignored. Fails with bad_request;
  /// the message never repeats the text.
  static Expected<Nkey> from_seed(NkeyKind kind, std::string_view text);

  [[nodiscard]] NkeyKind kind() const { return kind_; }
  [[nodiscard]] const Ed25519PublicKey& public_key() const { return public_key_; }
  [[nodiscard]] const std::string& public_text() const { return public_text_; }
  [[nodiscard]] SecretText seed_text() const;
  [[nodiscard]] Ed25519Signature sign(ByteView message) const;

 private:
  Nkey(NkeyKind kind, const SecretBytes<32>& seed);

  NkeyKind kind_;
  SecretBytes<64> secret_;  ///< libsodium's form: seed ‖ public key
  Ed25519PublicKey public_key_;
  std::string public_text_;
};

}  // namespace cosigner::broker
