#pragma once
// Everything the node signs and hands out: statements, certificates, broker credentials, sealing
// keys. It signs only structures that it builds itself; user and generation are those of the socket
// an order came by, never a frame's.

#include <string>

#include "crypto/identity/statement.h"
#include "ipc/key_file.h"
#include "ipc/message_parts.h"
#include "supervisor/broker/nkey.h"
#include "supervisor/config/config.h"

namespace cosigner::supervisor {

/// Whose socket it is.
struct Holder {
  std::string user;  ///< empty: the gateway
  std::uint64_t generation = 0;
};

class Issuer {
 public:
  /// Reads the key files. Errors: bad_request with the path and a remedy; conflict if the identity
  /// key is not the one that the peers file names for this node.
  [[nodiscard]] static Expected<Issuer> load(const Config& config);

  [[nodiscard]] Statement statement(StatementKind kind, const Holder& holder, std::string key,
                                    std::uint64_t epoch, const SessionId& session,
                                    const Digest& digest) const;
  /// Encoded; valid for an hour from `now_s`.
  [[nodiscard]] ByteVector worker_certificate(const Holder& holder, const X25519PublicKey& channel,
                                              const Ed25519PublicKey& signing,
                                              std::uint64_t now_s) const;
  [[nodiscard]] ByteVector gateway_certificate(std::uint64_t generation,
                                               const Ed25519PublicKey& signing,
                                               std::uint64_t now_s) const;
  /// A user JWT for the nkey whose public half is `key`, as long as the certificate. Scoped: a
  /// worker's reaches its own user's subjects only.
  [[nodiscard]] Expected<ipc::BrokerAccess> broker_access(const Holder& holder,
                                                          const Ed25519PublicKey& key,
                                                          std::uint64_t now_s) const;
  /// Opens and seals this user's shares.
  [[nodiscard]] SecretVector sealing_key(const std::string& user) const;
  [[nodiscard]] ByteView key_encryption_key() const { return key_encryption_key_.expose(); }

 private:
  Issuer(const Config& config, IdentityKey identity, GuardedKey key_encryption_key,
         broker::Nkey worker_signer, broker::Nkey gateway_signer);

  std::string cluster_;
  std::string node_;
  BrokerConfig broker_;
  IdentityKey identity_;
  GuardedKey key_encryption_key_;
  broker::Nkey worker_signer_;
  broker::Nkey gateway_signer_;
};

}  // namespace cosigner::supervisor
