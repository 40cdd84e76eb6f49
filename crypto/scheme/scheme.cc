#include "crypto/scheme/scheme.h"

#include <algorithm>
#include <array>

#include "crypto/ed25519/signature.h"
#include "crypto/secp256k1/ecdsa.h"

namespace cosigner {
namespace {

struct SchemeName {
  Scheme scheme;
  std::string_view name;
  bool available;
};
constexpr std::array kSchemeNames{
    SchemeName{Scheme::kEd25519, "ed25519", true},
    SchemeName{Scheme::kEcdsaSecp256k1, "ecdsa-secp256k1", true},
    SchemeName{Scheme::kBip340Secp256k1, "bip340-secp256k1", false},
};

bool verify_ecdsa_vartime(ByteView public_key, ByteView digest, ByteView signature) {
  const auto key = secp256k1::Point::decode(public_key);
  const auto message = secp256k1::MessageDigest::from(digest);
  const auto decoded = secp256k1::EcdsaSignature::decode(signature);
  return key && message && decoded && secp256k1::recovers_vartime(*decoded, *message, *key);
}

}  // namespace

std::string_view scheme_name(Scheme scheme) {
  const auto found = std::ranges::find(kSchemeNames, scheme, &SchemeName::scheme);
  return found == kSchemeNames.end() ? "unknown" : found->name;
}

std::optional<Scheme> scheme_from_name(std::string_view name) {
  const auto found = std::ranges::find(kSchemeNames, name, &SchemeName::name);
  return found == kSchemeNames.end() ? std::nullopt : std::optional(found->scheme);
}

bool scheme_available(Scheme scheme) {
  const auto found = std::ranges::find(kSchemeNames, scheme, &SchemeName::scheme);
  return found != kSchemeNames.end() && found->available;
}

std::string available_scheme_names() {
  std::string out;
  for (const SchemeName& entry : kSchemeNames) {
    if (entry.available) {
      out += (out.empty() ? "" : ", ") + std::string(entry.name);
    }
  }
  return out;
}

std::vector<ParticipantIndex> participants_of(const PublicKeyRecord& record) {
  std::vector<ParticipantIndex> out;
  out.reserve(record.public_shares.size());
  for (const auto& [index, point] : record.public_shares) {
    out.push_back(index);
  }
  return out;
}

bool verify_signature_vartime(Scheme scheme, ByteView public_key, ByteView message,
                              ByteView signature) {
  switch (scheme) {
    case Scheme::kEd25519:
      return ed25519::verify_vartime(public_key, message, signature);
    case Scheme::kEcdsaSecp256k1:
      return verify_ecdsa_vartime(public_key, message, signature);
    case Scheme::kBip340Secp256k1:
      break;
  }
  return false;
}

}  // namespace cosigner
