#pragma once
// Where the files of a node lie that init and peers write, and writing them there: whole or not at
// all, with the modes and owners that those who read them need. Two forms: the system's
// (/etc/cosigner, for cosigner.service) and one of its own (--dir: everything below one directory,
// no systemd).

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "ipc/error.h"
#include "supervisor/broker/nkey.h"

namespace cosigner::ctl {

inline constexpr const char* kSystemDirectory = "/etc/cosigner";

enum class CredentialForm : std::uint8_t {
  kPlain,     ///< files with mode 0600
  kEncrypted  ///< by systemd-creds(1), for this host and its TPM where it has one
};

/// Names of the four secrets of a node, as its unit knows them.
inline constexpr const char* kIdentityCredential = "identity-key";
inline constexpr const char* kEncryptionCredential = "key-encryption-key";
inline constexpr const char* kWorkerSignerCredential = "worker-signing-key";
inline constexpr const char* kGatewaySignerCredential = "gateway-signing-key";

class NodeDirectory {
 public:
  explicit NodeDirectory(std::filesystem::path root);

  [[nodiscard]] const std::filesystem::path& root() const { return root_; }
  /// The one that cosigner.service reads.
  [[nodiscard]] bool system() const { return root_ == kSystemDirectory; }
  [[nodiscard]] std::filesystem::path configuration() const { return root_ / "cosigner.toml"; }
  [[nodiscard]] std::filesystem::path peers() const { return root_ / "peers.toml"; }
  [[nodiscard]] std::filesystem::path initiators() const { return root_ / "initiators.toml"; }
  [[nodiscard]] std::filesystem::path card() const { return root_ / "node.card"; }
  [[nodiscard]] std::filesystem::path bundle() const { return root_ / "cluster.bundle"; }
  [[nodiscard]] std::filesystem::path operator_key() const { return root_ / "operator.key"; }
  [[nodiscard]] std::filesystem::path client_credentials() const { return root_ / "client.creds"; }
  [[nodiscard]] std::filesystem::path authority() const { return root_ / "authority"; }
  [[nodiscard]] std::filesystem::path broker() const { return root_ / "broker"; }
  [[nodiscard]] std::filesystem::path credential(const char* name) const {
    return root_ / "credentials" / name;
  }
  /// The path by which the configuration names a credential.
  [[nodiscard]] std::string credential_in_configuration(const char* name) const;

  /// init has been through: the last thing it writes is there.
  [[nodiscard]] bool set_up() const;

  /// Errors: storage_failed, with path and reason.
  [[nodiscard]] Expected<void> make_directories() const;
  [[nodiscard]] Expected<CredentialForm> write_credential(const char* name, std::string_view secret,
                                                          std::optional<CredentialForm> form) const;
  /// Configuration: no secret, read by the node's user.
  [[nodiscard]] Expected<void> write_public(const std::filesystem::path& path,
                                            std::string_view text) const;
  /// For whoever runs this alone.
  [[nodiscard]] Expected<void> write_secret(const std::filesystem::path& path,
                                            std::string_view text) const;
  /// For nats-server as well, if this is the system's form and Debian's user for it is there.
  [[nodiscard]] Expected<void> write_for_broker(const std::filesystem::path& path,
                                                std::string_view text) const;

 private:
  std::filesystem::path root_;
};

/// The whole file, at most a mebibyte. Errors: bad_request.
[[nodiscard]] Expected<std::string> read_file(const std::filesystem::path& path);
[[nodiscard]] Expected<broker::SecretText> read_secret(const std::filesystem::path& path);

/// Runs `program`, feeding it `input`; true if it ended with status 0. Its output is not kept.
[[nodiscard]] bool run_program(const std::vector<std::string>& command, std::string_view input);

}  // namespace cosigner::ctl
