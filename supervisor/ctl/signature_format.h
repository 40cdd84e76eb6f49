#pragma once
// Signatures on their way out: which bytes (form), and how they are written (encoding).

#include <string>

#include "crypto/scheme/scheme.h"
#include "supervisor/ctl/exit_status.h"

namespace cosigner::ctl {

enum class SignatureForm : std::uint8_t {
  kWhole,  ///< as the cluster gives it: Ed25519 64 bytes, ECDSA r ‖ s ‖ recovery id
  kRaw,    ///< Ed25519 64 bytes, ECDSA r ‖ s
  kDer,    ///< ECDSA only: SEQUENCE of two INTEGERs, as OpenSSL and X.509 have it
  kRsv,    ///< ECDSA only: r ‖ s ‖ recovery id, 65 bytes
};
enum class SignatureEncoding : std::uint8_t { kHex, kBase64, kBinary };
struct SignatureFormat {
  SignatureForm form = SignatureForm::kWhole;
  SignatureEncoding encoding = SignatureEncoding::kHex;
};

/// `--format` is an encoding of the whole (hex, base64) or a form (raw, der, rsv), which is written
/// in binary unless `--encoding` (hex, base64, binary) says otherwise. Both may be empty. Fails
/// with kUsage.
[[nodiscard]] Outcome<SignatureFormat> parse_signature_format(const std::string& format,
                                                              const std::string& encoding);
/// Fails with kUsage: Ed25519 has neither DER nor a recovery id.
[[nodiscard]] Outcome<void> check_signature_format(SignatureFormat format, Scheme scheme);
/// hex and base64 end in a newline. Fails with kRefused for what is no signature of the scheme.
[[nodiscard]] Outcome<std::string> write_signature(Scheme scheme, ByteView signature,
                                                   SignatureFormat format);

}  // namespace cosigner::ctl
