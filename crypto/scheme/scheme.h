#pragma once
// What everyone may know of a signature scheme: its name, a key's public part, and whether a
// signature is good. No protocol is behind any of it, so that a program which only names schemes
// and checks signatures (cosignerd, the clients) links none: crypto/CMakeLists.txt.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crypto/base/abort.h"
#include "crypto/base/bytes.h"
#include "crypto/base/hash.h"

namespace cosigner {

enum class Scheme : std::uint8_t { kEd25519 = 1, kEcdsaSecp256k1 = 2, kBip340Secp256k1 = 3 };
/// "ed25519", "ecdsa-secp256k1", "bip340-secp256k1".
[[nodiscard]] std::string_view scheme_name(Scheme scheme);
[[nodiscard]] std::optional<Scheme> scheme_from_name(std::string_view name);
/// Has this release a protocol for it? A scheme without one has a name and nothing else.
[[nodiscard]] bool scheme_available(Scheme scheme);
/// "ed25519, ecdsa-secp256k1": those that scheme_available().
[[nodiscard]] std::string available_scheme_names();

inline constexpr std::size_t kMaxParticipants = 32;
inline constexpr std::size_t kMaxMessageBytes = 1U
                                                << 20;  ///< a message to be signed (Ed25519): 1 MiB

/// The public, certified part of a key: the same on every participant.
struct PublicKeyRecord {
  Scheme scheme = Scheme::kEd25519;
  std::uint16_t threshold = 0;  ///< t nodes sign; 2 ≤ t ≤ n
  ByteVector public_key;        ///< 32 bytes Ed25519, 33 bytes secp256k1
  std::vector<std::pair<ParticipantIndex, ByteVector>>
      public_shares;  ///< S_i = s_i·G, sorted by index, n of them
  Digest chain_code;  ///< for BIP-32; every scheme has one
  Digest transcript;  ///< of the key generation

  friend bool operator==(const PublicKeyRecord&, const PublicKeyRecord&) = default;
};

/// Those who hold a share of the key, sorted.
[[nodiscard]] std::vector<ParticipantIndex> participants_of(const PublicKeyRecord& record);

/// True when `signature` verifies under the key's public key with a stock verifier (public data,
/// variable time).
[[nodiscard]] bool verify_signature_vartime(Scheme scheme, ByteView public_key, ByteView message,
                                            ByteView signature);

}  // namespace cosigner
