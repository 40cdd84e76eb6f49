#include "worker/gateway/discovery.h"

#include <chrono>
#include <cstdio>

namespace cosigner::worker {
namespace {

/// Names of clusters, nodes and errors, versions and subjects: nothing in them needs an escape.
std::string quoted(std::string_view text) {
  return "\"" + std::string(text) + "\"";
}

/// By arithmetic: gmtime_r() reads /etc/localtime, which the sandbox forbids.
std::string rfc3339(std::uint64_t wall_ms) {
  using namespace std::chrono;
  const sys_seconds time{seconds(wall_ms / 1000)};
  const auto day = floor<days>(time);
  const year_month_day date{day};
  const hh_mm_ss clock{time - day};
  char text[48];
  std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()));
  return text;
}

/// Takes the token before the next dot off `rest`.
std::string_view token(std::string_view& rest) {
  const std::size_t dot = rest.find('.');
  const std::string_view out = rest.substr(0, dot);
  rest = dot == std::string_view::npos ? std::string_view() : rest.substr(dot + 1);
  return out;
}

}  // namespace

Discovery::Discovery(std::string cluster, std::string node, std::uint64_t generation,
                     std::uint64_t started_wall_ms)
    : cluster_(std::move(cluster)),
      node_(std::move(node)),
      id_(node_ + "-" + std::to_string(generation)),
      started_(rfc3339(started_wall_ms)) {}

std::string Discovery::head(std::string_view type) const {
  return "{\"type\":\"io.nats.micro.v1." + std::string(type) +
         "_response\",\"name\":" + quoted(kService) + ",\"id\":" + quoted(id_) +
         ",\"version\":" + quoted(COSIGNER_VERSION) +
         ",\"metadata\":{\"cluster\":" + quoted(cluster_) + ",\"node\":" + quoted(node_) + "}";
}

std::optional<std::string> Discovery::answer(std::string_view subject) const {
  // $SRV.VERB, $SRV.VERB.SERVICE or $SRV.VERB.SERVICE.ID
  if (token(subject) != "$SRV") {
    return std::nullopt;
  }
  const std::string_view verb = token(subject);
  const std::string_view service = token(subject);
  const std::string_view id = token(subject);
  if ((!service.empty() && service != kService) || (!id.empty() && id != id_) || !subject.empty()) {
    return std::nullopt;
  }
  const std::string endpoint =
      "\"name\":\"request\",\"subject\":" + quoted("cosigner." + cluster_ + ".request") +
      ",\"queue_group\":\"\"";
  if (verb == "PING") {
    return head("ping") + "}";
  }
  if (verb == "INFO") {
    return head("info") + ",\"description\":\"threshold-signing node\",\"endpoints\":[{" +
           endpoint + ",\"metadata\":{}}]}";
  }
  if (verb == "STATS") {
    const std::uint64_t good = requests_ - errors_;
    return head("stats") + ",\"started\":" + quoted(started_) + ",\"endpoints\":[{" + endpoint +
           ",\"num_requests\":" + std::to_string(requests_) +
           ",\"num_errors\":" + std::to_string(errors_) + ",\"last_error\":" + quoted(last_error_) +
           ",\"processing_time\":" + std::to_string(processing_ns_) +
           ",\"average_processing_time\":" + std::to_string(good == 0 ? 0 : processing_ns_ / good) +
           "}]}";
  }
  return std::nullopt;
}

}  // namespace cosigner::worker
