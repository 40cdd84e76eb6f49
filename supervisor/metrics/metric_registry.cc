#include "supervisor/metrics/metric_registry.h"

#include <cassert>
#include <cmath>
#include <cstdio>

namespace cosigner::supervisor {
namespace {

constexpr char kSeparator = '\x1f';  // no label's value has it: names and closed sets

std::string number(double value) {
  char text[32];
  if (value == std::floor(value) && std::abs(value) < 1e15) {
    std::snprintf(text, sizeof text, "%.0f", value);
  } else {
    std::snprintf(text, sizeof text, "%.15g", value);
  }
  return text;
}

std::string seconds(std::uint64_t microseconds) {
  return number(static_cast<double>(microseconds) / 1e6);
}

void append_escaped(std::string& out, std::string_view value) {
  for (const char c : value) {
    if (c == '\\' || c == '"') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
}

}  // namespace

MetricFamily::MetricFamily(MetricKind kind, std::string name, std::string help,
                           std::vector<std::string> labels)
    : kind_(kind), name_(std::move(name)), help_(std::move(help)), labels_(std::move(labels)) {
  if (labels_.empty()) {
    declare({});
  }
}

MetricFamily::Series& MetricFamily::series(Values values) {
  assert(values.size() == labels_.size());
  std::string key;
  for (const std::string_view value : values) {
    key += value;
    key += kSeparator;
  }
  auto found = series_.find(key);
  if (found == series_.end()) {
    Series fresh;
    fresh.values.assign(values.begin(), values.end());
    if (kind_ == MetricKind::kHistogram) {
      fresh.buckets.resize(ipc::kDurationBuckets);
    }
    found = series_.emplace(std::move(key), std::move(fresh)).first;
  }
  return found->second;
}

void MetricFamily::set(Values values, double value) {
  Series& one = series(values);
  one.gauge = value;
  one.count = value < 0 ? 0 : static_cast<std::uint64_t>(value);
}

void MetricFamily::observe(Values values, std::uint64_t microseconds) {
  Series& one = series(values);
  add_to(one.buckets[ipc::duration_bucket(microseconds)], 1);
  add_to(one.total_us, microseconds);
}

void MetricFamily::merge(Values values, std::span<const std::uint64_t> buckets,
                         std::uint64_t total_us) {
  assert(buckets.size() == ipc::kDurationBuckets);
  Series& one = series(values);
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    add_to(one.buckets[i], buckets[i]);
  }
  add_to(one.total_us, total_us);
}

void MetricFamily::write_line(std::string& out, std::string_view suffix, const Series& series,
                              std::string_view le, std::string_view value) const {
  out += name_;
  out += suffix;
  std::string inside;
  for (std::size_t i = 0; i < labels_.size(); ++i) {
    inside += (inside.empty() ? "" : ",") + labels_[i] + "=\"";
    append_escaped(inside, series.values[i]);
    inside += '"';
  }
  if (!le.empty()) {
    inside += (inside.empty() ? "le=\"" : ",le=\"") + std::string(le) + "\"";
  }
  if (!inside.empty()) {
    out += "{" + inside + "}";
  }
  out += ' ';
  out += value;
  out += '\n';
}

void MetricFamily::write(std::string& out) const {
  static constexpr std::string_view kKinds[] = {"counter", "gauge", "histogram"};
  out += "# HELP " + name_ + " " + help_ + "\n# TYPE " + name_ + " ";
  out += kKinds[static_cast<std::size_t>(kind_)];
  out += '\n';
  for (const auto& [key, one] : series_) {
    if (kind_ != MetricKind::kHistogram) {
      write_line(out, "", one, "",
                 kind_ == MetricKind::kGauge ? number(one.gauge) : std::to_string(one.count));
      continue;
    }
    std::uint64_t so_far = 0;
    for (std::size_t i = 0; i < one.buckets.size(); ++i) {
      add_to(so_far, one.buckets[i]);
      write_line(out, "_bucket", one,
                 i < ipc::kDurationBucketEndsUs.size() ? seconds(ipc::kDurationBucketEndsUs[i])
                                                       : std::string("+Inf"),
                 std::to_string(so_far));
    }
    write_line(out, "_sum", one, "", seconds(one.total_us));
    write_line(out, "_count", one, "", std::to_string(so_far));
  }
}

std::string MetricRegistry::text() const {
  std::string out;
  for (const MetricFamily& family : families_) {
    family.write(out);
  }
  return out;
}

}  // namespace cosigner::supervisor
