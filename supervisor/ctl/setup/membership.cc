#include "supervisor/ctl/setup/membership.h"

#include <algorithm>

#include "ipc/messages.h"
#include "supervisor/broker/jwt.h"
#include "supervisor/config/toml_fields.h"
#include "supervisor/ctl/setup/tls_authority.h"

namespace cosigner::ctl {
namespace {

namespace fs = std::filesystem;
using broker::Nkey;
using broker::NkeyKind;

/// What the package's cosigner.toml has where an operator must write something.
constexpr std::string_view kPlaceholder = "REPLACE_WITH";

broker::SecretText seed_line(const Nkey& key) {
  broker::SecretText out = key.seed_text();
  out += "\n";
  return out;
}

broker::SecretText hex_line(const SecretBytes<32>& key) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  broker::SecretText out;
  out.reserve(2 * SecretBytes<32>::kSize + 1);
  for (const std::uint8_t byte : key.expose()) {
    out += kDigits[byte >> 4U];  // by table: what is indexed is on its way to a file in hex
    out += kDigits[byte & 15U];
  }
  out += "\n";
  return out;
}

/// The peers that the file lists now; none if there is no file.
Expected<std::vector<ipc::Peer>> listed_peers(const NodeDirectory& directory) {
  std::vector<ipc::Peer> out;
  std::error_code ignored;
  if (!fs::exists(directory.peers(), ignored)) {
    return out;
  }
  const std::string path = directory.peers().string();
  toml::parse_result parsed = toml::parse_file(path);
  if (!parsed) {
    return fail(ErrorCode::kBadRequest, path + ": " + std::string(parsed.error().description()) +
                                            " (cosignerctl config check says where)");
  }
  const toml::table table = std::move(parsed).table();
  if (!table.contains("peer")) {
    return out;  // the package's file: comments only
  }
  supervisor::Problems problems(path);
  supervisor::TomlFields root(table, "", problems);
  for (const toml::table* entry : root.tables("peer")) {
    supervisor::TomlFields fields(*entry, "peer", problems);
    ipc::Peer peer;
    std::string identity;
    fields.text("node", peer.node, true);
    fields.text("identity", identity, true);
    const auto bytes = from_hex(identity);
    const auto key = bytes ? Ed25519PublicKey::from(*bytes) : std::nullopt;
    if (!key) {
      fields.complain("identity", "no public key", "use 64 hex digits");
    } else {
      peer.identity = *key;
    }
    out.push_back(std::move(peer));
  }
  if (!problems.found().empty()) {
    return fail(ErrorCode::kBadRequest, problems.found().front().text());
  }
  return out;
}

std::string peer_entry(const std::string& node, const Ed25519PublicKey& identity) {
  return "\n[[peer]]\nnode = \"" + node + "\"\nidentity = \"" + to_hex(identity) + "\"\n";
}

/// One peer of an import against what is known.
Expected<PeerChange> compare(const Card& own, const std::vector<ipc::Peer>& known,
                             const Card& card) {
  PeerChange change{card.node, card.identity, PeerStatus::kNew};
  if (card.cluster != own.cluster) {
    return fail(ErrorCode::kConflict, "the card of " + card.node + " is of cluster '" +
                                          card.cluster + "', this node's is '" + own.cluster + "'");
  }
  if (card.node == own.node) {
    if (card.identity != own.identity) {
      return fail(ErrorCode::kConflict,
                  "a card names this node, '" + own.node + "', with another identity");
    }
    change.status = PeerStatus::kThisNode;
    return change;
  }
  const auto found = std::ranges::find(known, card.node, &ipc::Peer::node);
  if (found != known.end() && found->identity != card.identity) {
    return fail(ErrorCode::kConflict,
                "node '" + card.node + "' is known with another identity, " +
                    fingerprint(found->identity) + ", and the card says " +
                    fingerprint(card.identity) +
                    ": if it was really set up anew, take its entry out of peers.toml first");
  }
  change.status = found == known.end() ? PeerStatus::kNew : PeerStatus::kKnown;
  return change;
}

/// Written by nobody yet, or by the package.
bool is_blank(const fs::path& path, std::string_view entry) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    return true;
  }
  const auto text = read_file(path);
  if (!text) {
    return false;
  }
  return entry.empty() ? text->find(kPlaceholder) != std::string::npos
                       : ("\n" + *text).find("\n" + std::string(entry)) == std::string::npos;
}

std::string configuration_text(const NodeDirectory& directory, const Card& own,
                               const Bundle& bundle, const std::string& broker_listen) {
  const bool system = directory.system();
  const auto credential = [&](const char* name) {
    return "\"" + directory.credential_in_configuration(name) + "\"\n";
  };
  return "# Written by cosignerctl. All keys: cosigner.toml(5); check: cosignerctl config check\n"
         "cluster = \"" +
         own.cluster + "\"\nnode = \"" + own.node + "\"\nstate_directory = \"" +
         (system ? "/var/lib/cosigner" : "state") + "\"\ncontrol_socket = \"" +
         (system ? "/run/cosigner/control.sock" : "control.sock") +
         "\"\npeers_file = \"peers.toml\"\ninitiators_file = \"initiators.toml\"\n"
         "identity_key_file = " +
         credential(kIdentityCredential) +
         "key_encryption_key_file = " + credential(kEncryptionCredential) +
         "\n[broker]\nurl = \"nats://" + broker_listen + "\"\naccount = \"" + bundle.trust.account +
         "\"\nworker_signing_key_file = " + credential(kWorkerSignerCredential) +
         "gateway_signing_key_file = " + credential(kGatewaySignerCredential) +
         (system ? "\n[control]\nview_group = \"cosigner-view\"\nadmin_group = \"cosigner-admin\"\n"
                 : "");
}

}  // namespace

Expected<MadeNode> make_node(const NodeDirectory& directory, const NewNode& node, Random& random) {
  if (auto made = directory.make_directories(); !made) {
    return std::unexpected(made.error());
  }
  const SecretBytes<32> seed = random.secret<32>();
  const IdentityKey identity = IdentityKey::from_seed(seed);
  const Nkey worker = Nkey::generate(NkeyKind::kAccount, random);
  const Nkey gateway = Nkey::generate(NkeyKind::kAccount, random);
  const Nkey leaf = Nkey::generate(NkeyKind::kUser, random);
  const auto tls = TlsKey::generate();
  if (!tls) {
    return std::unexpected(tls.error());
  }
  const auto tls_pem = tls->pem();
  const auto tls_public = tls->public_der();
  if (!tls_pem || !tls_public) {
    return std::unexpected(!tls_pem ? tls_pem.error() : tls_public.error());
  }
  MadeNode out;
  out.card = {.cluster = node.cluster,
              .node = node.node,
              .identity = identity.public_key(),
              .worker_signer = worker.public_text(),
              .gateway_signer = gateway.public_text(),
              .leaf_user = leaf.public_text(),
              .tls_key = *tls_public};
  out.sealed = seal_card(out.card, identity);
  out.key_encryption_key =
      node.key_encryption_key ? *node.key_encryption_key : hex_line(random.secret<32>());
  std::optional<CredentialForm> form = node.form;
  for (const auto& [name, secret] : {std::pair{kIdentityCredential, hex_line(seed)},
                                     {kWorkerSignerCredential, seed_line(worker)},
                                     {kGatewaySignerCredential, seed_line(gateway)}}) {
    const auto written = directory.write_credential(name, secret, form);
    if (!written) {
      return std::unexpected(written.error());
    }
    form = *written;  // all four alike
  }
  out.form = *form;
  const fs::path broker = directory.broker();
  if (auto written = directory.write_for_broker(broker / "leaf.key", *tls_pem); !written) {
    return std::unexpected(written.error());
  }
  if (auto written = directory.write_secret(broker / "leaf.seed", seed_line(leaf)); !written) {
    return std::unexpected(written.error());
  }
  if (auto written = directory.write_public(broker / "listen", node.broker_listen + "\n");
      !written) {
    return std::unexpected(written.error());
  }
  if (auto written = directory.write_public(directory.card(), armor(ArmorKind::kCard, out.sealed));
      !written) {
    return std::unexpected(written.error());
  }
  return out;
}

Expected<Card> own_card(const NodeDirectory& directory) {
  const auto text = read_file(directory.card());
  if (!text) {
    return fail(ErrorCode::kBadRequest, "no node is set up in " + directory.root().string() +
                                            ": run cosignerctl init first");
  }
  const auto sealed = unarmor(*text);
  if (!sealed || sealed->kind != ArmorKind::kCard) {
    return fail(ErrorCode::kBadRequest, directory.card().string() + " is no card");
  }
  return open_card(sealed->sealed);
}

Expected<std::vector<PeerChange>> plan_cards(const NodeDirectory& directory,
                                             const std::vector<Card>& cards) {
  const auto own = own_card(directory);
  if (!own) {
    return std::unexpected(own.error());
  }
  const auto known = listed_peers(directory);
  if (!known) {
    return std::unexpected(known.error());
  }
  std::vector<PeerChange> out;
  for (const Card& card : cards) {
    auto change = compare(*own, *known, card);
    if (!change) {
      return std::unexpected(change.error());
    }
    if (std::ranges::find(out, card.node, &PeerChange::node) != out.end()) {
      return fail(ErrorCode::kConflict, "node '" + card.node + "' comes twice");
    }
    out.push_back(std::move(*change));
  }
  return out;
}

Expected<std::vector<PeerChange>> plan_bundle(const NodeDirectory& directory,
                                              const Bundle& bundle) {
  std::vector<Card> cards;
  for (const Bundle::Member& member : bundle.members) {
    auto card = open_card(member.card);
    if (!card) {
      return std::unexpected(card.error());
    }
    cards.push_back(std::move(*card));
  }
  auto out = plan_cards(directory, cards);
  if (!out) {
    return out;
  }
  if (std::ranges::none_of(
          *out, [](const PeerChange& change) { return change.status == PeerStatus::kThisNode; })) {
    return fail(ErrorCode::kConflict, "this node is not in the bundle: give its card, " +
                                          directory.card().string() +
                                          ", to whoever made the bundle");
  }
  std::error_code ignored;
  if (fs::exists(directory.bundle(), ignored)) {
    const auto text = read_file(directory.bundle());
    const auto before = text ? unarmor(*text) : Expected<Armored>(std::unexpected(text.error()));
    const auto opened =
        before ? open_bundle(before->sealed) : Expected<Bundle>(std::unexpected(before.error()));
    if (!opened) {
      return fail(ErrorCode::kConflict,
                  directory.bundle().string() + " cannot be read: " + opened.error().message);
    }
    if (opened->authority != bundle.authority) {
      return fail(ErrorCode::kConflict, "this bundle is signed by another authority, " +
                                            fingerprint(bundle.authority) + ", than the last, " +
                                            fingerprint(opened->authority));
    }
    if (opened->serial > bundle.serial) {
      return fail(ErrorCode::kConflict, "this bundle is older than the one in use (" +
                                            std::to_string(bundle.serial) + ", " +
                                            std::to_string(opened->serial) + ")");
    }
  }
  return out;
}

Expected<void> apply_bundle(const NodeDirectory& directory, const Bundle& bundle, ByteView sealed) {
  const auto own = own_card(directory);
  if (!own) {
    return std::unexpected(own.error());
  }
  std::string peers =
      "# Every node of the cluster with its public identity key. Written by cosignerctl.\n";
  const Bundle::Member* self = nullptr;
  for (const Bundle::Member& member : bundle.members) {
    const auto card = open_card(member.card);
    if (!card) {
      return std::unexpected(card.error());
    }
    peers += peer_entry(card->node, card->identity);
    if (card->node == own->node) {
      self = &member;
    }
  }
  const auto listen = read_file(directory.broker() / "listen");
  const auto leaf_seed = read_secret(directory.broker() / "leaf.seed");
  if (self == nullptr || !listen || !leaf_seed) {
    return fail(ErrorCode::kBadRequest, "this node's files below " + directory.broker().string() +
                                            " are not complete: run cosignerctl init");
  }
  const std::string broker_listen = listen->substr(0, listen->find('\n'));
  const auto leaf = Nkey::from_seed(NkeyKind::kUser, *leaf_seed);
  const auto authority = certificate_pem(bundle.tls_authority);
  const auto certificate = certificate_pem(self->certificate);
  if (!leaf || !authority || !certificate) {
    return fail(ErrorCode::kBadRequest, "the bundle's certificates cannot be read");
  }
  const std::string broker = directory.broker().string() + "/";
  const broker::ServerOptions options{.written_by = "cosignerctl",
                                      .name = "leaf-" + own->node,
                                      .listen = broker_listen,
                                      .hubs = bundle.hubs,
                                      .hub_credentials = broker + "leaf.creds",
                                      .tls = {.certificate = broker + "leaf.crt",
                                              .key = broker + "leaf.key",
                                              .authority = broker + "ca.crt"}};
  const broker::SecretText credentials = broker::credentials_file(self->leaf_jwt, *leaf);
  for (const auto& [name, text] :
       {std::pair<const char*, std::string_view>{"leaf.creds", credentials},
        {"ca.crt", *authority},
        {"leaf.crt", *certificate}}) {
    if (auto written = directory.write_for_broker(broker + name, text); !written) {
      return written;
    }
  }
  if (auto written = directory.write_for_broker(
          broker + "leaf.conf", broker::server_configuration(bundle.trust, options));
      !written) {
    return written;
  }
  if (is_blank(directory.initiators(), "[[initiator]]")) {
    std::string text =
        "# Whose signature under a request this node obeys, and for what: "
        "cosigner.toml(5).\n";
    for (const Bundle::Client& client : bundle.initiators) {
      text += "\n[[initiator]]\nname = \"" + client.name + "\"\npublic_key = \"" +
              to_hex(client.key) + "\"\noperations = [\"*\"]\nusers = [\"*\"]\n";
    }
    if (auto written = directory.write_public(directory.initiators(), text); !written) {
      return written;
    }
  }
  if (is_blank(directory.configuration(), "")) {
    if (auto written = directory.write_public(
            directory.configuration(), configuration_text(directory, *own, bundle, broker_listen));
        !written) {
      return written;
    }
  }
  if (auto written = directory.write_public(directory.peers(), peers); !written) {
    return written;
  }
  return directory.write_public(directory.bundle(), armor(ArmorKind::kBundle, sealed));
}

Expected<void> apply_cards(const NodeDirectory& directory, const std::vector<Card>& cards) {
  const auto own = own_card(directory);
  const auto known = listed_peers(directory);
  if (!own || !known) {
    return std::unexpected(!own ? own.error() : known.error());
  }
  std::error_code ignored;
  const auto before = fs::exists(directory.peers(), ignored)
                          ? read_file(directory.peers())
                          : Expected<std::string>(
                                "# Every node of the cluster with its public "
                                "identity key.\n");
  if (!before) {
    return std::unexpected(before.error());
  }
  std::string text = *before;
  const auto listed = [&](const std::string& node) {
    return std::ranges::find(*known, node, &ipc::Peer::node) != known->end();
  };
  if (!listed(own->node)) {
    text += peer_entry(own->node, own->identity);
  }
  for (const Card& card : cards) {
    if (card.node != own->node && !listed(card.node)) {
      text += peer_entry(card.node, card.identity);
    }
  }
  return directory.write_public(directory.peers(), text);
}

}  // namespace cosigner::ctl
