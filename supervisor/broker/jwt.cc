#include "supervisor/broker/jwt.h"

#include <sodium.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "crypto/base/hash.h"
#include "supervisor/broker/base32.h"

namespace cosigner::broker {
namespace {

using nlohmann::json;

std::string base64url(ByteView bytes) {
  constexpr int kVariant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
  std::string out(sodium_base64_encoded_len(bytes.size(), kVariant), '\0');
  sodium_bin2base64(out.data(), out.size(), bytes.data(), bytes.size(), kVariant);
  out.pop_back();  // the terminating zero
  return out;
}

/// header.claims.signature; the id is a hash of the claims, as NATS's own tools make it.
std::string sign(const Nkey& issuer, json claims) {
  claims["iss"] = issuer.public_text();
  const std::string unidentified = claims.dump();
  std::string id;
  append_base32(Sha256().update(as_bytes(unidentified)).finish(), id);
  claims["jti"] = id;
  static const std::string kHeader =
      base64url(as_bytes(json{{"typ", "JWT"}, {"alg", "ed25519-nkey"}}.dump()));
  const std::string signed_part = kHeader + "." + base64url(as_bytes(claims.dump()));
  return signed_part + "." + base64url(issuer.sign(as_bytes(signed_part)));
}

json permissions_template(const Permissions& permissions) {
  return {{"pub", {{"allow", permissions.publish}}},
          {"sub", {{"allow", permissions.subscribe}}},
          {"subs", -1},
          {"data", -1},
          {"payload", -1}};
}

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

}  // namespace

std::string mint_operator(const Nkey& self, std::string_view name,
                          const std::string& system_account, std::int64_t issued_at_s) {
  return sign(
      self, {{"iat", issued_at_s},
             {"name", name},
             {"sub", self.public_text()},
             {"nats", {{"type", "operator"}, {"version", 2}, {"system_account", system_account}}}});
}

std::string mint_account(const Nkey& operator_key, const std::string& account,
                         std::string_view name, const std::vector<ScopedKey>& keys,
                         std::int64_t issued_at_s) {
  json signing_keys = json::array();
  for (const ScopedKey& key : keys) {
    signing_keys.push_back({{"kind", "user_scope"},
                            {"key", key.public_nkey},
                            {"role", key.scope.role},
                            {"template", permissions_template(key.scope.permissions)}});
  }
  json nats = {{"type", "account"},
               {"version", 2},
               {"limits",
                {{"subs", -1},
                 {"data", -1},
                 {"payload", -1},
                 {"imports", -1},
                 {"exports", -1},
                 {"wildcards", true},
                 {"conn", -1},
                 {"leaf", -1}}}};
  if (!signing_keys.empty()) {
    nats["signing_keys"] = signing_keys;
  }
  return sign(operator_key,
              {{"iat", issued_at_s}, {"name", name}, {"sub", account}, {"nats", nats}});
}

Expected<std::string> mint_user(const Nkey& scoped_key, const UserClaims& claims) {
  if (!is_name(claims.name)) {
    return fail(ErrorCode::kBadRequest,
                "a broker user's name is one subject token of 1 to 64 of [a-z0-9-].");
  }
  json body = {{"iat", claims.issued_at_s},
               {"name", claims.name},
               {"sub", encode_public(NkeyKind::kUser, claims.key)},
               {"nats",
                {{"type", "user"},
                 {"version", 2},
                 {"issuer_account", claims.account},
                 {"pub", json::object()},
                 {"sub", json::object()}}}};
  if (claims.expires_at_s != 0) {
    body["exp"] = claims.expires_at_s;
  }
  return sign(scoped_key, std::move(body));
}

SecretText credentials_file(std::string_view jwt, const Nkey& user) {
  SecretText out;
  out.reserve(jwt.size() + 256);
  out += "-----BEGIN NATS USER JWT-----\n";
  out += jwt;
  out += "\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n";
  out += user.seed_text();
  out += "\n------END USER NKEY SEED------\n";
  return out;
}

}  // namespace cosigner::broker
