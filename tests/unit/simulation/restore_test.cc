// One node's whole store is put back from an earlier copy while its peers have gone on.
// README.Debian, "Backup", forbids it and says what becomes of it; this is held to that:
// - no signature is wrong, no record of a key is replaced, every request has one answer;
// - the node signs on with keys of before, and says unknown_key of later ones, which the others
// use;
// - it has forgotten which requests were served, and its peers have not: none signs two messages;
// - its own bans are forgotten, those of its peers stand; OT state that was renewed since keeps the
//   pair apart until it is renewed again;
// - a generation that peers have met is not listened to again, presignatures bound to it least.
#include "tests/support/ecdsa_cluster.h"
#include "tests/support/full.h"
#include "tests/support/presign_cluster.h"
#include "tests/support/request_answers.h"
#include "tests/unit/simulation/invariants.h"

using namespace cosigner;
using namespace cosigner::test;

namespace {

/// cosignerd begins no block of generations below what its clock says, so that those after a
/// restore are new; if the clock was put back as well, it goes on where the copy ends.
enum class ClockAfterRestore : std::uint8_t { kGoesOn, kPutBack };

/// The node goes down, worker and supervisor, another disk is put in, and it comes up.
void put_back(EngineCluster& cluster, EngineCluster::Node& node, const SimulatedStore& copy,
              ClockAfterRestore clock) {
  cluster.set_present(node, false);
  cluster.run(kSecond);
  cluster.kill(node);
  cluster.run(kSecond);  // what was on its way to the disk that is taken out
  REQUIRE(node.engine == nullptr);
  const std::uint64_t used = node.store->generation;
  REQUIRE(used > copy.generation);
  node.store = std::make_unique<SimulatedStore>(copy);
  if (clock == ClockAfterRestore::kGoesOn) {
    node.store->generation = used;
  }
  cluster.set_present(node, true);
}

/// What each node that is there answers.
using AnswersByNode = std::map<std::string, RequestAnswer>;

AnswersByNode answers_to(EngineCluster& cluster, const Request& request) {
  const auto works = cluster.ask_all(cluster.sign(request).envelope);
  REQUIRE(cluster.settle(works));
  AnswersByNode out;
  for (const std::uint64_t id : works) {
    out[cluster.work(id).node] = cluster.answer(id);
  }
  return out;
}

std::string outcome_of(const RequestAnswer& answer) {
  const Error* error = error_of(answer);
  return error == nullptr ? "ok" : std::string(error_name(error->code));
}

/// A signature of this request by this key; a false one ends the test.
bool is_signature(const RequestAnswer& answer, const Request& request,
                  const ByteVector& public_key) {
  const auto* made = std::get_if<SignResult>(&answer.content);
  if (made == nullptr) {
    return false;
  }
  REQUIRE(made->public_key == public_key);
  REQUIRE(verify_signature_vartime(made->scheme, public_key, request.message, made->signature));
  return true;
}

/// How often this node has refused a worker's certificate for its generation.
std::uint64_t generations_refused(const EngineCluster& cluster, std::size_t index) {
  return cluster.counters(index).stale_generation + cluster.counters(index).equivocations;
}

void an_older_store(std::uint64_t seed) {
  CAPTURE(seed);
  EngineCluster cluster(seed, 3);
  EngineCluster::Node& restored = cluster.node(1);
  const ByteVector key = cluster.make_key("k", 2);
  const SimulatedStore copy = *restored.store;

  cluster.kill(restored);
  check_usable(cluster, "k", key);
  const Request served = cluster.sign_request("k", {1});
  const Request forgotten = cluster.sign_request("k", {2});
  for (const Request* request : {&served, &forgotten}) {
    for (const auto& [node, answer] : answers_to(cluster, *request)) {
      REQUIRE(is_signature(answer, *request, key));
    }
  }
  const ByteVector late = cluster.make_key("late", 2);
  REQUIRE(restored.store->active.contains("late"));
  put_back(cluster, restored, copy, ClockAfterRestore::kGoesOn);
  REQUIRE_FALSE(restored.store->active.contains("late"));

  // Keys of before: at every node, and with this one needed.
  check_usable(cluster, "k", key);
  cluster.node(0).cut = true;
  cluster.set_present(cluster.node(0), false);
  const Request needed = cluster.sign_request("k", {3});
  const AnswersByNode two = answers_to(cluster, needed);
  CHECK(two.size() == 2);
  for (const auto& [node, answer] : two) {
    CHECK(is_signature(answer, needed, key));
  }
  cluster.node(0).cut = false;
  cluster.set_present(cluster.node(0), true);
  cluster.run(100 * kMs);

  // What it signed and does not know of any more, its peers know of.
  for (const auto& [node, answer] : answers_to(cluster, served)) {
    INFO(node << ": " << outcome_of(answer));
    CHECK(is_signature(answer, served, key));
  }
  Request other_bytes = forgotten;
  other_bytes.message = {4};
  for (const auto& [node, answer] : answers_to(cluster, other_bytes)) {
    CAPTURE(node);
    CHECK(outcome_of(answer) != "ok");
    CHECK((node == "n2" || outcome_of(answer) == "replayed"));
  }

  // Keys made since: the others sign, this one says that it has none, for good.
  const Request later = cluster.sign_request("late", {5});
  AnswersByNode said = answers_to(cluster, later);
  CHECK(is_signature(said["n1"], later, late));
  CHECK(is_signature(said["n3"], later, late));
  const Error* unknown = error_of(said["n2"]);
  REQUIRE(unknown != nullptr);
  CHECK(unknown->code == ErrorCode::kUnknownKey);
  CHECK_FALSE(unknown->retryable);
  CHECK_FALSE(unknown->may_have_executed);
  CHECK(unknown->message.find("other nodes that have it sign without this one") !=
        std::string::npos);

  // Nobody makes another key of that name, and the forgetful node has acknowledged nothing new.
  const ByteVector record = cluster.node(0).store->active.at("late").record;
  const std::size_t promises = restored.store->acknowledged.size();
  for (const auto& [node, answer] : answers_to(cluster, cluster.keygen_request("late", 2))) {
    CAPTURE(node);
    CHECK(outcome_of(answer) == "already_exists");
  }
  cluster.run(30 * kSecond);
  CHECK(cluster.node(0).store->active.at("late").record == record);
  CHECK(cluster.node(2).store->active.at("late").record == record);
  CHECK_FALSE(restored.store->active.contains("late"));
  CHECK_FALSE(restored.store->pending.contains("late"));
  CHECK(restored.store->acknowledged.size() == promises);

  // New keys are made with it as before.
  const ByteVector next = cluster.make_key("next", 3);
  check_usable(cluster, "next", next);
  cluster.run(30 * kSecond);
  check_invariants(cluster);
}

/// n1 has banned n3, which cheats in what it sends to n1.
void let_n1_ban_n3(EcdsaCluster& cluster) {
  Cheat cheat(cluster, "n3", "n1", 1);
  cluster.filter = std::ref(cheat);
  for (int i = 0; i < 20 && !cluster.banned("n1", "n3"); ++i) {
    REQUIRE(cluster.signs({"n1", "n2"}, i % 2 == 0 ? "n1" : "n3"));
  }
  cluster.filter = nullptr;
  REQUIRE(cluster.banned("n1", "n3"));
  cluster.run(kSecond);
}

/// What n1 and n3 answer while n2 is away.
std::vector<RequestAnswer> alone_with_n3(EcdsaCluster& cluster) {
  cluster.away("n2", true);
  const auto works = cluster.ask_all(cluster.request().envelope);
  REQUIRE(works.size() == 2);
  REQUIRE(cluster.settle(works, 40 * kSecond));
  std::vector<RequestAnswer> out;
  for (const std::uint64_t id : works) {
    out.push_back(cluster.answer(id));
    CHECK((!cluster.answer(id).ok() || cluster.good(id)));
  }
  cluster.away("n2", false);
  return out;
}

}  // namespace

TEST_CASE("a whole older store put back: old keys sign, later ones are unknown, nothing twice",
          "[simulation]") {
  each_seed(3, 200, an_older_store);
}

TEST_CASE("a whole older store and an older clock: peers listen to no generation twice",
          "[simulation]") {
  EngineCluster cluster(11, 3);
  EngineCluster::Node& restored = cluster.node(1);
  const ByteVector key = cluster.make_key("k", 2);
  const SimulatedStore copy = *restored.store;
  for (int deaths = 0; deaths < 2; ++deaths) {
    cluster.kill(restored);
    check_usable(cluster, "k", key);  // all have met the next one
  }
  cluster.run(kSecond);
  const std::uint64_t used = restored.store->generation;
  put_back(cluster, restored, copy, ClockAfterRestore::kPutBack);
  std::uint8_t message = 0;
  for (std::uint64_t again = copy.generation + 1; again <= used; ++again) {
    CAPTURE(again, used);
    const std::uint64_t before = generations_refused(cluster, 0) + generations_refused(cluster, 2);
    const Request request = cluster.sign_request("k", {++message});
    AnswersByNode said = answers_to(cluster, request);
    REQUIRE(restored.generation == again);
    CHECK(is_signature(said["n1"], request, key));
    CHECK(is_signature(said["n3"], request, key));
    CHECK(generations_refused(cluster, 0) + generations_refused(cluster, 2) > before);
    if (again < used) {
      // It hears nothing that it could open: an error with a name, which says that it may pass.
      const Error* error = error_of(said["n2"]);
      REQUIRE(error != nullptr);
      INFO(error_name(error->code) << ": " << error->message);
      CHECK((error->code == ErrorCode::kPeerUnreachable || error->code == ErrorCode::kPeerTimeout));
      CHECK(error->retryable);
    }
    cluster.run(kSecond);
    cluster.kill(restored);
    cluster.run(kSecond);
    REQUIRE(restored.engine == nullptr);
  }
  // The last of them was of the number that its peers had met last, with other keys: they say so.
  const auto noticed = [](const std::string& line) {
    return line.find("n2 certified two workers with one generation") != std::string::npos;
  };
  CHECK(std::ranges::any_of(cluster.log, noticed));
  check_usable(cluster, "k", key);  // by the first number that is new
  cluster.run(30 * kSecond);
  check_invariants(cluster);
}

TEST_CASE("a whole older store: a peer's ban stands, the node's own is forgotten and made again",
          "[simulation]") {
  EcdsaCluster cluster(3, 3, 2);
  REQUIRE(cluster.signs({"n1", "n2", "n3"}));
  cluster.run(kSecond);
  const SimulatedStore of_n1 = *cluster.node(0).store;
  const SimulatedStore of_n3 = *cluster.node(2).store;
  for (const std::size_t index : {0U, 2U}) {
    cluster.kill(cluster.node(index));
  }
  let_n1_ban_n3(cluster);

  put_back(cluster, cluster.node(2), of_n3, ClockAfterRestore::kGoesOn);
  for (int i = 0; i < 6; ++i) {
    REQUIRE(cluster.signs({"n1", "n2", "n3"}));
  }
  CHECK(cluster.banned("n1", "n3"));
  CHECK_FALSE(cluster.stored_pair("n1", 3));  // its half of the OT state is gone for good
  const std::vector<RequestAnswer> refused = alone_with_n3(cluster);
  CHECK_FALSE(refused[0].ok());
  CHECK_FALSE(refused[1].ok());
  CHECK(outcome_of(refused[0]) == "banned");

  // SECURITY.md: forgotten. What it costs is the next failed check, no more.
  put_back(cluster, cluster.node(0), of_n1, ClockAfterRestore::kGoesOn);
  CHECK_FALSE(cluster.banned("n1", "n3"));
  let_n1_ban_n3(cluster);
  CHECK(cluster.bans() == 1);
  CHECK(cluster.signs({"n1", "n2", "n3"}));
}

TEST_CASE(
    "a whole older store: OT state that was renewed since keeps the pair apart, and bans nobody",
    "[simulation]") {
  EcdsaCluster cluster(4, 3, 2);
  cluster.settings.presignature_pool = 4;  // presigning meets the two states as well, unasked
  REQUIRE(cluster.signs({"n1", "n2", "n3"}));
  cluster.run(kSecond);
  const SimulatedStore copy = *cluster.node(0).store;
  cluster.kill(cluster.node(0));
  REQUIRE(cluster.signs({"n1", "n2", "n3"}));
  cluster.order_renewal(cluster.node(2), "k", "n1");
  REQUIRE(cluster.run(10 * kSecond, [&] { return cluster.renewed("n1", 1, "n3", 3); }));
  cluster.run(kSecond);
  put_back(cluster, cluster.node(0), copy, ClockAfterRestore::kGoesOn);
  REQUIRE(cluster.stored_pair("n1", 3) != cluster.stored_pair("n3", 1));
  for (int i = 0; i < 6; ++i) {
    REQUIRE(cluster.signs({"n1", "n2", "n3"}));
  }
  const std::vector<RequestAnswer> refused = alone_with_n3(cluster);
  CHECK_FALSE(refused[0].ok());
  CHECK_FALSE(refused[1].ok());
  const auto says_what_to_do = [](const RequestAnswer& answer) {
    const Error* error = error_of(answer);
    return error != nullptr && error->code == ErrorCode::kBanned &&
           error->message.find("before their OT state is renewed") != std::string::npos;
  };
  CHECK(std::ranges::any_of(refused, says_what_to_do));
  CHECK(cluster.bans() == 0);
  cluster.order_renewal(cluster.node(0), "k", "n3");
  REQUIRE(cluster.run(10 * kSecond, [&] { return cluster.renewed("n1", 1, "n3", 3); }));
  for (const RequestAnswer& answer : alone_with_n3(cluster)) {
    CHECK(answer.ok());
  }
}

TEST_CASE("checklist: restore of a whole older store and clock cannot reuse a presignature",
          "[simulation]") {
  PresignCluster cluster(5, 3, 2);
  EngineCluster::Node& restored = cluster.node(1);
  const SimulatedStore copy = *restored.store;
  cluster.kill(restored);
  cluster.sign_one();
  cluster.presign(12);
  cluster.sign_one();
  cluster.run(kSecond);
  REQUIRE(restored.engine->presignatures("k").held > 0);
  const std::uint64_t used = restored.generation;
  put_back(cluster, restored, copy, ClockAfterRestore::kPutBack);
  const std::size_t uses = cluster.uses.size();
  for (int i = 0; i < 4; ++i) {
    const Request request = cluster.ecdsa_request();
    const auto works = cluster.ask_all(cluster.sign(request).envelope);
    REQUIRE(cluster.settle(works));
    CHECK(restored.generation == used);
    CHECK(cluster.check_signatures(works, request.message) == 2);
  }
  for (std::size_t i = uses; i < cluster.uses.size(); ++i) {
    CHECK(cluster.uses[i].node != "n2");
  }
  cluster.check_single_use();
  cluster.run(kSecond);
  cluster.kill(restored);
  cluster.run(kSecond);
  cluster.sign_one();
  CHECK(cluster.presign(6) == 6);
  cluster.sign_one();
  cluster.run(30 * kSecond);
  cluster.check_single_use();
  check_invariants(cluster);
}
