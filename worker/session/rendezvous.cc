#include "worker/session/rendezvous.h"

#include <algorithm>
#include <utility>

#include "crypto/base/hash.h"

namespace cosigner::worker {

CoordinatorOrder::CoordinatorOrder(const SessionId& session,
                                   const std::vector<Participant>& participants) {
  std::vector<std::pair<Digest, std::string>> ranked;
  ranked.reserve(participants.size());
  for (const Participant& participant : participants) {
    ranked.emplace_back(
        TaggedHash(tag::kCoordinatorOrder).part(session).part(participant.node).finish(),
        participant.node);
  }
  std::ranges::sort(ranked);
  for (auto& [rank, node] : ranked) {
    order_.push_back(std::move(node));
  }
}

namespace {

void add_scope(TaggedHash& hash, const AttemptScope& scope) {
  hash.part(scope.cluster)
      .part(scope.user)
      .part(scope.key)
      .part_u64(scope.epoch)
      .part(scope.session)
      .part_u16(scope.attempt);
}

}  // namespace

Digest hello_set_digest(const AttemptScope& scope, const std::vector<SignedHello>& hellos) {
  TaggedHash hash(tag::kHelloSet);
  add_scope(hash, scope);
  for (const SignedHello& hello : hellos) {
    hash.part(hello_digest(scope.cluster, scope.user, hello.body));
  }
  return hash.finish();
}

Digest attempt_context(const AttemptScope& scope, Scheme scheme, std::uint16_t threshold,
                       const std::vector<Participant>& participants,
                       const std::vector<Ed25519PublicKey>& identities) {
  TaggedHash hash(tag::kAttempt);
  add_scope(hash, scope);
  hash.part(scheme_name(scheme)).part_u16(threshold);
  for (const Participant& participant : participants) {
    hash.part_u16(participant.index).part(participant.node);
  }
  for (const Ed25519PublicKey& identity : identities) {
    hash.part(identity);
  }
  return hash.finish();
}

}  // namespace cosigner::worker
