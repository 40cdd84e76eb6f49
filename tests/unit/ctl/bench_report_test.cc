// What `bench` says when requests fail, and which of its options contradict each other.

#include <catch2/catch.hpp>
#include <sstream>

#include "supervisor/ctl/commands.h"

namespace cosigner::ctl {
namespace {

BenchReport report_with(std::map<std::string, std::uint64_t> errors) {
  BenchReport report("sign", {});
  report.latencies.add(std::chrono::milliseconds(3));
  report.errors = std::move(errors);
  return report;
}

/// How `bench sign` ends that names no node to ask.
Failure bench_refused(const std::string& scheme, BenchOptions options, bool json = true) {
  const std::atomic<bool> interrupted{false};
  std::ostringstream out;
  const Context context{"/nonexistent/control.sock", "", json, out, interrupted};
  const auto ran = run_bench(context, BenchKind::kSign, scheme, std::move(options));
  REQUIRE_FALSE(ran);
  CHECK(out.str().empty());
  return ran.error();
}

}  // namespace

TEST_CASE("a bench without errors has no error in its report") {
  const BenchReport report = report_with({});
  CHECK_FALSE(report.failure());
  const Json json = report.json();
  CHECK_FALSE(json.contains("error"));
  CHECK(json["errors"] == 0);
}

TEST_CASE("a bench's report with errors is an error like every other") {
  BenchReport report = report_with({{"overloaded", 2}, {"peer_timeout", 5}, {"rate_limited", 1}});
  const bool may_have_executed = GENERATE(false, true);
  report.may_have_executed = may_have_executed;
  const auto failure = report.failure();
  REQUIRE(failure);
  CHECK(failure->status == ExitStatus::kRefused);
  CHECK(failure->reported);
  CHECK(failure->error.code == ErrorCode::kPeerTimeout);
  CHECK(failure->error.message == "8 requests failed.");
  const Json json = report.json();
  CHECK(json["error"] == "peer_timeout");
  CHECK(json["message"] == "8 requests failed.");
  CHECK(json["may_have_executed"] == may_have_executed);
  CHECK(json["errors"] == 8);
  CHECK(json["errors_by_name"]["overloaded"] == 2);
  CHECK(json["signatures"] == 1);
}

TEST_CASE("a bench counts its errors by name and keeps what the first of each said") {
  BenchReport report("sign", {});
  report.add({.code = ErrorCode::kOverloaded, .message = "full", .may_have_executed = false});
  report.add({.code = ErrorCode::kPeerTimeout, .message = "late", .may_have_executed = true});
  report.add({.code = ErrorCode::kOverloaded, .message = "full again"});
  CHECK(report.error_count() == 3);
  CHECK(report.may_have_executed);
  const Json json = report.json();
  CHECK(json["errors_by_name"] == Json{{"overloaded", 2}, {"peer_timeout", 1}});
  CHECK(json["first_messages"] == Json{{"overloaded", "full"}, {"peer_timeout", "late"}});
  CHECK(report.text().find("\n  the first overloaded: full\n") != std::string::npos);
}

TEST_CASE("a bench of first signatures says how long the processes took to be ready") {
  BenchReport report("first-signature", {});
  report.latencies.add(std::chrono::milliseconds(9));
  for (const int milliseconds : {4, 2, 3}) {
    report.starts.add(std::chrono::milliseconds(milliseconds));
  }
  const Json starts = report.json()["order_to_ready"];
  CHECK(starts["processes"] == 3);
  CHECK(starts["p50_ms"] == 3.0);
  CHECK(starts["max_ms"] == 4.0);
  CHECK(report.text().find("order to ready process: p50 3.00 ms") != std::string::npos);
  CHECK_FALSE(report_with({}).json().contains("order_to_ready"));
}

TEST_CASE("bench: every latency is listed where it was asked for, in JSON") {
  BenchReport report = report_with({});
  CHECK_FALSE(report.json().contains("latencies_us"));
  report.options.latencies = true;
  report.latencies.add(std::chrono::milliseconds(3));
  report.latencies.add(std::chrono::microseconds(12'349));
  CHECK(report.json()["latencies_us"].dump() == "[[3000,2],[12300,1]]");
}

TEST_CASE("a bench whose connection broke says so, and keeps what it had measured") {
  BenchReport report = report_with({{"overloaded", 2}});
  report.lost =
      failed(ExitStatus::kUnreachable, ErrorCode::kPeerUnreachable, "the socket was closed.")
          .error();
  report.lost->error.may_have_executed = true;
  const auto failure = report.failure();
  REQUIRE(failure);
  CHECK(failure->status == ExitStatus::kUnreachable);
  CHECK(failure->reported);
  const Json json = report.json();
  CHECK(json["error"] == "peer_unreachable");
  CHECK(json["may_have_executed"] == true);
  CHECK(json["lost"]["error"] == "peer_unreachable");
  CHECK(json["signatures"] == 1);
}

TEST_CASE("bench: --presigned wants an ECDSA key and a number of signatures, --latencies --json") {
  BenchOptions timed;
  timed.presigned = true;
  timed.duration_s = 5;
  CHECK(bench_refused("ecdsa-secp256k1", timed).status == ExitStatus::kUsage);
  BenchOptions counted;
  counted.presigned = true;
  counted.count = 5;
  CHECK(bench_refused("ed25519", counted).status == ExitStatus::kUsage);
  // These go together: what is missing is the initiator's key.
  CHECK(bench_refused("ecdsa-secp256k1", counted).status == ExitStatus::kConfiguration);
  // --latencies goes into the JSON object.
  BenchOptions listed;
  listed.latencies = true;
  CHECK(bench_refused("ed25519", listed, false).status == ExitStatus::kUsage);
  CHECK(bench_refused("ed25519", listed, true).status == ExitStatus::kConfiguration);
}

}  // namespace cosigner::ctl
