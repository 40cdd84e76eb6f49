#include "supervisor/broker/server_config.h"

namespace cosigner::broker {
namespace {

std::string quoted(const std::string& text) {
  return "\"" + text + "\"";
}

/// [ "PREFIXone", "PREFIXtwo" ]. The commas are needed: without a line break between two values
/// nats-server takes the second for an error.
std::string list_of(std::string_view prefix, const std::vector<std::string>& values) {
  std::string out = "[";
  for (const std::string& value : values) {
    out += (out.size() > 1 ? ", " : " ") + quoted(std::string(prefix) + value);
  }
  return out + " ]";
}

/// `verify`: whoever connects must show a certificate of the same authority.
std::string tls_block(const TlsFiles& files, bool verify) {
  return "tls: { cert_file: " + quoted(files.certificate) + ", key_file: " + quoted(files.key) +
         ", ca_file: " + quoted(files.authority) + (verify ? ", verify: true" : "") +
         ", timeout: 5 }";
}

}  // namespace

std::string server_configuration(const BrokerTrust& trust, const ServerOptions& options) {
  std::string out = "# Written by " + options.written_by + ".\n";
  out += "server_name: " + quoted(options.name) + "\n";
  out += "listen: " + quoted(options.listen) + "\n";
  out += "max_payload: 4194304\n";  // a 2 MiB request, its answer, and frames with room to spare
  out += "operator: " + quoted(trust.operator_jwt) + "\n";
  out += "system_account: " + quoted(trust.system_account) + "\n";
  out += "resolver: MEMORY\nresolver_preload: {\n";
  out += "  " + trust.account + ": " + quoted(trust.account_jwt) + "\n";
  out += "  " + trust.system_account + ": " + quoted(trust.system_account_jwt) + "\n}\n";
  if (!options.leaf_listen.empty()) {
    out += "leafnodes: {\n  listen: " + quoted(options.leaf_listen) + "\n";
    if (options.tls.used()) {
      out += "  " + tls_block(options.tls, true) + "\n";
    }
    out += "}\n";
  }
  if (!options.cluster_listen.empty()) {
    out += "cluster: {\n  name: \"cosigner\"\n  listen: " + quoted(options.cluster_listen) + "\n";
    if (options.tls.used()) {
      out += "  " + tls_block(options.tls, true) + "\n";
    }
    out += "  routes: " + list_of("nats-route://", options.routes) + "\n}\n";
  }
  if (!options.hubs.empty()) {
    out += "leafnodes: {\n  reconnect: 1\n  remotes: [ {\n    urls: ";
    out += list_of(options.tls.used() ? "tls://" : "nats-leaf://", options.hubs) + "\n";
    out += "    account: " + quoted(trust.account) + "\n";
    out += "    credentials: " + quoted(options.hub_credentials) + "\n";
    if (options.tls.used()) {
      out += "    " + tls_block(options.tls, false) + "\n";
    }
    out += "  } ]\n}\n";
  }
  return out;
}

}  // namespace cosigner::broker
