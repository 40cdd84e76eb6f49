#pragma once
// Messages to sign come in as any bytes (file, hex, standard input); signatures go out as hex, raw
// bytes or base64.

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

enum class SignatureFormat : std::uint8_t { kHex, kRaw, kBase64 };
/// hex and base64 end in a newline, raw does not.
[[nodiscard]] std::string format_signature(ByteView signature, SignatureFormat format);

/// A new file appears whole or not at all; an existing one (or a device) is overwritten in place.
/// Fails with kCannotWrite.
[[nodiscard]] Outcome<void> write_file(const std::string& path, std::string_view bytes);

}  // namespace cosigner::ctl
