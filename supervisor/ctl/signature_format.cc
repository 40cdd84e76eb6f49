#include "supervisor/ctl/signature_format.h"

#include <sodium.h>

#include "crypto/secp256k1/ecdsa.h"

namespace cosigner::ctl {
namespace {

std::optional<SignatureEncoding> encoding_from_name(std::string_view name) {
  if (name == "hex") {
    return SignatureEncoding::kHex;
  }
  if (name == "base64") {
    return SignatureEncoding::kBase64;
  }
  return name == "binary" ? std::optional(SignatureEncoding::kBinary) : std::nullopt;
}

std::optional<SignatureForm> form_from_name(std::string_view name) {
  if (name == "raw") {
    return SignatureForm::kRaw;
  }
  if (name == "der") {
    return SignatureForm::kDer;
  }
  return name == "rsv" ? std::optional(SignatureForm::kRsv) : std::nullopt;
}

std::unexpected<Failure> wrong_use(std::string reason) {
  return failed(ExitStatus::kUsage, ErrorCode::kBadRequest, std::move(reason));
}

std::string encode(ByteView bytes, SignatureEncoding encoding) {
  switch (encoding) {
    case SignatureEncoding::kHex:
      return to_hex(bytes) + "\n";
    case SignatureEncoding::kBinary:
      return std::string(as_text(bytes));
    case SignatureEncoding::kBase64:
      break;
  }
  std::string out(sodium_base64_encoded_len(bytes.size(), sodium_base64_VARIANT_ORIGINAL), '\0');
  sodium_bin2base64(out.data(), out.size(), bytes.data(), bytes.size(),
                    sodium_base64_VARIANT_ORIGINAL);
  out.back() = '\n';  // in place of the terminating zero
  return out;
}

}  // namespace

Outcome<SignatureFormat> parse_signature_format(const std::string& format,
                                                const std::string& encoding) {
  SignatureFormat out;
  const auto form = form_from_name(format);
  const auto whole = encoding_from_name(format);
  if (form) {
    out = {*form, SignatureEncoding::kBinary};
  } else if (whole && format != "binary") {
    out.encoding = *whole;
  } else if (!format.empty()) {
    return wrong_use("--format is hex, base64, raw, der or rsv.");
  }
  if (encoding.empty()) {
    return out;
  }
  const auto wanted = encoding_from_name(encoding);
  if (!wanted) {
    return wrong_use("--encoding is hex, base64 or binary.");
  }
  if (whole && *wanted != out.encoding) {
    return wrong_use("--format " + format + " and --encoding " + encoding +
                     " contradict each other.");
  }
  out.encoding = *wanted;
  return out;
}

Outcome<void> check_signature_format(SignatureFormat format, Scheme scheme) {
  const bool ecdsa_only = format.form == SignatureForm::kDer || format.form == SignatureForm::kRsv;
  if (ecdsa_only && scheme != Scheme::kEcdsaSecp256k1) {
    return wrong_use("an " + std::string(scheme_name(scheme)) +
                     " signature has 64 bytes and no other form: use --format raw, hex or base64.");
  }
  return {};
}

Outcome<std::string> write_signature(Scheme scheme, ByteView signature, SignatureFormat format) {
  if (auto fits = check_signature_format(format, scheme); !fits) {
    return std::unexpected(fits.error());
  }
  if (scheme != Scheme::kEcdsaSecp256k1) {
    return encode(signature, format.encoding);
  }
  const auto decoded = secp256k1::EcdsaSignature::decode(signature);
  if (!decoded) {
    return failed(ExitStatus::kRefused, ErrorCode::kInternal,
                  "the cluster answered with what is no ECDSA signature.");
  }
  switch (format.form) {
    case SignatureForm::kDer:
      return encode(decoded->der(), format.encoding);
    case SignatureForm::kRaw:
      return encode(signature.first(64), format.encoding);
    case SignatureForm::kWhole:
    case SignatureForm::kRsv:
      break;
  }
  return encode(signature, format.encoding);
}

}  // namespace cosigner::ctl
