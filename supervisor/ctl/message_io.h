#pragma once
// Messages to sign come in as any bytes (file, hex, standard input); results go out to files.

#include <optional>
#include <string>

#include "crypto/base/bytes.h"
#include "supervisor/ctl/exit_status.h"

namespace cosigner::ctl {

struct MessageSource {
  std::string file;                ///< "-": standard input; empty: not given
  std::optional<std::string> hex;  ///< "" is the empty message
};
/// Exactly one source. Fails with kUsage (none or two, wrong hex) or kNoInput (unreadable).
[[nodiscard]] Outcome<ByteVector> read_message(const MessageSource& source);

/// Before anything is asked of the cluster: whether write_file(path) is likely to work, as far as
/// can be seen without changing the file or opening a device. Fails with kCannotWrite.
[[nodiscard]] Outcome<void> check_writable(const std::string& path);

/// A new file appears whole or not at all; an existing one (or a device) is overwritten in place.
/// Fails with kCannotWrite.
[[nodiscard]] Outcome<void> write_file(const std::string& path, std::string_view bytes);

}  // namespace cosigner::ctl
