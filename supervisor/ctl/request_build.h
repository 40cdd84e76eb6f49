#pragma once
// Building a client request: the fields every request has, the initiator's signature, and the
// rules that will judge its answers.

#include <chrono>

#include "crypto/base/random.h"
#include "ipc/client_rules.h"
#include "supervisor/ctl/cluster_view.h"

namespace cosigner::ctl {

/// A fresh random id, issued now, expiring after `lifetime`; the caller fills in the rest.
[[nodiscard]] Request new_request(const ClusterView& cluster, const IdentityKey& initiator,
                                  Operation operation, std::chrono::milliseconds lifetime,
                                  Random& random);

/// A signed request, and the rules that judge its answers.
struct PreparedRequest {
  ByteVector submit_arguments;  ///< of the control command `submit`
  ClientRules rules;
};
/// `key`: what is known about the key to sign with.
[[nodiscard]] Outcome<PreparedRequest> prepare(const ClusterView& cluster,
                                               const IdentityKey& initiator, Request request,
                                               const std::optional<KeyView>& key);

}  // namespace cosigner::ctl
