#pragma once
// Key files on disk: one line of 64 hex digits (a 32-byte seed or key), mode 0600. The crypto rooms
// touch no files, so the supervisor and the tools read them through here.

#include <string>

#include "crypto/identity/ed25519_key.h"
#include "crypto/identity/guarded.h"
#include "ipc/error.h"

namespace cosigner {

using GuardedKey = GuardedBytes<32>;

/// Refused: what is no regular file; a file that group or others can read or write; an owner other
/// than root or this process's user; anything but 64 hex digits and at most one line end. A
/// systemd credential (root-owned, mode 0440 or 0400, below $CREDENTIALS_DIRECTORY) passes.
/// Errors: bad_request with the path and a remedy.
[[nodiscard]] Expected<GuardedKey> load_key_file(const std::string& path);
[[nodiscard]] Expected<IdentityKey> load_identity_file(const std::string& path);

/// Makes a new file with mode 0600 and a fresh random key, durable before it returns. Fails if the
/// path exists.
[[nodiscard]] Expected<void> create_key_file(const std::string& path, Random& random);

}  // namespace cosigner
