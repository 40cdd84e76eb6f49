#include "supervisor/ctl/setup/authority.h"

#include <sys/stat.h>

#include <algorithm>

#include "supervisor/broker/jwt.h"
#include "supervisor/config/toml_fields.h"

namespace cosigner::ctl {
namespace {

namespace fs = std::filesystem;
using broker::Nkey;
using broker::NkeyKind;

constexpr const char* kOperatorSeed = "operator.seed";
constexpr const char* kLeafSeed = "leaf-signer.seed";
constexpr const char* kClientSeed = "client-signer.seed";
constexpr const char* kTlsKey = "tls-authority.key";
constexpr const char* kTlsCertificate = "tls-authority.crt";
constexpr const char* kFacts = "authority.toml";

broker::SecretText line(const broker::SecretText& text) {
  broker::SecretText out = text;
  out += "\n";
  return out;
}

Expected<Nkey> load_seed(const fs::path& path, NkeyKind kind) {
  const auto text = read_secret(path);
  if (!text) {
    return std::unexpected(text.error());
  }
  auto key = Nkey::from_seed(kind, *text);
  if (!key) {
    return fail(ErrorCode::kBadRequest, path.string() + ": " + key.error().message);
  }
  return key;
}

}  // namespace

Authority::Authority(const NodeDirectory& directory, AuthorityFacts facts, Nkey operator_key,
                     Nkey leaf_signer, Nkey client_signer, TlsAuthority tls)
    : directory_(directory),
      facts_(std::move(facts)),
      operator_key_(std::move(operator_key)),
      leaf_signer_(std::move(leaf_signer)),
      client_signer_(std::move(client_signer)),
      tls_(std::move(tls)) {}

bool Authority::present(const NodeDirectory& directory) {
  std::error_code ignored;
  return fs::exists(directory.authority() / kFacts, ignored);
}

Expected<Authority> Authority::create(const NodeDirectory& directory, AuthorityFacts facts,
                                      std::int64_t now_s, Random& random) {
  if (present(directory)) {
    return fail(ErrorCode::kAlreadyExists,
                directory.authority().string() + " holds a cluster's authority already");
  }
  auto tls = TlsAuthority::create(facts.cluster, now_s);
  if (!tls) {
    return std::unexpected(tls.error());
  }
  Authority out(directory, std::move(facts), Nkey::generate(NkeyKind::kOperator, random),
                Nkey::generate(NkeyKind::kAccount, random),
                Nkey::generate(NkeyKind::kAccount, random), std::move(*tls));
  // Accounts are signed by the operator and sign nothing themselves: their seeds are forgotten.
  out.account_ = Nkey::generate(NkeyKind::kAccount, random).public_text();
  out.system_account_ = Nkey::generate(NkeyKind::kAccount, random).public_text();

  std::error_code error;
  fs::create_directories(directory.authority() / "members", error);
  if (error || ::chmod(directory.authority().c_str(), 0700) != 0) {
    return fail(ErrorCode::kStorageFailed,
                directory.authority().string() + " cannot be made: " + error.message());
  }
  const auto key = out.tls_.key().pem();
  const auto certificate = out.tls_.certificate_der();
  if (!key || !certificate) {
    return std::unexpected(!key ? key.error() : certificate.error());
  }
  const auto pem = certificate_pem(*certificate);
  if (!pem) {
    return std::unexpected(pem.error());
  }
  for (const auto& [name, text] :
       {std::pair{kOperatorSeed, line(out.operator_key_.seed_text())},
        {kLeafSeed, line(out.leaf_signer_.seed_text())},
        {kClientSeed, line(out.client_signer_.seed_text())},
        {kTlsKey, *key},
        {kTlsCertificate, broker::SecretText(pem->begin(), pem->end())}}) {
    if (auto written = directory.write_secret(out.file(name), text); !written) {
      return std::unexpected(written.error());
    }
  }
  if (auto saved = out.save(); !saved) {
    return std::unexpected(saved.error());
  }
  return out;
}

Expected<void> Authority::save() const {
  std::string hubs;
  for (const std::string& hub : facts_.hubs) {
    hubs += (hubs.empty() ? "\"" : ", \"") + hub + "\"";
  }
  return directory_.write_secret(
      file(kFacts), "# Written by cosignerctl init and peers import.\ncluster = \"" +
                        facts_.cluster + "\"\nhubs = [" + hubs + "]\nhub_listen = \"" +
                        facts_.hub_listen + "\"\nthreshold = " + std::to_string(facts_.threshold) +
                        "\ninitiator = \"" + to_hex(facts_.initiator) + "\"\naccount = \"" +
                        account_ + "\"\nsystem_account = \"" + system_account_ +
                        "\"\nserial = " + std::to_string(serial_) + "\n");
}

Expected<Authority> Authority::load(const NodeDirectory& directory) {
  const fs::path path = directory.authority() / kFacts;
  toml::parse_result parsed = toml::parse_file(path.string());
  if (!parsed) {
    return fail(ErrorCode::kBadRequest,
                path.string() + " cannot be read: " + std::string(parsed.error().description()));
  }
  const toml::table table = std::move(parsed).table();
  supervisor::Problems problems(path.string());
  supervisor::TomlFields fields(table, "", problems);
  AuthorityFacts facts;
  std::string initiator;
  std::string account;
  std::string system_account;
  std::uint64_t serial = 0;
  fields.text("cluster", facts.cluster, true);
  fields.texts("hubs", facts.hubs);
  fields.text("hub_listen", facts.hub_listen, true);
  fields.number("threshold", facts.threshold, 2, 32);
  fields.text("initiator", initiator, true);
  fields.text("account", account, true);
  fields.text("system_account", system_account, true);
  fields.number("serial", serial, 0, INT64_MAX);
  fields.finish();
  const auto key = from_hex(initiator);
  if (!problems.found().empty() || !key || key->size() != Ed25519PublicKey::kSize) {
    return fail(ErrorCode::kBadRequest, problems.found().empty()
                                            ? path.string() + ": 'initiator' is no public key"
                                            : problems.found().front().text());
  }
  facts.initiator = *Ed25519PublicKey::from(*key);
  auto operator_key = load_seed(directory.authority() / kOperatorSeed, NkeyKind::kOperator);
  auto leaf = load_seed(directory.authority() / kLeafSeed, NkeyKind::kAccount);
  auto client = load_seed(directory.authority() / kClientSeed, NkeyKind::kAccount);
  for (const auto* seed : {&operator_key, &leaf, &client}) {
    if (!*seed) {
      return std::unexpected(seed->error());
    }
  }
  const auto tls_key = read_secret(directory.authority() / kTlsKey);
  const auto tls_certificate = read_file(directory.authority() / kTlsCertificate);
  if (!tls_key || !tls_certificate) {
    return std::unexpected(!tls_key ? tls_key.error() : tls_certificate.error());
  }
  auto tls = TlsAuthority::from_pem(*tls_key, *tls_certificate);
  if (!tls) {
    return std::unexpected(tls.error());
  }
  Authority out(directory, std::move(facts), std::move(*operator_key), std::move(*leaf),
                std::move(*client), std::move(*tls));
  out.account_ = account;
  out.system_account_ = system_account;
  out.serial_ = serial;
  return out;
}

Expected<void> Authority::admit(ByteView sealed_card) {
  const auto card = open_card(sealed_card);
  if (!card) {
    return std::unexpected(card.error());
  }
  if (card->cluster != facts_.cluster) {
    return fail(ErrorCode::kConflict, "the card of " + card->node + " is of cluster '" +
                                          card->cluster + "', this authority's is '" +
                                          facts_.cluster + "'");
  }
  // node names are [a-z0-9-]: no path leads out of the directory
  const fs::path path = directory_.authority() / "members" / (card->node + ".card");
  std::error_code ignored;
  if (fs::exists(path, ignored)) {
    const auto text = read_file(path);
    const auto known = text ? unarmor(*text) : Expected<Armored>(std::unexpected(text.error()));
    const auto before =
        known ? open_card(known->sealed) : Expected<Card>(std::unexpected(known.error()));
    if (!before) {
      return std::unexpected(before.error());
    }
    if (before->identity != card->identity) {
      return fail(ErrorCode::kConflict,
                  "node '" + card->node + "' is known with another identity, " +
                      fingerprint(before->identity) + ": if it was really set up anew, remove " +
                      path.string());
    }
  }
  return directory_.write_secret(path, armor(ArmorKind::kCard, sealed_card));
}

Expected<std::vector<ByteVector>> Authority::members() const {
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory_.authority() / "members", error)) {
    if (entry.path().extension() == ".card") {
      files.push_back(entry.path());
    }
  }
  std::ranges::sort(files);
  std::vector<ByteVector> out;
  for (const fs::path& path : files) {
    const auto text = read_file(path);
    if (!text) {
      return std::unexpected(text.error());
    }
    auto card = unarmor(*text);
    if (!card) {
      return std::unexpected(card.error());
    }
    out.push_back(std::move(card->sealed));
  }
  return out;
}

Expected<ByteVector> Authority::publish(std::int64_t now_s) {
  const auto sealed = members();
  if (!sealed) {
    return std::unexpected(sealed.error());
  }
  const std::string& cluster = facts_.cluster;
  std::vector<broker::ScopedKey> scoped{
      {client_signer_.public_text(), broker::client_scope(cluster)},
      {leaf_signer_.public_text(), broker::leaf_scope(cluster)}};
  Bundle bundle;
  for (const ByteVector& one : *sealed) {
    const auto card = open_card(one);
    if (!card) {
      return std::unexpected(card.error());
    }
    scoped.push_back({card->worker_signer, broker::worker_scope(cluster, card->node)});
    scoped.push_back({card->gateway_signer, broker::gateway_scope(cluster, card->node)});
    auto certificate = tls_.issue(card->node, card->tls_key, {}, now_s);
    if (!certificate) {
      return std::unexpected(certificate.error());
    }
    const auto leaf_user = broker::decode_public(NkeyKind::kUser, card->leaf_user);
    if (!leaf_user) {
      return std::unexpected(leaf_user.error());
    }
    auto leaf_jwt = broker::mint_user(leaf_signer_, {.key = *leaf_user,
                                                     .name = card->node,
                                                     .account = account_,
                                                     .issued_at_s = now_s,
                                                     .expires_at_s = 0});
    if (!leaf_jwt) {
      return std::unexpected(leaf_jwt.error());
    }
    bundle.members.push_back({one, std::move(*certificate), std::move(*leaf_jwt)});
  }
  const auto tls = tls_.certificate_der();
  if (!tls) {
    return std::unexpected(tls.error());
  }
  ++serial_;
  bundle.cluster = cluster;
  bundle.serial = serial_;
  bundle.authority = key();
  bundle.trust = {
      .operator_jwt = broker::mint_operator(operator_key_, "cosigner", system_account_, now_s),
      .account = account_,
      .account_jwt = broker::mint_account(operator_key_, account_, cluster, scoped, now_s),
      .system_account = system_account_,
      .system_account_jwt =
          broker::mint_account(operator_key_, system_account_, "system", {}, now_s)};
  bundle.tls_authority = *tls;
  bundle.hubs = facts_.hubs;
  bundle.threshold = facts_.threshold;
  bundle.initiators = {{"operator", facts_.initiator}};
  if (auto written = write_hubs(bundle.trust, now_s); !written) {
    return std::unexpected(written.error());
  }
  if (auto saved = save(); !saved) {
    return std::unexpected(saved.error());
  }
  return seal_bundle(bundle, operator_key_);
}

Expected<Authority::ClientCredentials> Authority::client_credentials(std::int64_t now_s,
                                                                     std::int64_t expires_at_s,
                                                                     Random& random) const {
  const Nkey user = Nkey::generate(NkeyKind::kUser, random);
  const auto jwt = broker::mint_user(client_signer_, {.key = user.public_key(),
                                                      .name = "client",
                                                      .account = account_,
                                                      .issued_at_s = now_s,
                                                      .expires_at_s = expires_at_s});
  if (!jwt) {
    return std::unexpected(jwt.error());
  }
  return ClientCredentials{.text = broker::credentials_file(*jwt, user),
                           .user = user.public_text()};
}

}  // namespace cosigner::ctl
