#pragma once
// Where everything of a development cluster lies, and writing it there.

#include <filesystem>
#include <string>

#include "ipc/error.h"

namespace cosigner::devcluster {

/// DIR/node<k>/…: one node's files.
struct NodeLayout {
  std::string name;            ///< node<k>
  std::filesystem::path home;  ///< DIR/node<k>

  [[nodiscard]] std::filesystem::path configuration() const { return home / "cosigner.toml"; }
  [[nodiscard]] std::filesystem::path peers() const { return home / "peers.toml"; }
  [[nodiscard]] std::filesystem::path initiators() const { return home / "initiators.toml"; }
  [[nodiscard]] std::filesystem::path identity_key() const { return home / "identity.key"; }
  [[nodiscard]] std::filesystem::path encryption_key() const { return home / "encryption.key"; }
  [[nodiscard]] std::filesystem::path worker_signing_key() const { return home / "worker.nk"; }
  [[nodiscard]] std::filesystem::path gateway_signing_key() const { return home / "gateway.nk"; }
  [[nodiscard]] std::filesystem::path state() const { return home / "state"; }
  [[nodiscard]] std::filesystem::path socket() const { return home / "control.sock"; }
  [[nodiscard]] std::filesystem::path log() const { return home / "cosignerd.log"; }
};

struct Layout {
  std::filesystem::path root;  ///< DIR, absolute

  [[nodiscard]] NodeLayout node(unsigned number) const {
    const std::string name = "node" + std::to_string(number);
    return {name, root / name};
  }
  [[nodiscard]] std::filesystem::path state() const { return root / "devcluster.json"; }
  [[nodiscard]] std::filesystem::path lock() const { return root / "devcluster.lock"; }
  [[nodiscard]] std::filesystem::path env() const { return root / "env"; }
  [[nodiscard]] std::filesystem::path initiator_key() const { return root / "initiator.key"; }
  /// For clients that speak NATS: url, nodes with identities (JSON), and credentials.
  [[nodiscard]] std::filesystem::path cluster() const { return root / "cluster.json"; }
  [[nodiscard]] std::filesystem::path client_credentials() const { return root / "client.creds"; }
  [[nodiscard]] std::filesystem::path broker() const { return root / "broker"; }
  [[nodiscard]] std::filesystem::path broker_configuration(const std::string& server) const {
    return broker() / (server + ".conf");
  }
  [[nodiscard]] std::filesystem::path broker_log(const std::string& server) const {
    return broker() / (server + ".log");
  }
};

/// Mode 0600, replaced as a whole. Fails with storage_failed.
[[nodiscard]] Expected<void> write_private(const std::filesystem::path& path,
                                           std::string_view text);
/// With mode 0700, and its parents.
[[nodiscard]] Expected<void> make_directory(const std::filesystem::path& path);
/// A word for a POSIX shell.
[[nodiscard]] std::string shell_quoted(std::string_view text);

}  // namespace cosigner::devcluster
