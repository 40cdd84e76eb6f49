#pragma once
// NATS JWTs (version 2, algorithm ed25519-nkey) for a broker in operator mode: the operator signs
// the account, the account lists scoped signing keys, a scoped key signs users. Only what the
// cluster needs is made, and nothing is ever parsed: the broker is the one that believes these.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/broker/nkey.h"
#include "supervisor/broker/scope.h"

namespace cosigner::broker {

/// Self-signed. `system_account` is an account's public nkey.
[[nodiscard]] std::string mint_operator(const Nkey& self, std::string_view name,
                                        const std::string& system_account,
                                        std::int64_t issued_at_s);

struct ScopedKey {
  std::string public_nkey;  ///< A…: account kind, as signing keys of accounts are
  Scope scope;
};

/// An account whose users are signed by scoped keys only; connections and subscriptions unlimited.
[[nodiscard]] std::string mint_account(const Nkey& operator_key, const std::string& account,
                                       std::string_view name, const std::vector<ScopedKey>& keys,
                                       std::int64_t issued_at_s);

struct UserClaims {
  Ed25519PublicKey key;  ///< the nkey whose holder may connect
  std::string name;      ///< fills `{{name()}}` of the scope: `[a-z0-9-]{1,64}`
  std::string account;   ///< A…: the account the signing key belongs to
  std::int64_t issued_at_s = 0;
  std::int64_t expires_at_s = 0;  ///< 0: never (development credentials)
};

/// Signed by a scoped key, with empty permissions: the scope's template is all it gets. The name is
/// checked here because a name such as `*` would widen the template; bad_request otherwise.
[[nodiscard]] Expected<std::string> mint_user(const Nkey& scoped_key, const UserClaims& claims);

/// The text of a `.creds` file: the JWT and the user's seed.
[[nodiscard]] SecretText credentials_file(std::string_view jwt, const Nkey& user);

}  // namespace cosigner::broker
