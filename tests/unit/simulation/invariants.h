#pragma once
// What must hold at the end of every simulated run, whatever happened in it.

#include <catch2/catch.hpp>
#include <cstdlib>

#include "tests/support/engine_cluster.h"
#include "tests/support/full.h"

namespace cosigner::test {

/// Runs seeds 1, 2, …; or the one in COSIGNER_TEST_SEED, to look at a failure again.
template <class Run>
void each_seed(int quick, int full, Run run) {
  if (const char* seed = std::getenv("COSIGNER_TEST_SEED")) {
    run(std::strtoull(seed, nullptr, 10));
    return;
  }
  const int count = rounds(quick, full);
  for (int i = 1; i <= count; ++i) {
    run(static_cast<std::uint64_t>(i));
  }
}

/// Stops every fault: nodes are resumed and heard, nothing is lost any more.
inline void heal(EngineCluster& cluster) {
  cluster.faults = NetworkFaults{};
  cluster.filter = nullptr;
  cluster.watch = nullptr;
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    EngineCluster::Node& node = cluster.node(i);
    node.cut = false;
    node.store->fail_pending = false;
    cluster.resume(node);
    cluster.set_present(node, true);
  }
}

/// Every Work has exactly one answer; nothing false was answered; nodes agree on their keys.
inline void check_invariants(EngineCluster& cluster) {
  std::map<SessionId, ByteVector> records;
  for (const auto& [id, work] : cluster.works()) {
    INFO("work " << id << " at " << work.node);
    REQUIRE(work.answers.size() == 1);
    const std::int64_t took = work.answered_us - work.asked_us;
    const Request request = parse_request(cluster.envelope(id)).value().request;
    const bool keygen = request.operation != Operation::kSign;  // both take that long
    const std::int64_t limit = std::int64_t{keygen ? cluster.settings.keygen_deadline_ms
                                                   : cluster.settings.sign_deadline_ms};
    // A stopped worker answers when it is resumed, or its supervisor kills it.
    CHECK(took <= limit * kMs + cluster.longest_stop_us + 6 * kSecond);
    const RequestAnswer& answer = work.answers.front();
    if (const auto* sign = std::get_if<SignResult>(&answer.content)) {
      REQUIRE(verify_signature_vartime(sign->scheme, sign->public_key, request.message,
                                       sign->signature));
    } else if (const auto* made = std::get_if<KeygenResult>(&answer.content)) {
      const auto [found, first] = records.try_emplace(answer.session, made->record);
      REQUIRE((first || found->second == made->record));
      const KeyRecord record = decode_key_record(made->record).value();
      REQUIRE(
          verify_acknowledgements(record, made->record, made->acknowledgements, cluster.peers()));
    }
  }
  std::map<std::string, ByteVector> keys;
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    EngineCluster::Node& node = cluster.node(i);
    for (const auto& [name, key] : node.store->active) {
      const auto [found, first] = keys.try_emplace(name, key.record);
      REQUIRE((first || found->second == key.record));
    }
    if (node.engine != nullptr) {
      CHECK(node.engine->counters().exceptions == 0);
      CHECK(node.engine->in_flight() == 0);
    }
  }
  CHECK(cluster.dead.exceptions == 0);
}

/// Signs with a key at every node; all must succeed.
inline void check_usable(EngineCluster& cluster, const std::string& key,
                         const ByteVector& public_key, Scheme scheme = Scheme::kEd25519) {
  const ByteVector message(32, 7);
  Request request = cluster.sign_request(key, message);
  request.scheme = scheme;
  const auto works = cluster.ask_all(cluster.sign(request).envelope);
  REQUIRE(cluster.settle(works, 30 * kSecond));
  for (const std::uint64_t id : works) {
    const RequestAnswer& answer = cluster.answer(id);
    if (const auto* error = std::get_if<Error>(&answer.content)) {
      FAIL("no signature at " << cluster.work(id).node << ": " << error_name(error->code) << ": "
                              << error->message);
    }
    const auto& sign = std::get<SignResult>(answer.content);
    CHECK(sign.public_key == public_key);
    REQUIRE(verify_signature_vartime(sign.scheme, public_key, message, sign.signature));
  }
}

}  // namespace cosigner::test
