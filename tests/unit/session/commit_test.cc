// Commits that cannot be completed come to an end at every node that lives.
#include <catch2/catch.hpp>

#include "tests/support/double_agent.h"

using namespace cosigner;
using namespace cosigner::test;
using namespace cosigner::worker;

TEST_CASE("a refusal outlives the disk of its author: who has discarded on it hands it on") {
  const bool restarted = GENERATE(false, true);
  CAPTURE(restarted);
  EngineCluster cluster(31, 3);
  auto& first = cluster.node(0);
  auto& second = cluster.node(1);
  auto& refuser = cluster.node(2);
  refuser.store->fail_pending = true;  // it promises nothing, and so refuses
  DoubleAgent agent(cluster, "n3", [](const std::string& to, std::vector<ByteVector>& messages) {
    std::erase_if(messages,
                  [&](const ByteVector& message) { return to == "n2" && is<Refusal>(message); });
  });
  cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
    return agent(from, to, packet);
  };
  const auto works = cluster.ask_all(cluster.sign(cluster.keygen_request("k", 2)).envelope);
  REQUIRE(cluster.run(30 * kSecond, [&] { return !first.store->discarded.empty(); }));
  REQUIRE(second.store->pending.contains("k"));
  const Digest digest = first.store->discarded.begin()->first;
  REQUIRE(acknowledgement_digest(second.store->pending.at("k").record) == digest);

  // The refuser is gone for good, with what it had promised.
  cluster.kill(refuser);
  refuser.cut = true;
  cluster.set_present(refuser, false);
  if (restarted) {
    cluster.kill(first);
    cluster.start_worker(first);
  }
  CHECK(cluster.run(60 * kSecond, [&] { return second.store->discarded.contains(digest); }));
  CHECK(decode_statement(second.store->discarded[digest])->node == "n3");
  REQUIRE(cluster.settle(works));
  CHECK(cluster.counters(1).misbehaviours == 0);

  // The name is free again.
  REQUIRE(cluster.run(
      60 * kSecond, [&] { return first.store->pending.empty() && second.store->pending.empty(); }));
  const Request request = cluster.keygen_request("k", 2, 2);
  const std::vector<std::uint64_t> again{cluster.ask(first, cluster.sign(request).envelope),
                                         cluster.ask(second, cluster.sign(request).envelope)};
  REQUIRE(cluster.settle(again));
  CHECK(cluster.answer(again[0]).ok());
  CHECK(cluster.answer(again[1]).ok());
}

TEST_CASE("a refusal that contradicts an acknowledgement discards nothing, whoever brings it") {
  // n3 acknowledges to n1, and signs the opposite as well, which n2 hands on. n1 hears of nothing
  // else: neither n2's acknowledgement, for which it asks, nor the certificate that both hold.
  EngineCluster cluster(32, 3);
  bool lying = true;
  std::size_t brought = 0;
  DoubleAgent second(cluster, "n2", [&](const std::string& to, std::vector<ByteVector>& messages) {
    if (to != "n1" || !lying) {
      return;
    }
    std::erase_if(messages, is<Acknowledge>);
    for (ByteVector& message : messages) {
      if (!is<CommitCertificate>(message)) {
        continue;
      }
      const auto said = decoded<CommitCertificate>(message);
      Statement refusal{.kind = StatementKind::kKeyRefusal,
                        .cluster = "test",
                        .node = "n3",
                        .user = "alice",
                        .generation = 1,
                        .key = said.key,
                        .epoch = said.epoch,
                        .session = said.session,
                        .digest = said.digest,
                        .signature = {}};
      sign_statement(refusal, cluster.node(2).identity);
      message = encode_message(Refusal{said.key, encode_statement(refusal)});
      ++brought;
    }
  });
  DoubleAgent third(cluster, "n3", [&](const std::string& to, std::vector<ByteVector>& messages) {
    if (to == "n1" && lying) {
      std::erase_if(messages, is<CommitCertificate>);
    }
  });
  cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
    return second(from, to, packet) && third(from, to, packet);
  };
  const auto works = cluster.ask_all(cluster.sign(cluster.keygen_request("k", 2)).envelope);
  REQUIRE(cluster.run(30 * kSecond, [&] { return brought >= 2; }));
  cluster.run(kSecond);
  CHECK(cluster.node(0).store->discarded.empty());
  CHECK(cluster.counters(0).messages_refused >= 1);
  lying = false;
  REQUIRE(cluster.settle(works));
  for (const std::uint64_t id : works) {
    CHECK(cluster.answer(id).ok());
  }
  CHECK(cluster.node(0).store->active.contains("k"));
}
