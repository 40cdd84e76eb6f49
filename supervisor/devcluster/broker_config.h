#pragma once
// The development cluster's broker identity (operator, account, scoped signing keys) and the
// configurations of its nats-server processes.

#include <map>
#include <string>
#include <vector>

#include "supervisor/broker/jwt.h"

namespace cosigner::devcluster {

enum class Topology : std::uint8_t {
  kSingle,  ///< one nats-server for all
  kLeaf     ///< a hub, and one leaf server per node joined to it
};

struct NodeSigningKeys {
  broker::Nkey worker;
  broker::Nkey gateway;
};

/// Keys and JWTs of one broker. Only the scoped signing keys of nodes are needed again after it is
/// made (the supervisors mint with them); operator and account keys are forgotten.
struct BrokerIdentity {
  std::string account;         ///< A…
  std::string system_account;  ///< A…
  std::string operator_jwt;
  std::string account_jwt;
  std::string system_account_jwt;
  std::map<std::string, NodeSigningKeys> nodes;
  broker::SecretText client_credentials;
  std::map<std::string, broker::SecretText> leaf_credentials;  ///< by node
};

[[nodiscard]] BrokerIdentity make_broker_identity(std::string_view cluster,
                                                  const std::vector<std::string>& nodes,
                                                  std::int64_t now_s, Random& random);

struct ServerOptions {
  std::string name = {};
  std::uint16_t port = 0;                 ///< clients, on 127.0.0.1
  std::uint16_t leaf_listen_port = 0;     ///< hub: where leaves join; 0: no leaves
  std::uint16_t hub_port = 0;             ///< leaf: the hub's leaf port; 0: no hub
  std::string hub_credentials_file = {};  ///< leaf: credentials to join with
};

/// The text of a nats-server configuration: operator mode, memory resolver, everything preloaded.
[[nodiscard]] std::string server_configuration(const BrokerIdentity& identity,
                                               const ServerOptions& options);

}  // namespace cosigner::devcluster
