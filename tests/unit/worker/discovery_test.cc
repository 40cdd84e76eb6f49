// Service discovery: what is answered, to what, and what not. The services client of npm's nats
// reads it in tests/client-js.

#include "worker/gateway/discovery.h"

#include <catch2/catch.hpp>

using cosigner::worker::Discovery;

namespace {

Discovery one() {
  return Discovery("demo", "node1", 17, 1'790'000'000'000);
}

}  // namespace

TEST_CASE("discovery: every form of the subjects of ADR-32 that is for this service is answered") {
  const Discovery discovery = one();
  for (const char* verb : {"PING", "INFO", "STATS"}) {
    const std::string subject = std::string("$SRV.") + verb;
    const auto all = discovery.answer(subject);
    REQUIRE(all);
    CHECK(discovery.answer(subject + ".cosigner") == all);
    CHECK(discovery.answer(subject + ".cosigner.node1-17") == all);
    CHECK_FALSE(discovery.answer(subject + ".other"));
    CHECK_FALSE(discovery.answer(subject + ".cosigner.node1-18"));
    CHECK_FALSE(discovery.answer(subject + ".cosigner.node1-17.more"));
  }
  for (const char* subject : {"$SRV", "$SRV.", "$SRV.SCHEMA", "SRV.PING", "", "$SRV.ping"}) {
    CHECK_FALSE(discovery.answer(subject));
  }
}

TEST_CASE("discovery: the answers say which node it is and what it did") {
  Discovery discovery = one();
  discovery.answered(2000);
  discovery.answered(4000);
  discovery.refused("unauthorized");
  const std::string head = R"("name":"cosigner","id":"node1-17","version":")" COSIGNER_VERSION
                           R"(","metadata":{"cluster":"demo","node":"node1"})";
  const std::string endpoint =
      R"("name":"request","subject":"cosigner.demo.request","queue_group":"")";
  CHECK(*discovery.answer("$SRV.PING") ==
        R"({"type":"io.nats.micro.v1.ping_response",)" + head + "}");
  CHECK(*discovery.answer("$SRV.INFO") ==
        R"({"type":"io.nats.micro.v1.info_response",)" + head +
            R"(,"description":"threshold-signing node","endpoints":[{)" + endpoint +
            R"(,"metadata":{}}]})");
  CHECK(*discovery.answer("$SRV.STATS") ==
        R"({"type":"io.nats.micro.v1.stats_response",)" + head +
            R"(,"started":"2026-09-21T14:13:20Z","endpoints":[{)" + endpoint +
            R"(,"num_requests":3,"num_errors":1,"last_error":"unauthorized",)"
            R"("processing_time":6000,"average_processing_time":3000}]})");
}
