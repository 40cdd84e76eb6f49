// Metrics: the text form, and the contract of packaging/monitoring/metrics.md.

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "supervisor/metrics/node_metrics.h"

namespace cosigner::supervisor::test {
namespace {

NodeMetrics::Identity identity() {
  return {"1.0", "demo", "node1", {"node2", "node3"}};
}

/// The value of one line, such as `cosigner_ready` or `cosigner_workers{state="busy"}`.
std::string value_of(const std::string& text, const std::string& series) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(series + " ")) {
      return line.substr(series.size() + 1);
    }
  }
  return "(no line " + series + ")";
}

ipc::WorkerMetrics one_request() {
  ipc::RequestTally tally;
  tally.operation = "sign";
  tally.scheme = "ed25519";
  tally.outcome = "ok";
  tally.buckets.assign(ipc::kDurationBuckets, 0);
  tally.buckets[2] = 3;
  tally.total_us = 6000;
  ipc::WorkerMetrics metrics;
  metrics.requests.push_back(tally);
  return metrics;
}

/// What metrics.md says of each metric.
struct Promise {
  std::string kind;
  std::map<std::string, std::set<std::string>> labels;  ///< with the values it lists, if any
};

std::map<std::string, Promise> contract() {
  const std::filesystem::path file =
      std::filesystem::path(COSIGNER_SOURCE_DIR) / "packaging/monitoring/metrics.md";
  std::ifstream in(file);
  REQUIRE(in);
  std::map<std::string, Promise> out;
  static const std::regex kRow(R"(^\| `(cosigner_\w+)` \| (\w+)[^|]*\|([^|]*)\|.*$)");
  static const std::regex kWord("`([^`]+)`");
  for (std::string line; std::getline(in, line);) {
    std::smatch row;
    if (!std::regex_match(line, row, kRow)) {
      continue;
    }
    Promise promise{row[2], {}};
    // "`state`: `starting`, `ready`; `other`": the word before a colon or alone is a label.
    std::istringstream labels(row[3].str());
    for (std::string part; std::getline(labels, part, ';');) {
      const std::size_t colon = part.find(':');
      const std::string names = part.substr(0, colon);
      std::set<std::string> values;
      if (colon != std::string::npos) {
        const std::string list = part.substr(colon);
        for (std::sregex_iterator i(list.begin(), list.end(), kWord), end; i != end; ++i) {
          values.insert((*i)[1]);
        }
      }
      std::string last;
      for (std::sregex_iterator i(names.begin(), names.end(), kWord), end; i != end; ++i) {
        last = (*i)[1];
        promise.labels[last];
      }
      if (!last.empty()) {
        promise.labels[last] = values;
      }
    }
    out.emplace(row[1], promise);
  }
  return out;
}

/// Of each family of events, those that its table in metrics.md explains, in its order.
std::map<std::string, std::vector<std::string>> explained_events() {
  std::ifstream in(std::filesystem::path(COSIGNER_SOURCE_DIR) / "packaging/monitoring/metrics.md");
  REQUIRE(in);
  std::map<std::string, std::vector<std::string>> out;
  static const std::regex kFamily(R"(^`(cosigner_\w+_events_total)`\..*$)");
  static const std::regex kRow(R"(^\| `([a-z_]+)` \| .*$)");
  std::string family;
  for (std::string line; std::getline(in, line);) {
    std::smatch match;
    if (std::regex_match(line, match, kFamily)) {
      family = match[1];
    } else if (!family.empty() && std::regex_match(line, match, kRow)) {
      out[family].push_back(match[1]);
    }
  }
  return out;
}

}  // namespace

TEST_CASE("metrics: what is exposed is what metrics.md promises, no more and no less") {
  NodeMetrics metrics(identity());
  NodeMetrics::Sample sample;
  sample.users_in_state.assign(kUserStates, 0);
  const std::string text = metrics.text(sample);
  const auto promised = contract();
  REQUIRE(promised.size() > 30);

  std::map<std::string, std::string> kinds;
  std::map<std::string, std::map<std::string, std::set<std::string>>> labels;
  static const std::regex kType("# TYPE (\\w+) (\\w+)");
  static const std::regex kLabel("(\\w+)=\"([^\"]*)\"");
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (std::regex_match(line, match, kType)) {
      kinds[match[1]] = match[2];
    } else if (!line.starts_with("#")) {
      std::string name = line.substr(0, line.find_first_of("{ "));
      for (const std::string suffix : {"_bucket", "_sum", "_count"}) {
        const std::string base = name.substr(0, name.size() - std::min(name.size(), suffix.size()));
        if (name.ends_with(suffix) && kinds.contains(base)) {
          name = base;
        }
      }
      REQUIRE(kinds.contains(name));
      for (std::sregex_iterator i(line.begin(), line.end(), kLabel), end; i != end; ++i) {
        if ((*i)[1] != "le") {
          labels[name][(*i)[1]].insert((*i)[2]);
        }
      }
    }
  }
  for (const auto& [name, promise] : promised) {
    INFO(name);
    REQUIRE(kinds.contains(name));
    CHECK(kinds[name] == promise.kind);
    std::set<std::string> wanted;
    std::set<std::string> found;
    for (const auto& [label, values] : promise.labels) {
      wanted.insert(label);
      INFO("label " << label);
      if (!values.empty() && label != "outcome") {
        CHECK(labels[name][label] == values);
      }
    }
    for (const auto& [label, values] : labels[name]) {
      found.insert(label);
    }
    CHECK(found == wanted);
  }
  for (const auto& [name, kind] : kinds) {
    INFO(name << " is exposed and not promised");
    CHECK(promised.contains(name));
  }
  // Every error is an outcome from the start.
  for (auto code = std::uint8_t{0}; code <= static_cast<std::uint8_t>(ErrorCode::kInternal);
       ++code) {
    const std::string name(error_name(static_cast<ErrorCode>(code)));
    CHECK(value_of(text, "cosigner_requests_total{operation=\"sign\",outcome=\"" + name + "\"}") ==
          "0");
    CHECK(value_of(text, "cosigner_requests_refused_total{error=\"" + name + "\"}") == "0");
  }
}

TEST_CASE("metrics: histograms are cumulative, in seconds, with sum and count") {
  NodeMetrics metrics(identity());
  metrics.waited(500);         // the end of the first bucket belongs to it
  metrics.waited(501);         // the second
  metrics.waited(40'000'000);  // beyond the last
  NodeMetrics::Sample sample;
  sample.users_in_state.assign(kUserStates, 0);
  const std::string text = metrics.text(sample);
  const std::string name = "cosigner_queue_wait_seconds";
  CHECK(value_of(text, name + "_bucket{le=\"0.0005\"}") == "1");
  CHECK(value_of(text, name + "_bucket{le=\"0.001\"}") == "2");
  CHECK(value_of(text, name + "_bucket{le=\"30\"}") == "2");
  CHECK(value_of(text, name + "_bucket{le=\"+Inf\"}") == "3");
  CHECK(value_of(text, name + "_count") == "3");
  CHECK(value_of(text, name + "_sum") == "40.001001");
}

TEST_CASE("metrics: what workers count is added up") {
  NodeMetrics metrics(identity());
  ipc::WorkerMetrics worker = one_request();
  ipc::AttemptTally attempts;
  attempts.operation = "sign";
  attempts.attempts = 5;
  attempts.failovers = 2;
  worker.attempts.push_back(attempts);
  ipc::PeerTally peer;
  peer.node = "node2";
  peer.misbehaviours = 1;
  worker.peers.push_back(peer);
  worker.events.retransmissions = 7;
  worker.events.unattributable = 3;
  REQUIRE(metrics.absorb(worker));
  REQUIRE(metrics.absorb(worker));
  ipc::GatewayMetrics gateway;
  ipc::RefusalTally refusal;
  refusal.error = "unauthorized";
  refusal.count = 4;
  gateway.refused.push_back(refusal);
  gateway.dropped_refusals = 1;
  gateway.dropped_repeats = 2;
  gateway.dropped_strangers = 3;
  REQUIRE(metrics.absorb(gateway));
  gateway.refused.clear();
  REQUIRE(metrics.absorb(gateway));
  metrics.answered("sign", "overloaded");
  metrics.answered("something else", "internal");

  NodeMetrics::Sample sample;
  sample.users_in_state = {9, 1, 2, 3, 4, 5, 6};
  sample.registry.deaths_by_cause[static_cast<std::size_t>(DeathCause::kSignal)] = 8;
  for (std::size_t i = 0; i < kLimits; ++i) {
    sample.registry.overloaded_by_limit[i] = 20 + i;
  }
  sample.ticks_dropped = 5;
  sample.present = {"node1", "node3"};
  sample.store_errors = 9;
  sample.presignatures["ecdsa-secp256k1"] = 12;
  const std::string text = metrics.text(sample);
  const std::string duration =
      "cosigner_session_duration_seconds_count{scheme=\"ed25519\",operation=\"sign\",outcome=";
  CHECK(value_of(text, "cosigner_requests_total{operation=\"sign\",outcome=\"ok\"}") == "6");
  CHECK(value_of(text, "cosigner_requests_total{operation=\"sign\",outcome=\"overloaded\"}") ==
        "1");
  CHECK(value_of(text, "cosigner_requests_total{operation=\"unknown\",outcome=\"internal\"}") ==
        "1");
  CHECK(value_of(text, duration + "\"ok\"}") == "6");
  CHECK(value_of(text, duration + "\"failed\"}") == "0");
  CHECK(value_of(text, "cosigner_session_attempts_total{operation=\"sign\"}") == "10");
  CHECK(value_of(text, "cosigner_session_failovers_total{operation=\"sign\"}") == "4");
  CHECK(value_of(text, "cosigner_peer_misbehaviour_total{node=\"node2\"}") == "2");
  CHECK(value_of(text, "cosigner_deliveries_retried_total") == "14");
  CHECK(value_of(text, "cosigner_unattributable_failures_total") == "6");
  CHECK(value_of(text, "cosigner_requests_refused_total{error=\"unauthorized\"}") == "4");
  CHECK(value_of(text, "cosigner_requests_dropped_total{cause=\"refusal_rate\"}") == "2");
  CHECK(value_of(text, "cosigner_requests_dropped_total{cause=\"repeat\"}") == "4");
  CHECK(value_of(text, "cosigner_requests_dropped_total{cause=\"stranger\"}") == "6");
  CHECK(value_of(text, "cosigner_workers{state=\"quarantined\"}") == "6");
  CHECK(value_of(text, "cosigner_worker_deaths_total{cause=\"signal\"}") == "8");
  CHECK(value_of(text, "cosigner_store_errors_total") == "9");
  CHECK(value_of(text, "cosigner_peer_present{node=\"node2\"}") == "0");
  CHECK(value_of(text, "cosigner_peer_present{node=\"node3\"}") == "1");
  CHECK(value_of(text, "cosigner_presignatures{scheme=\"ecdsa-secp256k1\"}") == "12");
  std::size_t value = 20;
  for (const char* limit : {"mailbox_entries", "mailbox_bytes", "total_mailbox_bytes",
                            "waiting_users", "workers", "spawn_rate", "ending"}) {
    CHECK(value_of(text, std::string("cosigner_overloaded_total{limit=\"") + limit + "\"}") ==
          std::to_string(value++));
  }
  CHECK(value == 20 + kLimits);
  CHECK(value_of(text, "cosigner_ticks_dropped_total") == "5");
  CHECK(text.find("state=\"absent\"") == std::string::npos);
}

TEST_CASE("metrics: a worker or gateway that counts what there is not adds nothing") {
  NodeMetrics metrics(identity());
  NodeMetrics::Sample sample;
  sample.users_in_state.assign(kUserStates, 0);
  const std::string before = metrics.text(sample);
  const auto refused = [&](auto change) {
    ipc::WorkerMetrics worker = one_request();
    change(worker);
    CHECK_FALSE(metrics.absorb(worker));
  };
  refused([](auto& worker) { worker.requests[0].operation = "mine"; });
  refused([](auto& worker) { worker.requests[0].scheme = "rsa"; });
  refused([](auto& worker) { worker.requests[0].outcome = "great\"} 1\nx"; });
  refused([](auto& worker) { worker.requests[0].buckets.pop_back(); });
  refused([](auto& worker) { worker.attempts.emplace_back().operation = "mine"; });
  refused([](auto& worker) { worker.peers.emplace_back().node = "node9"; });
  const std::uint64_t too_many = ipc::kMaxCounted + 1;
  refused([&](auto& worker) { worker.requests[0].buckets[1] = too_many; });
  refused([&](auto& worker) { worker.attempts.push_back({"sign", too_many, 0}); });
  refused([&](auto& worker) { worker.attempts.push_back({"sign", 0, too_many}); });
  refused([&](auto& worker) { worker.peers.push_back({"node2", too_many}); });
  for (std::size_t i = 0; i < ipc::kCounterNames<ipc::SessionEvents>.size(); ++i) {
    refused([&](auto& worker) { *ipc::counters_of(worker.events)[i] = too_many; });
  }
  const auto gateway_refused = [&](auto change) {
    ipc::GatewayMetrics gateway;
    gateway.dropped_repeats = 1;
    change(gateway);
    CHECK_FALSE(metrics.absorb(gateway));
  };
  gateway_refused([](auto& gateway) { gateway.refused.emplace_back().error = "ok"; });
  gateway_refused([&](auto& gateway) { gateway.refused.push_back({"internal", too_many}); });
  gateway_refused([&](auto& gateway) { gateway.dropped_refusals = too_many; });
  gateway_refused([&](auto& gateway) { gateway.dropped_repeats = too_many; });
  gateway_refused([&](auto& gateway) { gateway.dropped_strangers = too_many; });
  for (std::size_t i = 0; i < ipc::kCounterNames<ipc::GatewayEvents>.size(); ++i) {
    gateway_refused([&](auto& gateway) { *ipc::counters_of(gateway.events)[i] = too_many; });
  }
  CHECK(metrics.text(sample) == before);
}

TEST_CASE("metrics: every event of workers and gateway has its series, and moves no other") {
  const auto check = [](const std::string& family, const auto& names, auto report) {
    NodeMetrics metrics(identity());
    NodeMetrics::Sample sample;
    sample.users_in_state.assign(kUserStates, 0);
    const auto value = [&](std::size_t i) {
      return value_of(metrics.text(sample), family + "{event=\"" + std::string(names[i]) + "\"}");
    };
    for (std::size_t i = 0; i < names.size(); ++i) {
      CHECK(value(i) == "0");
    }
    for (std::size_t i = 0; i < names.size(); ++i) {
      auto counted = report;
      *ipc::counters_of(counted.events)[i] = i + 1;
      REQUIRE(metrics.absorb(counted));
      REQUIRE(metrics.absorb(counted));  // of another process
    }
    for (std::size_t i = 0; i < names.size(); ++i) {
      INFO(names[i]);
      CHECK(value(i) == std::to_string(2 * (i + 1)));
    }
  };
  check("cosigner_session_events_total", ipc::kCounterNames<ipc::SessionEvents>,
        ipc::WorkerMetrics{});
  check("cosigner_gateway_events_total", ipc::kCounterNames<ipc::GatewayEvents>,
        ipc::GatewayMetrics{});
}

TEST_CASE("metrics: metrics.md says what each event means") {
  const auto explained = explained_events();
  const auto check = [&](const std::string& family, const auto& names) {
    INFO(family);
    REQUIRE(explained.contains(family));
    CHECK(explained.at(family) == std::vector<std::string>(names.begin(), names.end()));
  };
  CHECK(explained.size() == 2);
  check("cosigner_session_events_total", ipc::kCounterNames<ipc::SessionEvents>);
  check("cosigner_gateway_events_total", ipc::kCounterNames<ipc::GatewayEvents>);
}

TEST_CASE("metrics: a sum that has come to its end stays there") {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  MetricRegistry registry;
  MetricFamily& counter = registry.counter("c", "help");
  counter.add({}, kMost - 1);
  counter.add({}, 1);
  CHECK(value_of(registry.text(), "c") == std::to_string(kMost));
  counter.add({}, 1);
  counter.add({}, kMost);
  CHECK(value_of(registry.text(), "c") == std::to_string(kMost));
  MetricFamily& histogram = registry.histogram("h", "help");
  std::vector<std::uint64_t> buckets(ipc::kDurationBuckets, 0);
  buckets[0] = buckets[1] = kMost;
  histogram.merge({}, buckets, kMost);
  histogram.merge({}, buckets, kMost);
  histogram.observe({}, 1);
  CHECK(value_of(registry.text(), "h_count") == std::to_string(kMost));
  CHECK(value_of(registry.text(), "h_bucket{le=\"+Inf\"}") == std::to_string(kMost));
  CHECK(value_of(registry.text(), "h_sum") == "18446744073709.6");
}

TEST_CASE("metrics: label values are escaped") {
  MetricRegistry registry;
  registry.gauge("g", "help", {"label"}).set({"a\"b\\c\nd"}, 1.5);
  CHECK(registry.text() == "# HELP g help\n# TYPE g gauge\ng{label=\"a\\\"b\\\\c\\nd\"} 1.5\n");
}

}  // namespace cosigner::supervisor::test
