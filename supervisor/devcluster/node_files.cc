#include "supervisor/devcluster/node_files.h"

#include "ipc/key_file.h"

namespace cosigner::devcluster {

Expected<void> add_override(Overrides& overrides, std::string_view text) {
  const std::size_t dot = text.find('.');
  const std::size_t equals = text.find('=');
  if (dot == std::string_view::npos || equals == std::string_view::npos || equals < dot + 2 ||
      dot == 0 || equals + 1 == text.size()) {
    return fail(ErrorCode::kBadRequest,
                "--set takes TABLE.KEY=VALUE, such as "
                "sessions.attempt_timer_ms=500.");
  }
  overrides[std::string(text.substr(0, dot))][std::string(text.substr(dot + 1, equals - dot - 1))] =
      text.substr(equals + 1);
  return {};
}

Expected<ipc::Peer> make_node_keys(const NodeLayout& node, const NodeSigningKeys& signing_keys,
                                   Random& random) {
  for (const auto& path : {node.home, node.state()}) {
    if (auto made = make_directory(path); !made) {
      return std::unexpected(made.error());
    }
  }
  for (const auto& path : {node.identity_key(), node.encryption_key()}) {
    if (auto made = create_key_file(path.string(), random); !made) {
      return std::unexpected(made.error());
    }
  }
  for (const auto& [path, key] : {std::pair{node.worker_signing_key(), &signing_keys.worker},
                                  {node.gateway_signing_key(), &signing_keys.gateway}}) {
    broker::SecretText text = key->seed_text();
    text += "\n";
    if (auto written = write_private(path, text); !written) {
      return std::unexpected(written.error());
    }
  }
  const auto identity = load_identity_file(node.identity_key().string());
  if (!identity) {
    return std::unexpected(identity.error());
  }
  return ipc::Peer{node.name, identity->public_key()};
}

Expected<void> write_node_configuration(const NodeLayout& node, const NodeFacts& facts,
                                        const std::vector<ipc::Peer>& peers,
                                        const Ed25519PublicKey& initiator) {
  // Relative paths are relative to the file, so the directory may be moved while nothing runs.
  std::string configuration =
      "# Written by cosigner-devcluster.\n"
      "cluster = \"" +
      facts.cluster +
      "\"\n"
      "node = \"" +
      node.name +
      "\"\n"
      "state_directory = \"state\"\n"
      "control_socket = \"control.sock\"\n"
      "identity_key_file = \"identity.key\"\n"
      "key_encryption_key_file = \"encryption.key\"\n"
      "peers_file = \"peers.toml\"\n"
      "initiators_file = \"initiators.toml\"\n";
  Overrides tables = facts.overrides;
  tables["broker"]["url"] = "\"" + facts.broker_url + "\"";
  tables["broker"]["account"] = "\"" + facts.broker_account + "\"";
  tables["broker"]["worker_signing_key_file"] = "\"worker.nk\"";
  tables["broker"]["gateway_signing_key_file"] = "\"gateway.nk\"";
  for (const auto& [table, values] : tables) {
    configuration += "\n[" + table + "]\n";
    for (const auto& [key, value] : values) {
      configuration += key + " = " + value + "\n";
    }
  }
  std::string peers_text = "# Every node of the cluster with its public identity key.\n";
  for (const ipc::Peer& peer : peers) {
    peers_text +=
        "\n[[peer]]\nnode = \"" + peer.node + "\"\nidentity = \"" + to_hex(peer.identity) + "\"\n";
  }
  const std::string initiators =
      "# Whose signature under a request this node accepts, and for what.\n\n"
      "[[initiator]]\nname = \"development\"\npublic_key = \"" +
      to_hex(initiator) + "\"\noperations = [\"*\"]\nusers = [\"*\"]\nrequests_per_second = 0\n";
  for (const auto& [path, text] :
       {std::pair<std::filesystem::path, const std::string*>{node.configuration(), &configuration},
        {node.peers(), &peers_text},
        {node.initiators(), &initiators}}) {
    if (auto written = write_private(path, *text); !written) {
      return written;
    }
  }
  return {};
}

}  // namespace cosigner::devcluster
