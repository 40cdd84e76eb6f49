// How a bench's report is printed.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "supervisor/ctl/bench.h"

namespace cosigner::ctl {
namespace {

double rounded(double value, double steps) {
  return std::round(value * steps) / steps;
}

std::string decimal(double value, int digits) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return text.data();
}

std::string quantiles(const Latencies& latencies) {
  return "p50 " + decimal(latencies.quantile_ms(0.50), 2) + " ms   p90 " +
         decimal(latencies.quantile_ms(0.90), 2) + " ms   p99 " +
         decimal(latencies.quantile_ms(0.99), 2) + " ms   max " +
         decimal(latencies.quantile_ms(1.0), 2) + " ms";
}

}  // namespace

void BenchReport::add(const Error& error) {
  const std::string name(error_name(error.code));
  ++errors[name];
  messages.try_emplace(name, error.message);
  may_have_executed = may_have_executed || error.may_have_executed;
}

std::uint64_t BenchReport::error_count() const {
  std::uint64_t total = 0;
  for (const auto& [name, number] : errors) {
    total += number;
  }
  return total;
}

std::optional<Failure> BenchReport::failure() const {
  if (lost) {
    return Failure{lost->status, lost->error, true};
  }
  if (errors.empty()) {
    return std::nullopt;
  }
  const auto& commonest =
      *std::ranges::max_element(errors, {}, [](const auto& entry) { return entry.second; });
  auto out = failed(ExitStatus::kRefused, error_from_name(commonest.first),
                    std::to_string(error_count()) + " requests failed.")
                 .error();
  out.error.may_have_executed = may_have_executed;
  out.reported = true;
  return out;
}

Json BenchReport::json() const {
  const double per_second = seconds > 0 ? static_cast<double>(latencies.count()) / seconds : 0;
  Json by_name = Json::object();
  for (const auto& [name, number] : errors) {
    by_name[name] = number;
  }
  Json out = {{"bench", what},
              {"scheme", scheme_name(options.scheme)},
              {"users", options.users},
              {"concurrency", options.concurrency},
              {"threshold", options.threshold},
              {what == "keygen" ? "keys" : "signatures", latencies.count()},
              {"errors", error_count()},
              {"errors_by_name", by_name},
              {"first_messages", messages},
              {"seconds", rounded(seconds, 1000)},
              {"per_second", rounded(per_second, 10)},
              {"p50_ms", latencies.quantile_ms(0.50)},
              {"p90_ms", latencies.quantile_ms(0.90)},
              {"p99_ms", latencies.quantile_ms(0.99)},
              {"max_ms", latencies.quantile_ms(1.0)},
              {"interrupted", interrupted}};
  if (options.latencies) {
    Json counts = Json::array();
    for (const auto& [microseconds, count] : latencies.counts()) {
      counts.push_back({microseconds, count});
    }
    out["latencies_us"] = std::move(counts);
  }
  if (presigned) {
    const auto rate = [](std::uint64_t count, double took) {
      return took > 0 ? rounded(static_cast<double>(count) / took, 10) : 0;
    };
    out["presigned"] = {
        {"filled", presigned->filled},
        {"refill_per_second", rate(presigned->filled, presigned->fill_seconds)},
        {"sustained_signatures", presigned->sustained},
        {"sustained_per_second", rate(presigned->sustained, presigned->sustained_seconds)},
        {"sustained_p50_ms", presigned->sustained_p50_ms},
        {"refilled_meanwhile", presigned->refilled}};
  }
  if (what == "first-signature") {
    out["order_to_ready"] = {{"processes", starts.count()},
                             {"p50_ms", starts.quantile_ms(0.50)},
                             {"p90_ms", starts.quantile_ms(0.90)},
                             {"p99_ms", starts.quantile_ms(0.99)},
                             {"max_ms", starts.quantile_ms(1.0)}};
  }
  if (lost) {
    out["lost"] = error_json(lost->error);
  }
  if (const auto failed_with = failure()) {
    out.update(error_json(failed_with->error));
  }
  return out;
}

std::string BenchReport::text() const {
  const Json fields = json();
  std::string out =
      std::to_string(latencies.count()) + (what == "keygen" ? " keys" : " signatures") + " of " +
      std::string(scheme_name(options.scheme)) + " in " + decimal(seconds, 2) + " s by " +
      std::to_string(options.users) + " users, " + std::to_string(options.concurrency) +
      " at once" + (what == "keygen" ? "" : ", every signature verified") +
      (interrupted ? " (interrupted)" : "") + "\n";
  out += "  " + quantiles(latencies) + "\n";
  if (what == "first-signature") {
    out += "  order to ready process: " + quantiles(starts) + " (" +
           std::to_string(starts.count()) + " processes)\n";
  } else {
    out += "  " + decimal(fields["per_second"].get<double>(), 1) + " a second\n";
  }
  if (presigned) {
    const Json& made = fields["presigned"];
    out += "  presignatures: " + std::to_string(presigned->filled) + " made beforehand, " +
           decimal(made["refill_per_second"].get<double>(), 1) + " a second\n" +
           "  with refill beside: " + decimal(made["sustained_per_second"].get<double>(), 1) +
           " signatures a second, p50 " + decimal(presigned->sustained_p50_ms, 2) + " ms, " +
           std::to_string(presigned->refilled) + " presignatures meanwhile\n";
  }
  out += "  errors: " + std::to_string(error_count());
  for (const auto& [name, number] : errors) {
    out += "  " + name + " " + std::to_string(number);
  }
  out += "\n";
  for (const auto& [name, message] : messages) {
    out += "  the first " + name + ": " + message + "\n";
  }
  return out;
}

}  // namespace cosigner::ctl
