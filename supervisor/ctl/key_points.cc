#include "supervisor/ctl/key_points.h"

#include "crypto/scheme/scheme.h"
#include "supervisor/ctl/json_part.h"
#include "supervisor/ctl/table.h"

namespace cosigner::ctl {
namespace {

std::unexpected<Failure> strange_key(const Json& key) {
  return failed(ExitStatus::kRefused, ErrorCode::kInternal,
                "the node's report of key " + text_of(key, "key") +
                    " cannot be used: is it of the same release?");
}

Json* key_list(Json& reply) {
  const auto found = reply.is_object() ? reply.find("keys") : reply.end();
  return reply.is_object() && found != reply.end() && found->is_array() ? &*found : nullptr;
}

}  // namespace

Outcome<bip32::Path> parse_path_option(const std::string& text) {
  auto path = bip32::parse_path(text);
  if (!path) {
    return failed(ExitStatus::kUsage, ErrorCode::kBadRequest,
                  "--path is like m/44/60/0/0/5: at most 255 steps below 2147483648. Hardened "
                  "steps (5') need the secret key, which nobody has.");
  }
  return *std::move(path);
}

Outcome<void> add_points(Json& reply, const std::optional<bip32::Path>& path) {
  Json* const keys = key_list(reply);
  if (keys == nullptr) {
    return {};
  }
  for (Json& key : *keys) {
    if (!key.is_object() || text_of(key, "scheme") != scheme_name(Scheme::kEcdsaSecp256k1)) {
      continue;
    }
    const auto encoded = from_hex(text_of(key, "public_key"));
    const auto point = secp256k1::Point::decode(encoded.value_or(ByteVector()));
    if (!point) {
      return strange_key(key);
    }
    key["public_key_uncompressed"] = to_hex(point->uncompressed());
    if (!path) {
      continue;
    }
    const auto chain_code =
        Digest::from(from_hex(text_of(key, "chain_code")).value_or(ByteVector()));
    if (!chain_code) {
      return strange_key(key);
    }
    const auto derived = bip32::derive(*point, *chain_code, *path);
    if (!derived) {
      return failed(ExitStatus::kUsage, ErrorCode::kBadRequest, derived.error().reason + ".");
    }
    key["path"] = bip32::path_text(*path);
    key["derived_public_key"] = to_hex(derived->key.encode());
    key["derived_public_key_uncompressed"] = to_hex(derived->key.uncompressed());
  }
  return {};
}

std::string view_points(const Json& reply) {
  Table table({"KEY", "PATH", "PUBLIC KEY, COMPRESSED AND UNCOMPRESSED"});
  const auto found = reply.is_object() ? reply.find("keys") : reply.end();
  if (!reply.is_object() || found == reply.end()) {
    return {};
  }
  for (const Json& key : *found) {
    if (!key.is_object() || text_of(key, "public_key_uncompressed").empty()) {
      continue;
    }
    const std::string name = text_of(key, "key");
    table.row({name, "m", text_of(key, "public_key")});
    table.row({"", "", text_of(key, "public_key_uncompressed")});
    if (key.contains("path")) {
      table.row({name, text_of(key, "path"), text_of(key, "derived_public_key")});
      table.row({"", "", text_of(key, "derived_public_key_uncompressed")});
    }
  }
  return table.empty() ? std::string() : table.text();
}

}  // namespace cosigner::ctl
