#pragma once
// The cluster's operator, as files of the machine that began it: the keys that say which nodes
// belong to the broker's account, and the authority of TLS between its servers. It lets nodes into
// the broker and names the initiators of a node that has none yet, so that a node's first bundle is
// believed only once its authority has been compared. Afterwards it cannot sign with any key of a
// user, nor make one node believe another is a third, since nodes know each other by identity keys
// that people compared.
//
// The directory can be moved off line after each use.

#include <string>
#include <vector>

#include "supervisor/broker/server_config.h"
#include "supervisor/ctl/setup/card.h"
#include "supervisor/ctl/setup/node_directory.h"
#include "supervisor/ctl/setup/tls_authority.h"

namespace cosigner::ctl {

struct AuthorityFacts {
  std::string cluster;
  std::vector<std::string> hubs;  ///< HOST:PORT, at least one
  std::string hub_listen;         ///< of the first hub: its clients, loopback
  std::uint16_t threshold = 2;
  Ed25519PublicKey initiator;  ///< the operator's own
};

class Authority {
 public:
  /// Makes all keys and writes them. Errors: already_exists.
  [[nodiscard]] static Expected<Authority> create(const NodeDirectory& directory,
                                                  AuthorityFacts facts, std::int64_t now_s,
                                                  Random& random);
  /// Errors: bad_request if there is none here.
  [[nodiscard]] static Expected<Authority> load(const NodeDirectory& directory);
  [[nodiscard]] static bool present(const NodeDirectory& directory);

  [[nodiscard]] const std::string& cluster() const { return facts_.cluster; }
  [[nodiscard]] const Ed25519PublicKey& key() const { return operator_key_.public_key(); }
  /// The sealed cards of all nodes admitted so far.
  [[nodiscard]] Expected<std::vector<ByteVector>> members() const;
  /// Remembers a node. Its name with another identity: conflict.
  [[nodiscard]] Expected<void> admit(ByteView sealed_card);
  /// Everything the nodes need, sealed; and the hubs' configurations, written.
  [[nodiscard]] Expected<ByteVector> publish(std::int64_t now_s);
  /// Credentials for a program that asks the cluster to sign, over any of its nats-servers: new
  /// ones with each call. `expires_at_s`: 0 for never.
  struct ClientCredentials {
    broker::SecretText text;
    std::string user;  ///< U…: names the inboxes that they may hear
  };
  [[nodiscard]] Expected<ClientCredentials> client_credentials(std::int64_t now_s,
                                                               std::int64_t expires_at_s,
                                                               Random& random) const;

 private:
  Authority(const NodeDirectory& directory, AuthorityFacts facts, broker::Nkey operator_key,
            broker::Nkey leaf_signer, broker::Nkey client_signer, TlsAuthority tls);
  [[nodiscard]] std::filesystem::path file(const char* name) const {
    return directory_.authority() / name;
  }
  [[nodiscard]] Expected<void> save() const;
  [[nodiscard]] Expected<void> write_hubs(const broker::BrokerTrust& trust,
                                          std::int64_t now_s) const;
  /// For the key in `key_path`, as PEM.
  [[nodiscard]] Expected<std::string> hub_certificate(const std::filesystem::path& key_path,
                                                      const std::string& host,
                                                      std::int64_t now_s) const;
  /// `files`: the directory of its files on its own host, with a slash.
  [[nodiscard]] broker::ServerOptions hub_options(const std::string& hub,
                                                  const std::string& files) const;

  NodeDirectory directory_;
  AuthorityFacts facts_;
  broker::Nkey operator_key_;
  broker::Nkey leaf_signer_;
  broker::Nkey client_signer_;
  TlsAuthority tls_;
  std::string account_;
  std::string system_account_;
  std::uint64_t serial_ = 0;
};

}  // namespace cosigner::ctl
