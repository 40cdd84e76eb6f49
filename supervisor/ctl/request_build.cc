#include "supervisor/ctl/request_build.h"

#include <algorithm>

#include "ipc/pack.h"
#include "supervisor/service/clock.h"

namespace cosigner::ctl {

Request new_request(const ClusterView& cluster, const IdentityKey& initiator, Operation operation,
                    std::chrono::milliseconds lifetime, Random& random) {
  Request request;
  request.cluster = cluster.cluster;
  request.initiator = initiator.public_key();
  request.operation = operation;
  request.id = random.bytes<RequestId>();
  request.issued_at_ms = supervisor::wall_ms();
  request.expires_at_ms =
      request.issued_at_ms +
      std::min(static_cast<std::uint64_t>(lifetime.count()), kMaxRequestLifetimeMs);
  return request;
}

Outcome<PreparedRequest> prepare(const ClusterView& cluster, const IdentityKey& initiator,
                                 Request request, const std::optional<KeyView>& key) {
  const auto signed_request = sign_request(request, initiator);
  if (!signed_request) {
    return refused(signed_request.error());
  }
  ClientExpectation expectation{.cluster = cluster.cluster,
                                .nodes = cluster.nodes,
                                .request = std::move(request),
                                .session = signed_request->session,
                                .public_key = {},
                                .threshold = {},
                                .participants = {}};
  if (key) {
    expectation.public_key = key->public_key;
    expectation.threshold = key->threshold;
    expectation.participants = key->participants;
  }
  return PreparedRequest{ipc::MapPacker()
                             .bytes("envelope", signed_request->envelope)
                             .bytes("session", signed_request->session)
                             .finish(),
                         ClientRules(std::move(expectation))};
}

}  // namespace cosigner::ctl
