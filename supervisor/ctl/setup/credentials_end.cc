#include "supervisor/ctl/setup/credentials_end.h"

#include <sodium.h>

#include <nlohmann/json.hpp>
#include <string>

namespace cosigner::ctl {
namespace {

constexpr std::string_view kBegin = "-----BEGIN NATS USER JWT-----";
constexpr const char* kWhiteSpace = " \t\r\n";

/// The first word after the header: HEADER.CLAIMS.SIGNATURE, each base64url.
std::string_view find_jwt(std::string_view credentials) {
  const std::size_t header = credentials.find(kBegin);
  if (header == std::string_view::npos) {
    return {};
  }
  credentials.remove_prefix(header + kBegin.size());
  const std::size_t begin = credentials.find_first_not_of(kWhiteSpace);
  if (begin == std::string_view::npos) {
    return {};
  }
  credentials.remove_prefix(begin);
  return credentials.substr(0, credentials.find_first_of(kWhiteSpace));
}

std::string decode_claims(std::string_view jwt) {
  const std::size_t begin = jwt.find('.');
  const std::size_t end = jwt.rfind('.');
  if (begin == end) {
    return {};
  }
  const std::string_view encoded = jwt.substr(begin + 1, end - begin - 1);
  std::string text(encoded.size(), '\0');
  std::size_t size = 0;
  if (sodium_base642bin(reinterpret_cast<unsigned char*>(text.data()), text.size(), encoded.data(),
                        encoded.size(), nullptr, &size, nullptr,
                        sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0) {
    return {};
  }
  text.resize(size);
  return text;
}

}  // namespace

Expected<std::int64_t> credentials_end(std::string_view credentials) {
  const auto claims = nlohmann::json::parse(decode_claims(find_jwt(credentials)), nullptr,
                                            /*allow_exceptions=*/false);
  if (!claims.is_object()) {
    return fail(ErrorCode::kBadRequest, "these are no NATS credentials");
  }
  const auto end = claims.find("exp");
  if (end == claims.end()) {
    return 0;
  }
  if (!end->is_number_unsigned() || end->get<std::uint64_t>() > INT64_MAX) {
    return fail(ErrorCode::kBadRequest, "these NATS credentials end at no time that there is");
  }
  return end->get<std::int64_t>();
}

}  // namespace cosigner::ctl
