#include "supervisor/ctl/setup/own_files.h"

#include "supervisor/config/toml_fields.h"

namespace cosigner::ctl {
namespace {

namespace fs = std::filesystem;

/// In the package's cosigner.toml, for the account.
constexpr std::string_view kNoAccount = "REPLACE_WITH";

/// Missing, or readable and `so`.
template <class Condition>
bool written_so(const fs::path& path, const Condition& so) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    return true;
  }
  const auto text = read_file(path);
  return text && so(*text);
}

/// A file of tables that name public keys, as far as an import is concerned: `key` of each
/// [[entry]] with its `name`. No such table: none, as in the package's files, which are comments.
struct NamedKey {
  std::string name;
  Ed25519PublicKey key;
};
Expected<std::vector<NamedKey>> named_keys(const fs::path& file, const char* entry,
                                           const char* name_field, const char* key_field) {
  std::vector<NamedKey> out;
  std::error_code ignored;
  if (!fs::exists(file, ignored)) {
    return out;
  }
  const std::string path = file.string();
  toml::parse_result parsed = toml::parse_file(path);
  if (!parsed) {
    return fail(ErrorCode::kBadRequest, path + ": " + std::string(parsed.error().description()) +
                                            " (cosignerctl config check says where)");
  }
  const toml::table table = std::move(parsed).table();
  if (!table.contains(entry)) {
    return out;
  }
  supervisor::Problems problems(path);
  supervisor::TomlFields root(table, "", problems);
  for (const toml::table* one : root.tables(entry)) {
    supervisor::TomlFields fields(*one, entry, problems);
    NamedKey named;
    std::string hex;
    fields.text(name_field, named.name, true);
    fields.text(key_field, hex, true);
    const auto bytes = from_hex(hex);
    const auto key = bytes ? Ed25519PublicKey::from(*bytes) : std::nullopt;
    if (!key) {
      fields.complain(key_field, "no public key", "use 64 hex digits");
    } else {
      named.key = *key;
    }
    out.push_back(std::move(named));
  }
  if (!problems.found().empty()) {
    return fail(ErrorCode::kBadRequest, problems.found().front().text());
  }
  return out;
}

}  // namespace

Expected<Card> own_card(const NodeDirectory& directory) {
  const auto text = read_file(directory.card());
  if (!text) {
    return fail(ErrorCode::kBadRequest, "no node is set up in " + directory.root().string() +
                                            ": run cosignerctl init first");
  }
  const auto sealed = unarmor(*text);
  if (!sealed || sealed->kind != ArmorKind::kCard) {
    return fail(ErrorCode::kBadRequest, directory.card().string() + " is no card");
  }
  return open_card(sealed->sealed);
}

Expected<PeerList> listed_peers(const NodeDirectory& directory) {
  PeerList out;
  for (const auto& [entry, list] :
       {std::pair{"peer", &out.peers}, std::pair{"former", &out.former}}) {
    const auto found = named_keys(directory.peers(), entry, "node", "identity");
    if (!found) {
      return std::unexpected(found.error());
    }
    for (const NamedKey& one : *found) {
      list->push_back({.node = one.name, .identity = one.key});
    }
  }
  return out;
}

Expected<std::optional<std::vector<Ed25519PublicKey>>> listed_initiators(
    const NodeDirectory& directory) {
  if (lists_no_initiator(directory)) {
    return std::nullopt;
  }
  const auto found = named_keys(directory.initiators(), "initiator", "name", "public_key");
  if (!found) {
    return std::unexpected(found.error());
  }
  std::vector<Ed25519PublicKey> out;
  for (const NamedKey& one : *found) {
    out.push_back(one.key);
  }
  return out;
}

Expected<std::optional<BundleInUse>> bundle_in_use(const NodeDirectory& directory) {
  std::error_code ignored;
  if (!fs::exists(directory.bundle(), ignored)) {
    return std::nullopt;
  }
  const auto text = read_file(directory.bundle());
  auto armored = text ? unarmor(*text) : Expected<Armored>(std::unexpected(text.error()));
  auto opened =
      armored ? open_bundle(armored->sealed) : Expected<Bundle>(std::unexpected(armored.error()));
  if (!opened) {
    return fail(ErrorCode::kConflict,
                directory.bundle().string() + " cannot be read: " + opened.error().message);
  }
  return BundleInUse{.bundle = std::move(*opened), .sealed = std::move(armored->sealed)};
}

bool needs_configuration(const NodeDirectory& directory) {
  return written_so(directory.configuration(), [](const std::string& text) {
    return text.find(kNoAccount) != std::string::npos;
  });
}

bool lists_no_initiator(const NodeDirectory& directory) {
  return written_so(directory.initiators(), [](const std::string& text) {
    return ("\n" + text).find("\n[[initiator]]") == std::string::npos;
  });
}

}  // namespace cosigner::ctl
