// Presignatures through the engine: made by agreement, named by their owner alone, used once.
#include "tests/support/double_agent.h"
#include "tests/support/presign_cluster.h"
#include "worker/session/presign_messages.h"

using namespace cosigner;
using namespace cosigner::test;
using namespace cosigner::worker;

namespace {

/// The messages that steer a start, in the hands of a test.
template <class T>
T* first(std::vector<ByteVector>& messages, std::vector<ByteVector>::iterator& at, T& out) {
  at = std::ranges::find_if(messages, is<T>);
  if (at == messages.end()) {
    return nullptr;
  }
  out = decoded<T>(*at);
  return &out;
}

void install(PresignCluster& cluster, DoubleAgent& agent) {
  cluster.filter = [&agent](const std::string& from, const std::string& to, ByteVector& packet) {
    return agent(from, to, packet);
  };
}

}  // namespace

TEST_CASE("presignatures made on request: every participant owns a part, all members hold it") {
  PresignCluster cluster(1, 3, 2);
  CHECK(cluster.presign(12) == 12);
  for (std::size_t i = 0; i < 3; ++i) {
    // Four of its own, two with each peer; each peer has two of its own with it.
    CHECK(cluster.node(i).engine->presignatures("k").ready == 4);
    CHECK(cluster.node(i).engine->presignatures("k").held == 8);
    CHECK(cluster.node(i).engine->sessions() == 0);
  }
  for (int i = 0; i < 6; ++i) {
    cluster.sign_one();
  }
  CHECK(cluster.ready() == 6);
  CHECK(cluster.held() == 12);
  CHECK(cluster.uses.size() == 12);
  CHECK(cluster.sum(&Counters::presignatures_missing) == 0);
  cluster.check_single_use();
}

TEST_CASE("a presigned signature is assembled three one-way hops after the client's request") {
  PresignCluster cluster(2, 3, 2);
  cluster.presign(30);
  cluster.faults.delay_low_us = cluster.faults.delay_high_us = 10 * kMs;
  for (int i = 0; i < 5; ++i) {
    const std::size_t before = cluster.uses.size();
    const Request request = cluster.ecdsa_request();
    const auto works = cluster.ask_all(cluster.sign(request).envelope);
    REQUIRE(cluster.settle(works));
    REQUIRE(cluster.check_signatures(works, request.message) == 3);
    REQUIRE(cluster.uses.size() == before + 2);
    std::int64_t fastest = INT64_MAX;
    for (const std::uint64_t id : works) {
      fastest = std::min(fastest, cluster.work(id).answered_us - cluster.work(id).asked_us);
    }
    // The request is one hop (up to 0.25 ms here); the hello and the start are two of 10 ms.
    CHECK(fastest >= 20 * kMs);
    CHECK(fastest < 21 * kMs);
  }
}

TEST_CASE(
    "3-of-5: presignatures for every set, signatures with them, and without when they are used "
    "up") {
  PresignCluster cluster(3, 5, 3);
  CHECK(cluster.presign(30) == 30);
  CHECK(cluster.ready() == 30);
  CHECK(cluster.held() == 90);
  for (int i = 0; i < 12; ++i) {
    cluster.sign_one();
  }
  CHECK(cluster.uses.size() >= 3 * 10);
  CHECK(cluster.uses.size() % 3 == 0);
  CHECK(cluster.sum(&Counters::presignatures_missing) == 0);
  cluster.check_single_use();
}

TEST_CASE("the pool refills in the background once a key is in use, up to each node's own limit") {
  PresignCluster cluster(4, 3, 2, 6);
  cluster.run(2 * kSecond);
  CHECK(cluster.held() == 0);  // nobody has signed yet
  cluster.sign_one();
  REQUIRE(cluster.run(5 * kSecond, [&] { return cluster.ready() == 18; }));
  CHECK(cluster.held() == 36);
  cluster.run(kSecond);
  CHECK(cluster.ready() == 18);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(cluster.node(i).engine->idle());
  }
  for (int i = 0; i < 8; ++i) {
    cluster.sign_one();
  }
  CHECK(cluster.uses.size() == 16);
  REQUIRE(cluster.run(5 * kSecond, [&] { return cluster.ready() == 18; }));
  cluster.check_single_use();
}

TEST_CASE("a node that keeps no pool takes no proposals without a client's request") {
  PresignCluster cluster(5, 3, 2);
  cluster.settings.presignature_pool = 4;
  cluster.kill(cluster.node(0));
  cluster.sign_one();  // n1's next worker has another configuration than its peers
  cluster.run(3 * kSecond);
  CHECK(cluster.held() == 0);
  CHECK(cluster.sum(&Counters::presign_refused) > 0);
  CHECK(cluster.sum(&Counters::presign_refused) < 40);  // and it is asked less and less often
  CHECK(cluster.presign(6) == 6);
}

TEST_CASE("checklist: presig double use: a start that names what is not held costs that one only") {
  PresignCluster cluster(6, 3, 2);
  cluster.presign(12);
  // n1 names a presignature that nobody holds; what it took itself is gone all the same.
  DoubleAgent agent(cluster, "n1", [&](const std::string&, std::vector<ByteVector>& messages) {
    Start start;
    std::vector<ByteVector>::iterator at;
    if (first(messages, at, start) != nullptr && start.presignature != Digest{}) {
      start.presignature.data[3] ^= 1U;
      *at = encode_message(start);
    }
  });
  install(cluster, agent);
  Request request;
  const auto works = cluster.ask_all(cluster.coordinated_by("n1", request).envelope);
  REQUIRE(cluster.settle(works));
  CHECK(cluster.check_signatures(works, request.message) == 3);
  CHECK(cluster.sum(&Counters::presignatures_missing) == 1);
  CHECK(cluster.sum(&Counters::misbehaviours) == 0);
  CHECK(cluster.ready() == 11);
  cluster.filter = nullptr;
  cluster.sign_one();
  cluster.check_single_use();
}

TEST_CASE(
    "checklist: presig double use: a start repeated, or naming one that was used, gets no second "
    "share") {
  PresignCluster cluster(7, 3, 2);
  cluster.presign(24);
  std::optional<Start> kept;
  bool replay = false;
  DoubleAgent agent(cluster, "n1", [&](const std::string&, std::vector<ByteVector>& messages) {
    Start start;
    std::vector<ByteVector>::iterator at;
    if (first(messages, at, start) == nullptr || start.presignature == Digest{}) {
      return;
    }
    if (!kept) {
      kept = start;
      messages.push_back(*at);  // the same start twice
    } else if (replay) {
      start.presignature = kept->presignature;
      *at = encode_message(start);
      messages.push_back(encode_message(*kept));  // and the old one again
    }
  });
  install(cluster, agent);
  for (int i = 0; i < 4; ++i) {
    replay = i > 0;
    Request request;
    const auto works = cluster.ask_all(cluster.coordinated_by("n1", request).envelope);
    REQUIRE(cluster.settle(works));
    CHECK(cluster.check_signatures(works, request.message) == 3);
  }
  CHECK(cluster.sum(&Counters::presignatures_missing) == 3);
  // The one that was replayed was used by its owner and by one peer, each once.
  CHECK(std::ranges::count(cluster.uses, kept->presignature, &PresignCluster::Use::presignature) ==
        2);
  cluster.check_single_use();
}

TEST_CASE("a presignature is its owner's: nobody else may name it") {
  PresignCluster cluster(8, 3, 2);
  cluster.presign(12);
  std::optional<Digest> seen;
  DoubleAgent spy(cluster, "n1", [&](const std::string&, std::vector<ByteVector>& messages) {
    Start start;
    std::vector<ByteVector>::iterator at;
    if (!seen && first(messages, at, start) != nullptr && start.presignature != Digest{}) {
      seen = start.presignature;
      messages.clear();  // n1 names one of its own, but nobody hears of it
    }
  });
  install(cluster, spy);
  Request request;
  auto works = cluster.ask_all(cluster.coordinated_by("n1", request).envelope);
  REQUIRE(cluster.settle(works));
  CHECK(cluster.check_signatures(works, request.message) == 3);
  REQUIRE(seen);
  // The peer that was meant still holds it; another coordinator names it in vain.
  const std::uint64_t missing = cluster.sum(&Counters::presignatures_missing);
  for (const std::string other : {"n2", "n3"}) {
    DoubleAgent thief(cluster, other, [&](const std::string&, std::vector<ByteVector>& messages) {
      Start start;
      std::vector<ByteVector>::iterator at;
      if (first(messages, at, start) != nullptr && start.presignature != Digest{}) {
        start.presignature = *seen;
        *at = encode_message(start);
      }
    });
    install(cluster, thief);
    works = cluster.ask_all(cluster.coordinated_by(other, request).envelope);
    REQUIRE(cluster.settle(works));
    CHECK(cluster.check_signatures(works, request.message) == 3);
  }
  CHECK(cluster.sum(&Counters::presignatures_missing) == missing + 2);
  cluster.check_single_use();
}

TEST_CASE(
    "checklist: restore cannot reuse a presignature: another generation of any member drops them") {
  PresignCluster cluster(9, 3, 2);
  cluster.presign(12);
  REQUIRE(cluster.held() == 24);
  cluster.kill(cluster.node(1));
  cluster.sign_one();
  cluster.sign_one();
  cluster.run(kSecond);
  // What n1 and n3 made with each other is all that is left, but for what was used.
  CHECK(cluster.node(1).engine->presignatures("k").held == 0);
  CHECK(cluster.held() <= 8);
  const std::size_t uses = cluster.uses.size();
  for (int i = 0; i < 6; ++i) {
    cluster.sign_one();
  }
  for (std::size_t i = uses; i < cluster.uses.size(); ++i) {
    CHECK(cluster.uses[i].node != "n2");
  }
  CHECK(cluster.sum(&Counters::presignatures_missing) == 0);
  CHECK(cluster.presign(6) == 6);
  cluster.sign_one();
  cluster.check_single_use();
}

TEST_CASE(
    "requests for presignatures are served once, joined, and refused where they make no sense") {
  PresignCluster cluster(10, 3, 2);
  const SignedRequest request = cluster.sign(cluster.presign_request(6));
  auto works = cluster.ask_all(request.envelope);
  for (const std::uint64_t id : cluster.ask_all(request.envelope)) {
    works.push_back(id);
  }
  REQUIRE(cluster.settle(works));
  cluster.run(kSecond);
  for (const std::uint64_t id : cluster.ask_all(request.envelope)) {
    works.push_back(id);
  }
  REQUIRE(cluster.settle(works));
  for (const std::uint64_t id : works) {
    REQUIRE(std::holds_alternative<PresignResult>(cluster.answer(id).content));
    CHECK(std::get<PresignResult>(cluster.answer(id).content).made == 2);
  }
  CHECK(cluster.ready() == 6);

  Request unknown = cluster.presign_request(1);
  unknown.key = "another";
  const auto refused = cluster.ask_all(cluster.sign(unknown).envelope);
  REQUIRE(cluster.settle(refused));
  for (const std::uint64_t id : refused) {
    CHECK(std::get<Error>(cluster.answer(id).content).code == ErrorCode::kUnknownKey);
  }
  Request other = cluster.presign_request(1);
  other.scheme = Scheme::kEd25519;
  CHECK_FALSE(validate_request(other));
  other = cluster.presign_request(0);
  CHECK_FALSE(validate_request(other));
}

TEST_CASE("with one node gone the others make and use presignatures, with none left they say so") {
  PresignCluster cluster(11, 3, 2);
  cluster.node(2).cut = true;
  cluster.set_present(cluster.node(2), false);
  CHECK(cluster.presign(6) == 4);
  for (int i = 0; i < 4; ++i) {
    cluster.sign_one();
  }
  CHECK(cluster.uses.size() >= 6);
  cluster.node(1).cut = true;
  cluster.set_present(cluster.node(1), false);
  const auto works = cluster.ask_all(cluster.sign(cluster.presign_request(3)).envelope);
  REQUIRE(works.size() == 1);
  REQUIRE(cluster.settle(works));
  CHECK(std::get<Error>(cluster.answer(works[0]).content).code == ErrorCode::kQuorumUnavailable);
  cluster.check_single_use();
}

TEST_CASE("a full stock refuses more, with the error that says so") {
  PresignCluster cluster(12, 3, 2);
  for (std::size_t i = 0; i < 3; ++i) {
    cluster.kill(cluster.node(i));
  }
  cluster.settings.presignature_limit = 24;
  std::uint32_t made = 0;
  while (const std::uint32_t more = cluster.presign(60)) {
    made += more;
  }
  CHECK(made > 0);
  CHECK(cluster.held() == 2 * made);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(cluster.node(i).engine->presignatures("k").held <= 24);
  }
  const auto works = cluster.ask_all(cluster.sign(cluster.presign_request(60)).envelope);
  REQUIRE(cluster.settle(works));
  std::size_t full = 0;
  for (const std::uint64_t id : works) {
    const auto* error = std::get_if<Error>(&cluster.answer(id).content);
    REQUIRE(error != nullptr);
    full += error->code == ErrorCode::kOverloaded ? 1U : 0U;
  }
  CHECK(full > 0);
  cluster.sign_one();
}

TEST_CASE("a refill waits while sessions run, but for the low-water mark") {
  PresignCluster cluster(13, 3, 2, 8);
  cluster.sign_one();
  REQUIRE(cluster.run(5 * kSecond, [&] { return cluster.ready() == 24; }));
  // One session of n1 hangs: its hellos are lost.
  const SignedRequest stuck = cluster.sign(cluster.ecdsa_request());
  cluster.filter = [&](const std::string&, const std::string&, ByteVector& packet) {
    return packet_kind(packet) != PacketKind::kHello ||
           decode_fields<Hello>(decode_hello_packet(packet)->body)->session != stuck.session;
  };
  const std::vector<std::uint64_t> hanging{cluster.ask(cluster.node(0), stuck.envelope)};
  const auto sign_at_n1 = [&] {
    Request request;
    const auto works = cluster.ask_all(cluster.coordinated_by("n1", request).envelope);
    REQUIRE(cluster.settle(works));
    CHECK(cluster.check_signatures(works, request.message) == 3);
  };
  const auto ready = [&] { return cluster.node(0).engine->presignatures("k").ready; };
  for (int i = 0; i < 6; ++i) {
    sign_at_n1();
  }
  cluster.run(3 * kSecond);
  CHECK(ready() == 2);  // a quarter of eight: low enough, not too low
  sign_at_n1();
  REQUIRE(cluster.run(kSecond, [&] { return ready() == 2; }));
  cluster.run(2 * kSecond);
  CHECK(ready() == 2);
  REQUIRE_FALSE(cluster.answered(hanging));
  REQUIRE(cluster.settle(hanging));  // it ends with an error, and n1 is at leisure again
  REQUIRE(cluster.run(5 * kSecond, [&] { return ready() == 8; }));
  cluster.check_single_use();
}

TEST_CASE("staggered restarts: every signature is made, and the pools are rebuilt by agreement") {
  PresignCluster cluster(14, 3, 2, 6);
  cluster.sign_one();
  for (std::size_t round = 0; round < 6; ++round) {
    cluster.kill(cluster.node(round % 3));
    for (int i = 0; i < 3; ++i) {
      cluster.sign_one();
    }
    cluster.run(200 * kMs);
  }
  REQUIRE(cluster.run(20 * kSecond, [&] { return cluster.ready() == 18; }));
  CHECK(cluster.held() == 36);
  CHECK(cluster.sum(&Counters::presignatures_missing) == 0);
  const std::size_t uses = cluster.uses.size();
  cluster.sign_one();
  CHECK(cluster.uses.size() == uses + 2);
  cluster.check_single_use();
}
