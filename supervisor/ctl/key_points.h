#pragma once
// The public keys of ECDSA keys in every form that an address is made from: compressed and
// uncompressed, of the key itself and of the one derived along a path. Worked out here from what
// the node reports (public key and chain code), since a supervisor computes nothing with keys.

#include <optional>
#include <string>

#include "crypto/bip32/derivation.h"
#include "supervisor/ctl/json.h"

namespace cosigner::ctl {

/// "m/44/60/0/0/5"; fails with kUsage.
[[nodiscard]] Outcome<bip32::Path> parse_path_option(const std::string& text);

/// Adds to each ECDSA key of a `keys` reply `public_key_uncompressed`, and with a path `path`,
/// `derived_public_key` and `derived_public_key_uncompressed`. Fails with kRefused for a node that
/// reports no chain code or a key that is none.
[[nodiscard]] Outcome<void> add_points(Json& reply, const std::optional<bip32::Path>& path);

/// One line for each form; empty if no key has any.
[[nodiscard]] std::string view_points(const Json& reply);

}  // namespace cosigner::ctl
