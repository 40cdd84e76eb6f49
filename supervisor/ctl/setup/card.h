#pragma once
// What nodes show each other before they are a cluster: a node's card, signed by its identity key,
// and the cluster's bundle, signed by its authority. Neither holds a secret. Their signatures say
// that nobody changed them on the way, not whose they are: anybody can make an authority and put
// genuine cards into its bundle. So people compare fingerprints: of each node's identity, and of
// the authority, whose signature then covers the initiators, hubs and TLS authority in the bundle.
//
// On disk and in mail both are text: a line that names the kind, base64, a line that ends it.

#include <string>
#include <vector>

#include "crypto/identity/ed25519_key.h"
#include "ipc/error.h"
#include "supervisor/broker/nkey.h"
#include "supervisor/broker/server_config.h"

namespace cosigner::ctl {

struct Card {
  std::string cluster;
  std::string node;
  Ed25519PublicKey identity;
  std::string worker_signer;   ///< A…: public half of the node's scoped key for workers
  std::string gateway_signer;  ///< A…
  std::string leaf_user;       ///< U…: whom the node's nats-server joins the hub as
  ByteVector tls_key;          ///< SubjectPublicKeyInfo (DER) of the key of its nats-server
  friend bool operator==(const Card&, const Card&) = default;
};

/// A card with its signature: map{card: bin, signature: bin}.
[[nodiscard]] ByteVector seal_card(const Card& card, const IdentityKey& identity);
/// Errors: bad_request; unauthorized if the identity in it has not signed it.
[[nodiscard]] Expected<Card> open_card(ByteView sealed);

/// What the nodes of a cluster need to meet.
struct Bundle {
  struct Member {
    ByteVector card;         ///< sealed
    ByteVector certificate;  ///< DER: of its nats-server
    std::string leaf_jwt;
  };
  struct Client {
    std::string name;
    Ed25519PublicKey key;
  };
  std::string cluster;
  std::uint64_t serial = 0;    ///< of a later bundle it is higher
  Ed25519PublicKey authority;  ///< the operator's nkey, which signs; confirmed like a node
  broker::BrokerTrust trust;
  ByteVector tls_authority;       ///< DER
  std::vector<std::string> hubs;  ///< HOST:PORT
  std::uint16_t threshold = 0;
  std::vector<Client> initiators;
  std::vector<Member> members;
};
[[nodiscard]] ByteVector seal_bundle(const Bundle& bundle, const broker::Nkey& authority);
/// Cards inside are opened as well: each must be of this cluster, no node twice. Errors:
/// bad_request, unauthorized.
[[nodiscard]] Expected<Bundle> open_bundle(ByteView sealed);

/// 16 bytes of a hash of the key in eight groups of four hex digits: short enough to read out,
/// too long to be met by trying (2^128).
[[nodiscard]] std::string fingerprint(const Ed25519PublicKey& key);

enum class ArmorKind : std::uint8_t { kCard, kBundle };
[[nodiscard]] std::string armor(ArmorKind kind, ByteView sealed);
struct Armored {
  ArmorKind kind = ArmorKind::kCard;
  ByteVector sealed;
};
/// Text around it is ignored, as mail programs add it. Errors: bad_request.
[[nodiscard]] Expected<Armored> unarmor(std::string_view text);

}  // namespace cosigner::ctl
