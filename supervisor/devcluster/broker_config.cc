#include "supervisor/devcluster/broker_config.h"

#include "supervisor/broker/server_config.h"

namespace cosigner::devcluster {
namespace {

using broker::Nkey;
using broker::NkeyKind;

/// Credentials of a user the development cluster makes itself; they do not expire.
broker::SecretText make_credentials(const Nkey& scoped_key, std::string name,
                                    const std::string& account, std::int64_t now_s,
                                    Random& random) {
  const Nkey user = Nkey::generate(NkeyKind::kUser, random);
  const auto jwt = broker::mint_user(scoped_key, {.key = user.public_key(),
                                                  .name = std::move(name),
                                                  .account = account,
                                                  .issued_at_s = now_s,
                                                  .expires_at_s = 0});
  return jwt ? broker::credentials_file(*jwt, user) : broker::SecretText();
}

}  // namespace

BrokerIdentity make_broker_identity(std::string_view cluster, const std::vector<std::string>& nodes,
                                    std::int64_t now_s, Random& random) {
  const Nkey operator_key = Nkey::generate(NkeyKind::kOperator, random);
  const Nkey account = Nkey::generate(NkeyKind::kAccount, random);
  const Nkey system_account = Nkey::generate(NkeyKind::kAccount, random);
  const Nkey client_signer = Nkey::generate(NkeyKind::kAccount, random);
  const Nkey leaf_signer = Nkey::generate(NkeyKind::kAccount, random);

  BrokerIdentity identity;
  identity.account = account.public_text();
  identity.system_account = system_account.public_text();
  identity.operator_jwt =
      broker::mint_operator(operator_key, "cosigner", identity.system_account, now_s);
  identity.system_account_jwt =
      broker::mint_account(operator_key, identity.system_account, "system", {}, now_s);

  std::vector<broker::ScopedKey> scoped{
      {client_signer.public_text(), broker::client_scope(cluster)},
      {leaf_signer.public_text(), broker::leaf_scope(cluster)}};
  for (const std::string& node : nodes) {
    NodeSigningKeys keys{Nkey::generate(NkeyKind::kAccount, random),
                         Nkey::generate(NkeyKind::kAccount, random)};
    scoped.push_back({keys.worker.public_text(), broker::worker_scope(cluster, node)});
    scoped.push_back({keys.gateway.public_text(), broker::gateway_scope(cluster, node)});
    identity.leaf_credentials.emplace(
        node, make_credentials(leaf_signer, node, identity.account, now_s, random));
    identity.nodes.emplace(node, std::move(keys));
  }
  identity.account_jwt =
      broker::mint_account(operator_key, identity.account, cluster, scoped, now_s);
  identity.client_credentials =
      make_credentials(client_signer, "client", identity.account, now_s, random);
  return identity;
}

std::string server_configuration(const BrokerIdentity& identity, const ServerOptions& options) {
  const auto loopback = [](std::uint16_t port) { return "127.0.0.1:" + std::to_string(port); };
  broker::ServerOptions server{.written_by = "cosigner-devcluster",
                               .name = options.name,
                               .listen = loopback(options.port),
                               .hub_credentials = options.hub_credentials_file};
  if (options.leaf_listen_port != 0) {
    server.leaf_listen = loopback(options.leaf_listen_port);
  }
  if (options.hub_port != 0) {
    server.hubs = {loopback(options.hub_port)};
  }
  return broker::server_configuration({.operator_jwt = identity.operator_jwt,
                                       .account = identity.account,
                                       .account_jwt = identity.account_jwt,
                                       .system_account = identity.system_account,
                                       .system_account_jwt = identity.system_account_jwt},
                                      server);
}

}  // namespace cosigner::devcluster
