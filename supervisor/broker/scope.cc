#include "supervisor/broker/scope.h"

namespace cosigner::broker {
namespace {

std::string prefix(std::string_view cluster) {
  return "cosigner." + std::string(cluster) + ".";
}

}  // namespace

Scope worker_scope(std::string_view cluster, std::string_view node) {
  const std::string base = prefix(cluster) + "user.{{name()}}.";
  return {"worker",
          {.publish = {base + "*." + std::string(node)},
           .subscribe = {base + std::string(node) + ".>"}}};
}

Scope gateway_scope(std::string_view cluster, std::string_view node) {
  const std::string base = prefix(cluster);
  const std::string self(node);
  return {"gateway",
          {.publish = {base + "request", base + "gateway.*." + self, "_INBOX.>"},
           .subscribe = {base + "request", base + "gateway." + self + ".>", base + "gateway.all.>",
                         "_INBOX." + self + ".>", "$SRV.>"}}};
}

Scope client_scope(std::string_view cluster) {
  // $SRV: service discovery, so that `nats micro ls` works with a client's credentials.
  return {"client",
          {.publish = {prefix(cluster) + "request", "$SRV.>"},
           .subscribe = {"_INBOX.{{subject()}}.>"}}};
}

Scope leaf_scope(std::string_view cluster) {
  // Not narrower, though the node is known: nats-server 2.9 passes interest over a leaf connection
  // only where an allowed subject covers all of it, and `user.<U>.node2.>`, to which node 1
  // publishes, is not covered by `user.*.*.node1`. The sender's node is therefore enforced by the
  // server the sender is connected to; between nodes it is the packets' signatures that count.
  // `$LDS` is the servers' loop detection.
  const std::vector<std::string> subjects{prefix(cluster) + ">", "_INBOX.>", "$SRV.>", "$LDS.>"};
  return {"leaf", {.publish = subjects, .subscribe = subjects}};
}

}  // namespace cosigner::broker
