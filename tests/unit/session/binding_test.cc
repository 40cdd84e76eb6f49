// What attempts, presigning runs and renewals are bound to: change any of it and the digest
// changes, so that nothing said in one of them is worth anything in another (checklist line
// ToB-10).
#include <catch2/catch.hpp>
#include <functional>
#include <set>

#include "worker/session/pairs.h"
#include "worker/session/presign_run.h"
#include "worker/session/rendezvous.h"

using namespace cosigner;
using namespace cosigner::worker;

namespace {

struct Attempt {
  AttemptScope scope{
      .cluster = "test", .user = "alice", .key = "k", .epoch = 1, .session = {}, .attempt = 0};
  Scheme scheme = Scheme::kEd25519;
  std::uint16_t threshold = 2;
  std::vector<Participant> participants{{1, "n1"}, {2, "n2"}, {3, "n3"}};
  std::vector<Ed25519PublicKey> identities{3, Ed25519PublicKey()};
  std::vector<SignedHello> hellos{{.certificate = {}, .body = {1}, .signature = {}},
                                  {.certificate = {}, .body = {2}, .signature = {}}};

  [[nodiscard]] Digest context() const {
    return attempt_context(scope, scheme, threshold, participants, identities);
  }
  [[nodiscard]] Digest set() const { return hello_set_digest(scope, hellos); }
};

/// Every change gives a digest of its own.
template <class What>
void all_differ(const What& honest, const std::function<Digest(const What&)>& digest,
                const std::vector<std::function<void(What&)>>& changes) {
  CHECK(digest(honest) == digest(What(honest)));
  std::set<Digest> seen{digest(honest)};
  for (std::size_t i = 0; i < changes.size(); ++i) {
    CAPTURE(i);
    What other = honest;
    changes[i](other);
    CHECK(seen.insert(digest(other)).second);
  }
}

const std::vector<std::function<void(Attempt&)>> kScopeChanges{
    [](Attempt& a) { a.scope.cluster = "other"; }, [](Attempt& a) { a.scope.user = "bob"; },
    [](Attempt& a) { a.scope.key = "l"; }, [](Attempt& a) { a.scope.epoch = 2; },
    [](Attempt& a) { a.scope.session.data[0] = 1; }, [](Attempt& a) { a.scope.attempt = 1; },
    // The same letters, cut elsewhere.
    [](Attempt& a) {
      a.scope.user = "alicek";
      a.scope.key = "";
    }};

}  // namespace

TEST_CASE("ToB-10: everything an attempt is bound to changes its context") {
  auto changes = kScopeChanges;
  changes.insert(
      changes.end(),
      {[](Attempt& a) { a.scheme = Scheme::kEcdsaSecp256k1; }, [](Attempt& a) { a.threshold = 3; },
       [](Attempt& a) { a.participants[1].index = 4; },
       [](Attempt& a) { a.participants[1].node = "n4"; },
       [](Attempt& a) { std::swap(a.participants[0], a.participants[1]); },
       [](Attempt& a) { a.participants.pop_back(); },
       [](Attempt& a) { a.identities[2].data[31] = 1; },
       [](Attempt& a) { a.identities.pop_back(); }});
  all_differ<Attempt>(Attempt(), &Attempt::context, changes);
}

TEST_CASE("ToB-10: everything a set of hellos says changes its digest") {
  auto changes = kScopeChanges;
  changes.insert(changes.end(), {[](Attempt& a) { a.hellos[0].body = {3}; },
                                 [](Attempt& a) { a.hellos[1].body.push_back(0); },
                                 [](Attempt& a) { std::swap(a.hellos[0], a.hellos[1]); },
                                 [](Attempt& a) { a.hellos.pop_back(); }});
  all_differ<Attempt>(Attempt(), &Attempt::set, changes);
}

TEST_CASE("ToB-10: everything a presigning run is bound to changes its digest") {
  struct Run {
    std::string cluster = "test";
    std::string user = "alice";
    PresignRun::Setup setup;
    std::map<ParticipantIndex, ByteVector> hellos{{1, {1}}, {3, {3}}};
  };
  Run honest;
  honest.setup.key = "k";
  honest.setup.epoch = 1;
  honest.setup.signers = {Signer{1, "n1", 5}, Signer{3, "n3", 6}};
  honest.setup.owner = "n1";
  all_differ<Run>(
      honest,
      [](const Run& run) {
        return PresignRun::binding_of(run.cluster, run.user, run.setup, run.hellos);
      },
      {[](Run& r) { r.cluster = "other"; }, [](Run& r) { r.user = "bob"; },
       [](Run& r) { r.setup.key = "l"; }, [](Run& r) { r.setup.epoch = 2; },
       [](Run& r) { r.setup.record.data[0] = 1; }, [](Run& r) { r.setup.id.data[0] = 1; },
       [](Run& r) { r.setup.order.data[0] = 1; }, [](Run& r) { r.setup.owner = "n3"; },
       [](Run& r) { r.setup.number = 1; }, [](Run& r) { r.setup.signers[1].node = "n2"; },
       [](Run& r) { r.setup.signers[1].generation = 7; },
       [](Run& r) {
         r.setup.signers[1].index = 2;
         r.hellos[2] = r.hellos[3];
       },
       [](Run& r) { r.setup.signers.pop_back(); }, [](Run& r) { r.hellos[3] = {4}; }});
}

TEST_CASE("ToB-10: a renewal is the same for both nodes, and another for every key and epoch") {
  struct Pair {
    std::string cluster = "test";
    std::string user = "alice";
    KeyEpoch key;
    std::string a = "n1";
    std::string b = "n2";
  };
  Pair honest;
  honest.key.stored.key = "k";
  honest.key.record.epoch = 1;
  const auto digest = [](const Pair& pair) {
    const SessionId id = renewal_session(pair.cluster, pair.user, pair.key, pair.a, pair.b);
    return *Digest::from(id.view());
  };
  Pair turned = honest;
  std::swap(turned.a, turned.b);
  CHECK(digest(turned) == digest(honest));
  all_differ<Pair>(
      honest, digest,
      {[](Pair& p) { p.cluster = "other"; }, [](Pair& p) { p.user = "bob"; },
       [](Pair& p) { p.key.stored.key = "l"; }, [](Pair& p) { p.key.record.epoch = 2; },
       [](Pair& p) { p.key.digest.data[0] = 1; }, [](Pair& p) { p.b = "n3"; },
       [](Pair& p) { p.a = "n3"; }});
}
