#pragma once
// Metrics in memory and their Prometheus text form (exposition format 0.0.4). Pure: no clock, no
// socket; whoever holds a family counts in it, text() shows everything in the order it was added.
//
//   auto& spawns = registry.counter("cosigner_worker_spawns_total", "workers forked");
//   spawns.add({});

#include <cstdint>
#include <deque>
#include <initializer_list>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/duration_buckets.h"

namespace cosigner::supervisor {

enum class MetricKind : std::uint8_t { kCounter, kGauge, kHistogram };

/// One metric: its series are told apart by the values of its labels.
class MetricFamily {
 public:
  /// Values in the order of the family's labels.
  using Values = std::initializer_list<std::string_view>;

  MetricFamily(MetricKind kind, std::string name, std::string help,
               std::vector<std::string> labels);

  /// Exposes the series from now on, at 0 if it is new.
  void declare(Values values) { series(values); }
  /// Sums stay at 2^64−1 once they are there: what a process reports never makes one go down.
  void add(Values values, std::uint64_t count = 1) { add_to(series(values).count, count); }
  /// A gauge, or a counter whose count is kept elsewhere.
  void set(Values values, double value);
  void observe(Values values, std::uint64_t microseconds);
  /// A histogram's observations of somebody else: by bucket, with their sum.
  void merge(Values values, std::span<const std::uint64_t> buckets, std::uint64_t total_us);
  /// Forgets all series: for gauges that are set anew each time.
  void clear() { series_.clear(); }

  [[nodiscard]] MetricKind kind() const { return kind_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  void write(std::string& out) const;

 private:
  struct Series {
    std::vector<std::string> values;
    std::uint64_t count = 0;
    double gauge = 0;
    std::vector<std::uint64_t> buckets;
    std::uint64_t total_us = 0;
  };
  Series& series(Values values);
  static void add_to(std::uint64_t& sum, std::uint64_t count) {
    sum = count > std::numeric_limits<std::uint64_t>::max() - sum
              ? std::numeric_limits<std::uint64_t>::max()
              : sum + count;
  }
  void write_line(std::string& out, std::string_view suffix, const Series& series,
                  std::string_view le, std::string_view value) const;

  MetricKind kind_;
  std::string name_;
  std::string help_;
  std::vector<std::string> labels_;
  std::map<std::string, Series, std::less<>> series_;  ///< by its values, joined
};

class MetricRegistry {
 public:
  MetricFamily& counter(std::string name, std::string help, std::vector<std::string> labels = {}) {
    return families_.emplace_back(MetricKind::kCounter, std::move(name), std::move(help),
                                  std::move(labels));
  }
  MetricFamily& gauge(std::string name, std::string help, std::vector<std::string> labels = {}) {
    return families_.emplace_back(MetricKind::kGauge, std::move(name), std::move(help),
                                  std::move(labels));
  }
  /// Of durations, in seconds; buckets: ipc/duration_buckets.h.
  MetricFamily& histogram(std::string name, std::string help,
                          std::vector<std::string> labels = {}) {
    return families_.emplace_back(MetricKind::kHistogram, std::move(name), std::move(help),
                                  std::move(labels));
  }
  [[nodiscard]] std::string text() const;

 private:
  std::deque<MetricFamily> families_;  ///< references stay good
};

}  // namespace cosigner::supervisor
