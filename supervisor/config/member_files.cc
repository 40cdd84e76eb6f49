#include "supervisor/config/member_files.h"

#include <algorithm>
#include <set>
#include <string>

#include "ipc/names.h"
#include "supervisor/config/toml_file.h"

namespace cosigner::supervisor {
namespace {

Ed25519PublicKey read_public_key(TomlFields& fields, std::string_view key) {
  std::string hex;
  fields.text(key, hex, true);
  const auto bytes = from_hex(hex);
  const auto out = bytes ? Ed25519PublicKey::from(*bytes) : std::nullopt;
  if (!out && !hex.empty()) {
    fields.complain(key, "'" + std::string(key) + "' is no Ed25519 public key",
                    "use 64 hex digits");
  }
  return out.value_or(Ed25519PublicKey{});
}

}  // namespace

void read_peers(Config& out, std::vector<ConfigProblem>& all) {
  Problems problems(out.peers_file);
  check_shared(out.peers_file, problems);
  if (const auto document = parse_file(out.peers_file, problems)) {
    TomlFields root(*document, "", problems);
    for (const toml::table* table : root.tables("peer")) {
      TomlFields fields(*table, "peer", problems);
      ipc::Peer peer;
      fields.text("node", peer.node, true);
      if (!peer.node.empty() && !valid_node_name(peer.node)) {
        fields.complain("node", "'" + peer.node + "' is no node name",
                        "use 1 to 32 of a-z, 0-9 and '-', not 'all' or 'none'");
      }
      peer.identity = read_public_key(fields, "identity");
      for (const ipc::Peer& other : out.peers) {
        if (other.node == peer.node) {
          fields.complain("node", "node '" + peer.node + "' is listed twice", "remove one of them");
        } else if (other.identity == peer.identity) {
          fields.complain("identity",
                          "'" + peer.node + "' and '" + other.node + "' share an identity key",
                          "give each node its own");
        }
      }
      fields.finish();
      out.peers.push_back(std::move(peer));
    }
    if (!out.peers.empty() && std::ranges::none_of(out.peers, [&](const ipc::Peer& peer) {
          return peer.node == out.node;
        })) {
      root.complain("peer", "this node, '" + out.node + "', is not among the peers",
                    "list every node of the cluster, this one included");
    } else if (out.peers.size() == 1) {
      root.complain("peer", "this node is the only peer",
                    "list every node of the cluster; cosignerctl peers import adds one");
    } else if (out.peers.size() > kMaxNodes) {
      root.complain("peer", std::to_string(out.peers.size()) + " nodes are listed",
                    "a cluster has at most " + std::to_string(kMaxNodes));
    }
    if (document->contains("former")) {  // read by cosignerctl peers import alone
      for (const toml::table* table : root.tables("former")) {
        TomlFields fields(*table, "former", problems);
        std::string node;
        fields.text("node", node, true);
        (void)read_public_key(fields, "identity");
        fields.finish();
      }
    }
    root.finish();
  }
  std::ranges::sort(out.peers, {}, &ipc::Peer::node);
  append(all, problems);
}

void read_initiators(Config& out, std::vector<ConfigProblem>& all) {
  static const std::set<std::string, std::less<>> kOperations{"*",       "keygen",  "sign",
                                                              "presign", "refresh", "reshare"};
  Problems problems(out.initiators_file);
  check_shared(out.initiators_file, problems);
  if (const auto document = parse_file(out.initiators_file, problems)) {
    TomlFields root(*document, "", problems);
    for (const toml::table* table : root.tables("initiator")) {
      TomlFields fields(*table, "initiator", problems);
      ipc::Initiator initiator;
      fields.text("name", initiator.name, true);
      initiator.key = read_public_key(fields, "public_key");
      fields.texts("operations", initiator.operations);
      fields.texts("users", initiator.users);
      fields.number("requests_per_second", initiator.requests_per_second, 0, 1'000'000);
      for (const std::string& operation : initiator.operations) {
        if (!kOperations.contains(operation)) {
          fields.complain("operations", "unknown operation '" + operation + "'",
                          "use keygen, sign, presign, refresh, reshare or *");
        }
      }
      for (const std::string& user : initiator.users) {
        if (!valid_user_pattern(user)) {
          fields.complain("users", "'" + user + "' matches no user",
                          "use a user id, a prefix ending in '*', or \"*\"");
        }
      }
      for (const ipc::Initiator& other : out.initiators) {
        if (other.key == initiator.key) {
          fields.complain("public_key", "this key is listed twice", "remove one of them");
        }
        if (other.name == initiator.name && !other.name.empty()) {
          fields.complain("name", "two initiators are called '" + other.name + "'",
                          "give each its own: rates are counted, and logs told apart, by name");
        }
      }
      fields.finish();
      out.initiators.push_back(std::move(initiator));
    }
    root.finish();
  }
  append(all, problems);
}

}  // namespace cosigner::supervisor
