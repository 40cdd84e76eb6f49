#pragma once
// The text of nats-server configurations: operator mode, memory resolver, everything preloaded; a
// hub that leaves join, and leaves.

#include <cstdint>
#include <string>
#include <vector>

namespace cosigner::broker {

/// What every server of a cluster's broker knows.
struct BrokerTrust {
  std::string operator_jwt;
  std::string account;  ///< A…
  std::string account_jwt;
  std::string system_account;  ///< A…
  std::string system_account_jwt;
};

/// Files of mutual TLS between servers; all empty: none (loopback only).
struct TlsFiles {
  std::string certificate;
  std::string key;
  std::string authority;
  [[nodiscard]] bool used() const { return !certificate.empty(); }
};

struct ServerOptions {
  std::string written_by = {};  ///< for the first line
  std::string name = {};
  std::string listen = {};               ///< clients: ADDRESS:PORT, loopback
  std::string leaf_listen = {};          ///< hub: where leaves join; empty: no leaves
  std::vector<std::string> hubs = {};    ///< leaf: HOST:PORT of the hubs, any of which will do
  std::string hub_credentials = {};      ///< leaf: file to join with
  std::string cluster_listen = {};       ///< hub among several: where the others connect
  std::vector<std::string> routes = {};  ///< hub among several: HOST:PORT of the others
  TlsFiles tls = {};
};

[[nodiscard]] std::string server_configuration(const BrokerTrust& trust,
                                               const ServerOptions& options);

}  // namespace cosigner::broker
