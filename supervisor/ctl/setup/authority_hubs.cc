// The hubs' files, written by the authority: for each a nats-server's configuration, key and
// certificate.

#include <algorithm>

#include "supervisor/ctl/setup/authority.h"

namespace cosigner::ctl {
namespace {

namespace fs = std::filesystem;

/// Between hubs, where there are several.
constexpr const char* kRoutePort = "6222";
/// Where a hub's files lie on its own host.
constexpr const char* kHubDirectory = "/etc/cosigner/broker/";

/// As it stands before a port: with brackets where it is an IPv6 address.
std::string host_in_address(const std::string& address) {
  return address.substr(0, address.rfind(':'));
}

std::string host_of(const std::string& address) {
  const std::string host = host_in_address(address);
  return host.starts_with('[') ? host.substr(1, host.size() - 2) : host;
}

std::string port_of(const std::string& address) {
  return address.substr(address.rfind(':') + 1);
}

}  // namespace

Expected<std::string> Authority::hub_certificate(const fs::path& key_path, const std::string& host,
                                                 std::int64_t now_s) const {
  const auto pem = read_secret(key_path);
  const auto key = pem ? TlsKey::from_pem(*pem) : Expected<TlsKey>(std::unexpected(pem.error()));
  const auto public_der =
      key ? key->public_der() : Expected<ByteVector>(std::unexpected(key.error()));
  const auto certificate = public_der ? tls_.issue("hub", *public_der, {host}, now_s)
                                      : Expected<ByteVector>(std::unexpected(public_der.error()));
  return certificate ? certificate_pem(*certificate)
                     : Expected<std::string>(std::unexpected(certificate.error()));
}

broker::ServerOptions Authority::hub_options(const std::string& hub,
                                             const std::string& files) const {
  // "[::]" takes IPv4 as well, and does not exist on a host without IPv6.
  const bool version6 =
      std::ranges::any_of(facts_.hubs, [](const std::string& one) { return one.starts_with('['); });
  const std::string everywhere = version6 ? "[::]:" : "0.0.0.0:";
  broker::ServerOptions options{.written_by = "cosignerctl",
                                .name = "hub-" + host_of(hub),
                                .listen = facts_.hub_listen,
                                .leaf_listen = everywhere + port_of(hub),
                                .tls = {.certificate = files + "hub.crt",
                                        .key = files + "hub.key",
                                        .authority = files + "ca.crt"}};
  if (facts_.hubs.size() > 1) {
    options.cluster_listen = everywhere + kRoutePort;
    for (const std::string& other : facts_.hubs) {
      if (other != hub) {
        options.routes.push_back(host_in_address(other) + ":" + kRoutePort);
      }
    }
  }
  return options;
}

Expected<void> Authority::write_hubs(const broker::BrokerTrust& trust, std::int64_t now_s) const {
  const auto authority = tls_.certificate_der();
  const auto authority_pem = authority ? certificate_pem(*authority)
                                       : Expected<std::string>(std::unexpected(authority.error()));
  if (!authority_pem) {
    return std::unexpected(authority_pem.error());
  }
  for (std::size_t i = 0; i < facts_.hubs.size(); ++i) {
    const std::string& hub = facts_.hubs[i];
    const std::string host = host_of(hub);
    // The first hub runs here; the others' files are carried to their hosts.
    const bool here = i == 0;
    const fs::path directory =
        here ? directory_.broker() : directory_.authority() / ("hub-" + host);
    const std::string on_its_host = here ? directory_.broker().string() + "/" : kHubDirectory;
    std::error_code error;
    fs::create_directories(directory, error);
    const auto put = [&](const fs::path& path, std::string_view text) {
      return here ? directory_.write_for_broker(path, text) : directory_.write_secret(path, text);
    };
    const fs::path key_path = directory / "hub.key";
    if (!fs::exists(key_path, error)) {
      const auto made = TlsKey::generate();
      const auto pem =
          made ? made->pem() : Expected<broker::SecretText>(std::unexpected(made.error()));
      if (!pem) {
        return std::unexpected(pem.error());
      }
      if (auto written = put(key_path, *pem); !written) {
        return written;
      }
    }
    const auto certificate = hub_certificate(key_path, host, now_s);
    if (!certificate) {
      return std::unexpected(certificate.error());
    }
    for (const auto& [name, content] :
         {std::pair<const char*, std::string>{"hub.crt", *certificate},
          {"ca.crt", *authority_pem},
          {"hub.conf", broker::server_configuration(trust, hub_options(hub, on_its_host))}}) {
      if (auto written = put(directory / name, content); !written) {
        return written;
      }
    }
  }
  return {};
}

}  // namespace cosigner::ctl
