#include "supervisor/service/issuer.h"

#include <algorithm>
#include <fstream>

#include "crypto/identity/certificate.h"
#include "crypto/identity/share_seal.h"
#include "ipc/names.h"
#include "supervisor/broker/jwt.h"

namespace cosigner::supervisor {
namespace {

/// The name in the gateway's JWT; no user's token reads like it (those have 32 characters).
constexpr const char* kGatewayName = "gateway";

Expected<broker::Nkey> load_signer(const std::string& path) {
  std::ifstream file(path);
  broker::SecretText text(128, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  auto key = broker::Nkey::from_seed(broker::NkeyKind::kAccount, text);
  if (!key) {
    return fail(ErrorCode::kBadRequest,
                path + " holds no seed of an account signing key (SA…): " + key.error().message);
  }
  return key;
}

}  // namespace

Issuer::Issuer(const Config& config, IdentityKey identity, GuardedKey key_encryption_key,
               broker::Nkey worker_signer, broker::Nkey gateway_signer)
    : cluster_(config.cluster),
      node_(config.node),
      broker_(config.broker),
      identity_(std::move(identity)),
      key_encryption_key_(std::move(key_encryption_key)),
      worker_signer_(std::move(worker_signer)),
      gateway_signer_(std::move(gateway_signer)) {}

Expected<Issuer> Issuer::load(const Config& config) {
  auto identity = load_identity_file(config.identity_key_file);
  if (!identity) {
    return std::unexpected(identity.error());
  }
  const auto self = std::ranges::find(config.peers, config.node, &ipc::Peer::node);
  if (self == config.peers.end() || self->identity != identity->public_key()) {
    return fail(ErrorCode::kConflict, config.peers_file + " names another identity for node '" +
                                          config.node + "' than " + config.identity_key_file +
                                          " holds (" + to_hex(identity->public_key().view()) +
                                          "): correct one of them");
  }
  auto key_encryption_key = load_key_file(config.key_encryption_key_file);
  if (!key_encryption_key) {
    return std::unexpected(key_encryption_key.error());
  }
  auto worker = load_signer(config.broker.worker_signing_key_file);
  if (!worker) {
    return std::unexpected(worker.error());
  }
  auto gateway = load_signer(config.broker.gateway_signing_key_file);
  if (!gateway) {
    return std::unexpected(gateway.error());
  }
  return Issuer(config, std::move(*identity), std::move(*key_encryption_key), std::move(*worker),
                std::move(*gateway));
}

Statement Issuer::statement(StatementKind kind, const Holder& holder, std::string key,
                            std::uint64_t epoch, const SessionId& session,
                            const Digest& digest) const {
  Statement out{.kind = kind,
                .cluster = cluster_,
                .node = node_,
                .user = holder.user,
                .generation = holder.generation,
                .key = std::move(key),
                .epoch = epoch,
                .session = session,
                .digest = digest,
                .signature = {}};
  sign_statement(out, identity_);
  return out;
}

ByteVector Issuer::worker_certificate(const Holder& holder, const X25519PublicKey& channel,
                                      const Ed25519PublicKey& signing, std::uint64_t now_s) const {
  Certificate out{.cluster = cluster_,
                  .node = node_,
                  .role = CertificateRole::kWorker,
                  .user = holder.user,
                  .generation = holder.generation,
                  .x25519 = channel,
                  .ed25519 = signing,
                  .not_before = now_s,
                  .not_after = now_s + kCertificateLifetimeSeconds,
                  .signature = {}};
  sign_certificate(out, identity_);
  return encode_certificate(out);
}

ByteVector Issuer::gateway_certificate(std::uint64_t generation, const Ed25519PublicKey& signing,
                                       std::uint64_t now_s) const {
  Certificate out{.cluster = cluster_,
                  .node = node_,
                  .role = CertificateRole::kGateway,
                  .user = {},
                  .generation = generation,
                  .x25519 = {},
                  .ed25519 = signing,
                  .not_before = now_s,
                  .not_after = now_s + kCertificateLifetimeSeconds,
                  .signature = {}};
  sign_certificate(out, identity_);
  return encode_certificate(out);
}

Expected<ipc::BrokerAccess> Issuer::broker_access(const Holder& holder, const Ed25519PublicKey& key,
                                                  std::uint64_t now_s) const {
  const bool gateway = holder.user.empty();
  broker::UserClaims claims;
  claims.key = key;
  claims.name = gateway ? kGatewayName : user_subject_token(cluster_, holder.user);
  claims.account = broker_.account;
  claims.issued_at_s = static_cast<std::int64_t>(now_s);
  claims.expires_at_s =
      static_cast<std::int64_t>(now_s + kCertificateLifetimeSeconds + kCertificateSkewSeconds);
  auto jwt = broker::mint_user(gateway ? gateway_signer_ : worker_signer_, claims);
  if (!jwt) {
    return std::unexpected(jwt.error());
  }
  return ipc::BrokerAccess{.url = broker_.url, .jwt = std::move(*jwt)};
}

SecretVector Issuer::sealing_key(const std::string& user) const {
  const AeadKey key = derive_user_sealing_key(key_encryption_key_.expose(), cluster_, node_, user);
  const ByteView bytes = key.expose();
  return {bytes.begin(), bytes.end()};
}

}  // namespace cosigner::supervisor
