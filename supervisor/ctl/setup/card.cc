#include "supervisor/ctl/setup/card.h"

#include <sodium.h>

#include <set>

#include "crypto/base/hash.h"
#include "ipc/map_reader.h"
#include "ipc/names.h"
#include "ipc/pack.h"

namespace cosigner::ctl {
namespace {

constexpr std::uint64_t kVersion = 1;
constexpr std::string_view kCard = "card";
constexpr std::string_view kBundle = "bundle";
constexpr std::size_t kMaxTextBytes = 1U << 20;  ///< of an armored text
constexpr std::size_t kMaxMembers = 32;
constexpr std::size_t kMaxHubs = 8;
constexpr std::size_t kLineLength = 76;

ByteVector seal(std::string_view name, ByteView body, const Ed25519Signature& signature) {
  return ipc::MapPacker().bytes(name, body).bytes("signature", signature).finish();
}

/// The tag of fingerprints, and what is signed as the first part: no card is a bundle or a key.
Digest digest_of(std::string_view what, ByteView body) {
  return TaggedHash(tag::kFingerprint).part(what).part(body).finish();
}

std::unexpected<Error> bad_signature(std::string_view what) {
  return fail(ErrorCode::kUnauthorized, "the signature of this " + std::string(what) +
                                            " does not verify: it was changed on the way");
}

/// What seal() has put together: the body, parsed, and its signature, not verified yet.
struct Opened {
  ByteVector body;
  ipc::Tree fields;  ///< of the body
  Ed25519Signature signature;
};

Expected<Opened> unseal(std::string_view name, ByteView sealed, std::size_t limit) {
  const auto outer = ipc::Tree::parse(sealed);
  if (!outer) {
    return std::unexpected(outer.error());
  }
  ipc::MapReader envelope(outer->root(), name);
  ByteVector body = to_vector(envelope.bytes(name, limit));
  const auto signature = envelope.fixed<Ed25519Signature>("signature");
  if (const auto ok = envelope.finish(); !ok) {
    return std::unexpected(ok.error());
  }
  auto fields = ipc::Tree::parse(body);
  if (!fields) {
    return std::unexpected(fields.error());
  }
  return Opened{std::move(body), *std::move(fields), signature};
}

void check_nkey(ipc::MapReader& fields, broker::NkeyKind kind, const std::string& text) {
  if (!fields.failed() && !broker::decode_public(kind, text)) {
    fields.fail("'" + text + "' is no public nkey of the right kind");
  }
}

std::string_view kind_name(ArmorKind kind) {
  return kind == ArmorKind::kCard ? "COSIGNER CARD" : "COSIGNER BUNDLE";
}

}  // namespace

ByteVector seal_card(const Card& card, const IdentityKey& identity) {
  const ByteVector body = ipc::MapPacker()
                              .unsigned_integer("version", kVersion)
                              .text("cluster", card.cluster)
                              .text("node", card.node)
                              .bytes("identity", card.identity)
                              .text("worker_signer", card.worker_signer)
                              .text("gateway_signer", card.gateway_signer)
                              .text("leaf_user", card.leaf_user)
                              .bytes("tls_key", card.tls_key)
                              .finish();
  return seal(kCard, body, identity.sign(digest_of(kCard, body)));
}

Expected<Card> open_card(ByteView sealed) {
  const auto opened = unseal(kCard, sealed, 4096);
  if (!opened) {
    return std::unexpected(opened.error());
  }
  ipc::MapReader fields(opened->fields.root(), kCard);
  fields.unsigned_integer("version", kVersion, kVersion);
  Card card;
  card.cluster = fields.text("cluster", 64);
  card.node = fields.text("node", 64);
  card.identity = fields.fixed<Ed25519PublicKey>("identity");
  card.worker_signer = fields.text("worker_signer", 64);
  card.gateway_signer = fields.text("gateway_signer", 64);
  card.leaf_user = fields.text("leaf_user", 64);
  card.tls_key = to_vector(fields.bytes("tls_key", 512));
  if (!fields.failed() && (!valid_cluster_name(card.cluster) || !valid_node_name(card.node))) {
    fields.fail("its cluster or node has no valid name");
  }
  check_nkey(fields, broker::NkeyKind::kAccount, card.worker_signer);
  check_nkey(fields, broker::NkeyKind::kAccount, card.gateway_signer);
  check_nkey(fields, broker::NkeyKind::kUser, card.leaf_user);
  if (const auto ok = fields.finish(); !ok) {
    return std::unexpected(ok.error());
  }
  if (!ed25519_verify(card.identity, digest_of(kCard, opened->body), opened->signature)) {
    return bad_signature("card");
  }
  return card;
}

ByteVector seal_bundle(const Bundle& bundle, const broker::Nkey& authority) {
  ipc::ArrayPacker hubs;
  for (const std::string& hub : bundle.hubs) {
    hubs.next().text(hub);
  }
  ipc::ArrayPacker initiators;
  for (const Bundle::Client& client : bundle.initiators) {
    initiators.next().raw(
        ipc::MapPacker().text("name", client.name).bytes("key", client.key).finish());
  }
  ipc::ArrayPacker members;
  for (const Bundle::Member& member : bundle.members) {
    members.next().raw(ipc::MapPacker()
                           .bytes("card", member.card)
                           .bytes("certificate", member.certificate)
                           .text("leaf_jwt", member.leaf_jwt)
                           .finish());
  }
  const ByteVector body = ipc::MapPacker()
                              .unsigned_integer("version", kVersion)
                              .text("cluster", bundle.cluster)
                              .unsigned_integer("serial", bundle.serial)
                              .bytes("authority", bundle.authority)
                              .text("operator_jwt", bundle.trust.operator_jwt)
                              .text("account", bundle.trust.account)
                              .text("account_jwt", bundle.trust.account_jwt)
                              .text("system_account", bundle.trust.system_account)
                              .text("system_account_jwt", bundle.trust.system_account_jwt)
                              .bytes("tls_authority", bundle.tls_authority)
                              .raw("hubs", hubs.finish())
                              .unsigned_integer("threshold", bundle.threshold)
                              .raw("initiators", initiators.finish())
                              .raw("members", members.finish())
                              .finish();
  return seal(kBundle, body, authority.sign(digest_of(kBundle, body)));
}

Expected<Bundle> open_bundle(ByteView sealed) {
  const auto opened = unseal(kBundle, sealed, kMaxTextBytes);
  if (!opened) {
    return std::unexpected(opened.error());
  }
  ipc::MapReader fields(opened->fields.root(), kBundle);
  fields.unsigned_integer("version", kVersion, kVersion);
  Bundle bundle;
  bundle.cluster = fields.text("cluster", 64);
  bundle.serial = fields.unsigned_integer("serial");
  bundle.authority = fields.fixed<Ed25519PublicKey>("authority");
  bundle.trust.operator_jwt = fields.text("operator_jwt");
  bundle.trust.account = fields.text("account", 64);
  bundle.trust.account_jwt = fields.text("account_jwt");
  bundle.trust.system_account = fields.text("system_account", 64);
  bundle.trust.system_account_jwt = fields.text("system_account_jwt");
  bundle.tls_authority = to_vector(fields.bytes("tls_authority", 8192));
  bundle.hubs = fields.texts("hubs", kMaxHubs, 256);
  bundle.threshold =
      static_cast<std::uint16_t>(fields.unsigned_integer("threshold", 2, kMaxMembers));
  check_nkey(fields, broker::NkeyKind::kAccount, bundle.trust.account);
  check_nkey(fields, broker::NkeyKind::kAccount, bundle.trust.system_account);
  for (const ipc::Node& entry : fields.array("initiators", 64)) {
    ipc::MapReader client(entry, "initiator");
    bundle.initiators.push_back(
        {.name = client.text("name", 64), .key = client.fixed<Ed25519PublicKey>("key")});
    if (!valid_key_name(bundle.initiators.back().name)) {
      client.fail("its name has other characters than A-Z a-z 0-9 . _ : @ -");
    }
    if (const auto ok = client.finish(); !ok) {
      return std::unexpected(ok.error());
    }
  }
  for (const ipc::Node& entry : fields.array("members", kMaxMembers)) {
    ipc::MapReader member(entry, "member");
    Bundle::Member& added = bundle.members.emplace_back();
    added.card = to_vector(member.bytes("card", 8192));
    added.certificate = to_vector(member.bytes("certificate", 8192));
    added.leaf_jwt = member.text("leaf_jwt", 8192);
    if (const auto ok = member.finish(); !ok) {
      return std::unexpected(ok.error());
    }
  }
  if (const auto ok = fields.finish(); !ok) {
    return std::unexpected(ok.error());
  }
  // These go into files of their own as they are: a JWT is base64url and dots.
  const auto is_jwt = [](std::string_view text) {
    return !text.empty() && text.find_first_not_of(
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvw"
                                "xyz0123456789-_.") == std::string_view::npos;
  };
  const auto is_address = [](std::string_view text) {
    return text.find_first_not_of(
               "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-."
               "[]:") == std::string_view::npos;
  };
  bool clean = is_jwt(bundle.trust.operator_jwt) && is_jwt(bundle.trust.account_jwt) &&
               is_jwt(bundle.trust.system_account_jwt) && !bundle.hubs.empty();
  for (const std::string& hub : bundle.hubs) {
    clean = clean && is_address(hub);
  }
  if (!ed25519_verify(bundle.authority, digest_of(kBundle, opened->body), opened->signature)) {
    return bad_signature("bundle");
  }
  std::set<std::string> names;
  for (const Bundle::Client& client : bundle.initiators) {
    clean = clean && names.insert(client.name).second;
  }
  std::set<std::string> nodes;
  for (const Bundle::Member& member : bundle.members) {
    const auto card = open_card(member.card);
    if (!card) {
      return std::unexpected(card.error());
    }
    clean = clean && is_jwt(member.leaf_jwt) && card->cluster == bundle.cluster &&
            nodes.insert(card->node).second;
  }
  if (!clean) {
    return fail(ErrorCode::kBadRequest, "this bundle contradicts itself");
  }
  return bundle;
}

std::string fingerprint(const Ed25519PublicKey& key) {
  const std::string hex = to_hex(digest_of("identity", key.view()).view().first(16));
  std::string out;
  for (std::size_t i = 0; i < hex.size(); i += 4) {
    out += (i == 0 ? "" : " ") + hex.substr(i, 4);
  }
  return out;
}

std::string armor(ArmorKind kind, ByteView sealed) {
  constexpr int kVariant = sodium_base64_VARIANT_ORIGINAL;
  std::string text(sodium_base64_encoded_len(sealed.size(), kVariant), '\0');
  sodium_bin2base64(text.data(), text.size(), sealed.data(), sealed.size(), kVariant);
  text.pop_back();  // the terminating zero
  const std::string name(kind_name(kind));
  std::string out = "-----BEGIN " + name + "-----\n";
  for (std::size_t i = 0; i < text.size(); i += kLineLength) {
    out += text.substr(i, kLineLength) + "\n";
  }
  return out + "-----END " + name + "-----\n";
}

Expected<Armored> unarmor(std::string_view text) {
  for (const ArmorKind kind : {ArmorKind::kCard, ArmorKind::kBundle}) {
    const std::string begin = "-----BEGIN " + std::string(kind_name(kind)) + "-----";
    const std::string end = "-----END " + std::string(kind_name(kind)) + "-----";
    const std::size_t from = text.find(begin);
    const std::size_t to = text.find(end);
    if (from == std::string_view::npos || to == std::string_view::npos || to < from ||
        text.size() > kMaxTextBytes) {
      continue;
    }
    const std::string_view body = text.substr(from + begin.size(), to - from - begin.size());
    ByteVector out(body.size());
    std::size_t size = 0;
    const char* rest = nullptr;
    if (sodium_base642bin(out.data(), out.size(), body.data(), body.size(), " \t\r\n", &size, &rest,
                          sodium_base64_VARIANT_ORIGINAL) != 0 ||
        rest != body.data() + body.size()) {
      break;
    }
    out.resize(size);
    return Armored{kind, std::move(out)};
  }
  return fail(ErrorCode::kBadRequest,
              "this is neither a node's card nor a cluster's bundle (cosignerctl peers export)");
}

}  // namespace cosigner::ctl
