#pragma once
// What each kind of broker connection may publish and subscribe. One scoped signing key per row and
// node: whoever holds that key can mint credentials, but none that exceed the row, so the sender's
// node in a subject is the broker's word, not the sender's.

#include <string>
#include <string_view>
#include <vector>

namespace cosigner::broker {

/// Subjects allowed; everything else is denied. Allow lists only (nats-server 2.9 has known
/// bypasses of deny rules).
struct Permissions {
  std::vector<std::string> publish;
  std::vector<std::string> subscribe;
};

struct Scope {
  std::string role;
  Permissions permissions;
};

/// A user's worker on `node`. `{{name()}}` is the JWT's name, the user's subject token: a worker's
/// credentials reach its own user's subjects and nothing else.
[[nodiscard]] Scope worker_scope(std::string_view cluster, std::string_view node);
/// The gateway of `node`.
[[nodiscard]] Scope gateway_scope(std::string_view cluster, std::string_view node);
/// A client: asks, and listens to its own inboxes. `{{subject()}}` is the JWT's subject, the
/// client's public key: programs with credentials of their own do not hear each other's answers.
[[nodiscard]] Scope client_scope(std::string_view cluster);
/// The leaf connection by which a node's broker joins the cluster's: the cluster's subjects and
/// inboxes, nothing else of the account.
[[nodiscard]] Scope leaf_scope(std::string_view cluster);

}  // namespace cosigner::broker
