#include "supervisor/ctl/setup/membership.h"

#include <algorithm>
#include <set>

#include "ipc/message_parts.h"
#include "supervisor/broker/jwt.h"
#include "supervisor/ctl/setup/own_files.h"
#include "supervisor/ctl/setup/tls_authority.h"

namespace cosigner::ctl {
namespace {

namespace fs = std::filesystem;
using broker::Nkey;
using broker::NkeyKind;

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

std::string peer_entry(const std::string& node, const Ed25519PublicKey& identity,
                       const char* entry = "peer") {
  return std::string("\n[[") + entry + "]]\nnode = \"" + node + "\"\nidentity = \"" +
         to_hex(identity) + "\"\n";
}

/// Of cosigner.toml, where there are as many nodes as are to sign together.
std::string threshold_line(const Bundle& bundle) {
  return "\ndefault_threshold = " + std::to_string(bundle.threshold) + "\n";
}
/// Until then, on the first node: cosignerd would take it for a mistake.
std::string waiting_threshold_line(const Bundle& bundle) {
  return "\n# default_threshold = " + std::to_string(bundle.threshold) +
         "  # as soon as there are so many nodes: peers import takes the # away\n";
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
         credential(kIdentityCredential) + "key_encryption_key_file = \"" +
         directory.credential_in_configuration(kEncryptionCredential) + "\"" +
         (bundle.threshold > bundle.members.size() ? waiting_threshold_line(bundle)
                                                   : threshold_line(bundle)) +
         "\n[broker]\nurl = \"nats://" + broker_listen + "\"\naccount = \"" + bundle.trust.account +
         "\"\nworker_signing_key_file = " + credential(kWorkerSignerCredential) +
         "gateway_signing_key_file = " + credential(kGatewaySignerCredential) +
         (system ? "\n[control]\nview_group = \"cosigner-view\"\nadmin_group = \"cosigner-admin\"\n"
                 : "");
}

/// The node's own configuration: made where there is none yet, otherwise its owner's but for the
/// threshold that init could not set.
Expected<void> write_configuration(const NodeDirectory& directory, const Card& own,
                                   const Bundle& bundle, const std::string& broker_listen) {
  if (needs_configuration(directory)) {
    return directory.write_public(directory.configuration(),
                                  configuration_text(directory, own, bundle, broker_listen));
  }
  auto text = read_file(directory.configuration());
  if (!text) {
    return std::unexpected(text.error());
  }
  const std::string waiting = waiting_threshold_line(bundle);
  const std::size_t at = text->find(waiting);
  if (at == std::string::npos || bundle.threshold > bundle.members.size()) {
    return {};
  }
  return directory.write_public(directory.configuration(),
                                text->replace(at, waiting.size(), threshold_line(bundle)));
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

namespace {

std::unexpected<Error> incomplete(const NodeDirectory& directory) {
  return fail(ErrorCode::kBadRequest, "this node's files below " + directory.broker().string() +
                                          " are not complete: run cosignerctl init");
}

struct Members {
  const Bundle::Member* self = nullptr;
  std::string peers;  ///< what peers.toml is to hold
};

Expected<Members> members_of(const NodeDirectory& directory, const Card& own,
                             const Bundle& bundle) {
  Members out{.peers =
                  "# Every node of the cluster with its public identity key. Written by "
                  "cosignerctl.\n"};
  const auto listed = listed_peers(directory);
  if (!listed) {
    return std::unexpected(listed.error());
  }
  std::set<std::string> staying;
  for (const Bundle::Member& member : bundle.members) {
    const auto card = open_card(member.card);
    if (!card) {
      return std::unexpected(card.error());
    }
    out.peers += peer_entry(card->node, card->identity);
    staying.insert(card->node);
    if (card->node == own.node) {
      out.self = &member;
    }
  }
  std::string former;
  for (const auto* list : {&listed->peers, &listed->former}) {
    for (const ipc::Peer& peer : *list) {
      if (staying.insert(peer.node).second) {
        former += peer_entry(peer.node, peer.identity, "former");
      }
    }
  }
  if (!former.empty()) {
    out.peers +=
        "\n# No peers any more. Remembered so that none comes back with another identity.\n" +
        former;
  }
  return out;
}

/// Of this node's nats-server, but its key, which it has.
Expected<void> write_broker_files(const NodeDirectory& directory, const Card& own,
                                  const Bundle::Member& self, const Bundle& bundle,
                                  const std::string& broker_listen) {
  const auto leaf_seed = read_secret(directory.broker() / "leaf.seed");
  if (!leaf_seed) {
    return incomplete(directory);
  }
  const auto leaf = Nkey::from_seed(NkeyKind::kUser, *leaf_seed);
  const auto authority = certificate_pem(bundle.tls_authority);
  const auto certificate = certificate_pem(self.certificate);
  if (!leaf || !authority || !certificate) {
    return fail(ErrorCode::kBadRequest, "the bundle's certificates cannot be read");
  }
  const std::string broker = directory.broker().string() + "/";
  const broker::ServerOptions options{.written_by = "cosignerctl",
                                      .name = "leaf-" + own.node,
                                      .listen = broker_listen,
                                      .hubs = bundle.hubs,
                                      .hub_credentials = broker + "leaf.creds",
                                      .tls = {.certificate = broker + "leaf.crt",
                                              .key = broker + "leaf.key",
                                              .authority = broker + "ca.crt"}};
  const broker::SecretText credentials = broker::credentials_file(self.leaf_jwt, *leaf);
  const std::string configuration = broker::server_configuration(bundle.trust, options);
  for (const auto& [name, text] :
       {std::pair<const char*, std::string_view>{"leaf.creds", credentials},
        {"ca.crt", *authority},
        {"leaf.crt", *certificate},
        {"leaf.conf", configuration}}) {
    if (auto written = directory.write_for_broker(broker + name, text); !written) {
      return written;
    }
  }
  return {};
}

/// Whom this node obeys, where nobody has said so yet.
Expected<void> write_first_initiators(const NodeDirectory& directory, const Bundle& bundle) {
  if (!lists_no_initiator(directory)) {
    return {};
  }
  std::string text =
      "# Whose signature under a request this node obeys, and for what: "
      "cosigner.toml(5).\n";
  for (const Bundle::Client& client : bundle.initiators) {
    text += "\n[[initiator]]\nname = \"" + client.name + "\"\npublic_key = \"" +
            to_hex(client.key) + "\"\noperations = [\"*\"]\nusers = [\"*\"]\n";
  }
  return directory.write_public(directory.initiators(), text);
}

}  // namespace

Expected<void> apply_bundle(const NodeDirectory& directory, const Bundle& bundle, ByteView sealed) {
  const auto own = own_card(directory);
  if (!own) {
    return std::unexpected(own.error());
  }
  const auto members = members_of(directory, *own, bundle);
  if (!members) {
    return std::unexpected(members.error());
  }
  const auto listen = read_file(directory.broker() / "listen");
  if (members->self == nullptr || !listen) {
    return incomplete(directory);
  }
  const std::string broker_listen = listen->substr(0, listen->find('\n'));
  if (auto written = write_broker_files(directory, *own, *members->self, bundle, broker_listen);
      !written) {
    return written;
  }
  if (auto written = write_first_initiators(directory, bundle); !written) {
    return written;
  }
  if (auto written = write_configuration(directory, *own, bundle, broker_listen); !written) {
    return written;
  }
  if (auto written = directory.write_public(directory.peers(), members->peers); !written) {
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
    return std::ranges::find(known->peers, node, &ipc::Peer::node) != known->peers.end();
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
