// cosignerctl doctor: each verdict, from facts as the node, the broker and the kernel give them.

#include <catch2/catch.hpp>

#include "supervisor/ctl/doctor_findings.h"

namespace cosigner::ctl::test {
namespace {

Json good_status() {
  return Json{{"node", "node1"},
              {"version", "0.1.0"},
              {"ready", true},
              {"degraded", Json::array()},
              {"broker", {{"connected", true}, {"detail", ""}}},
              {"workers", {{"ready", 1}, {"quarantined", 0}}},
              {"peers",
               {{{"node", "node1"}, {"self", true}, {"present", true}},
                {{"node", "node2"}, {"self", false}, {"present", true}}}}};
}

constexpr std::int64_t kNow = 1'800'000'000'000;

Json good_self_check() {
  return Json{{"store", {{"structure", "sound"}, {"detail", ""}}},
              {"free_bytes", 1ULL << 40U},
              {"wall_ms", kNow},
              {"max_workers", 100},
              {"workers_asked", 100},
              {"limits",
               {{"descriptors", 65536},
                {"processes", 131072},
                {"tasks", UINT64_MAX},
                {"locked_memory", UINT64_MAX}}},
              {"sandbox", {{"seccomp", "2"}, {"no_new_privileges", "1"}, {"landlock", 6}}}};
}

Verdict of(const std::vector<Finding>& findings, std::string_view check) {
  for (const Finding& finding : findings) {
    if (finding.check == check) {
      INFO(finding.detail);
      CHECK((finding.verdict == Verdict::kOk) == finding.remedy.empty());
      return finding.verdict;
    }
  }
  FAIL("no finding on " << check);
  return Verdict::kOk;
}

}  // namespace

TEST_CASE("doctor: a node that is well") {
  for (const Finding& finding : judge_status(good_status())) {
    INFO(finding.check << ": " << finding.detail);
    CHECK(finding.verdict == Verdict::kOk);
  }
  for (const Finding& finding : judge_self_check(good_self_check(), kNow)) {
    INFO(finding.check << ": " << finding.detail);
    CHECK(finding.verdict == Verdict::kOk);
  }
}

TEST_CASE("doctor: what a node finds in itself") {
  struct Fault {
    const char* pointer;
    Json value;
    const char* check;
    Verdict verdict;
  };
  const std::vector<Fault> faults = {
      {"/store/structure", "damaged", "store", Verdict::kFailed},
      {"/store/structure", "unknown", "store", Verdict::kWarning},
      {"/store", Json::object(), "store", Verdict::kFailed},
      {"/free_bytes", 100U << 20U, "space", Verdict::kWarning},
      {"/free_bytes", 1U << 20U, "space", Verdict::kFailed},
      {"/wall_ms", kNow + 120'000, "clock", Verdict::kFailed},
      {"/wall_ms", kNow - 120'000, "clock", Verdict::kFailed},
      {"/limits/descriptors", 683, "descriptors", Verdict::kWarning},
      {"/limits/descriptors", 684, "descriptors", Verdict::kOk},
      {"/workers_asked", 21'718, "descriptors", Verdict::kWarning},
      {"/workers_asked", 21'717, "descriptors", Verdict::kOk},
      {"/limits/processes", 599, "processes", Verdict::kWarning},
      {"/limits/tasks", 599, "tasks", Verdict::kWarning},
      {"/limits/tasks", 600, "tasks", Verdict::kOk},
      {"/limits/locked_memory", 0, "locked memory", Verdict::kWarning},
      {"/limits/locked_here", "0 kB", "locked memory", Verdict::kWarning},
      {"/limits/locked_here", "12 kB", "locked memory", Verdict::kOk},
      {"/sandbox/seccomp", "0", "sandbox", Verdict::kWarning},
      {"/sandbox/no_new_privileges", "0", "sandbox", Verdict::kWarning},
      {"/sandbox/landlock", 0, "landlock", Verdict::kWarning},
      {"/sandbox/landlock", 3, "landlock", Verdict::kWarning},
      {"/sandbox", {{"landlock", 0}, {"landlock_refused", true}}, "landlock", Verdict::kWarning},
  };
  for (const Fault& fault : faults) {
    INFO(fault.pointer << " = " << fault.value.dump());
    Json reply = good_self_check();
    reply[Json::json_pointer(fault.pointer)] = fault.value;
    CHECK(of(judge_self_check(reply, kNow), fault.check) == fault.verdict);
  }
}

TEST_CASE("doctor: what was refused or could not be read is not said to be missing") {
  Json reply = good_self_check();
  reply["sandbox"] = {
      {"seccomp", ""}, {"no_new_privileges", ""}, {"landlock", 0}, {"landlock_refused", true}};
  for (const Finding& finding : judge_self_check(reply, kNow)) {
    if (finding.check == "sandbox") {
      CHECK(finding.detail == "the gateway's walls could not be read");
    } else if (finding.check == "landlock") {
      CHECK(finding.detail == "refused by the system-call filter around the node");
      CHECK(finding.remedy.find("landlock_restrict_self") != std::string::npos);
    }
  }
}

TEST_CASE("doctor: what a node says about itself") {
  Json status = good_status();
  status["ready"] = false;
  status["degraded"] = {"no gateway: backoff"};
  CHECK(of(judge_status(status), "node") == Verdict::kFailed);
  status = good_status();
  status["broker"] = {{"connected", false}, {"detail", "authorization violation"}};
  CHECK(of(judge_status(status), "credentials") == Verdict::kFailed);
  status = good_status();
  status["peers"][1]["present"] = false;
  CHECK(of(judge_status(status), "peers") == Verdict::kWarning);
  status = good_status();
  status["workers"]["quarantined"] = 2;
  CHECK(of(judge_status(status), "users") == Verdict::kWarning);
  CHECK(of(judge_status(Json::object()), "node") == Verdict::kFailed);
}

TEST_CASE("doctor: room for the store") {
  CHECK(judge_space(1ULL << 40U).verdict == Verdict::kOk);
  CHECK(judge_space(100ULL << 20U).verdict == Verdict::kWarning);
  CHECK(judge_space(1ULL << 20U).verdict == Verdict::kFailed);
}

TEST_CASE("doctor: the kernel") {
  CHECK(of(judge_kernel({true, 1000, 4'194'304}, 10'000), "clock") == Verdict::kOk);
  CHECK(of(judge_kernel({false, 0, 4'194'304}, 10'000), "clock") == Verdict::kWarning);
  CHECK(of(judge_kernel({true, 60'000'000, 4'194'304}, 10'000), "clock") == Verdict::kWarning);
  CHECK(of(judge_kernel({true, 1000, 32'768}, 10'000), "pid_max") == Verdict::kWarning);
}

TEST_CASE("doctor: the broker's first line") {
  const BrokerFacts good = parse_broker_info(
      R"(INFO {"server_id":"N","version":"2.9.10","max_payload":4194304,"auth_required":true})");
  CHECK(judge_broker("nats://x", good).verdict == Verdict::kOk);
  CHECK(good.version == "2.9.10");
  CHECK(judge_broker("nats://x",
                     parse_broker_info(R"(INFO {"max_payload":1048576,"auth_required":true})"))
            .verdict == Verdict::kFailed);
  CHECK(judge_broker("nats://x", parse_broker_info(R"(INFO {"max_payload":4194304})")).verdict ==
        Verdict::kFailed);
  for (const char* nonsense : {"", "INFO", "INFO {", "SSH-2.0-OpenSSH", "INFO [1]"}) {
    CHECK_FALSE(parse_broker_info(nonsense).reached);
    CHECK(judge_broker("nats://x", parse_broker_info(nonsense)).verdict == Verdict::kFailed);
  }
}

}  // namespace cosigner::ctl::test
