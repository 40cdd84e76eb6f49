#include "supervisor/ctl/top.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <unordered_map>
#include <vector>

#include "supervisor/ctl/commands.h"
#include "supervisor/ctl/json_part.h"
#include "supervisor/ctl/table.h"

namespace cosigner::ctl {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kRates[] = {"requests", "answers", "failed",   "overloaded",
                                  "spawns",   "deaths",  "evictions"};
/// Home, and everything below it cleared: drawn over without a flicker.
constexpr const char* kRedraw = "\x1b[H\x1b[J";
constexpr const char* kHideCursor = "\x1b[?25l";
constexpr const char* kShowCursor = "\x1b[?25h";

double seconds_between(const TopSample& before, const TopSample& now) {
  return std::max(1e-3, std::chrono::duration<double>(now.at - before.at).count());
}

/// To one digit: a snapshot is for people and their scripts.
double rounded(double value) {
  return std::round(value * 10) / 10;
}

/// A counter that went back belongs to a node that was restarted.
double grown(std::uint64_t before, std::uint64_t now) {
  return now >= before ? static_cast<double>(now - before) : static_cast<double>(now);
}

/// A generation is a process: its time is compared with its own only.
std::unordered_map<std::uint64_t, std::uint64_t> processor_times(const TopSample& sample) {
  std::unordered_map<std::uint64_t, std::uint64_t> out;
  for (const Json& user : part(sample.users, "users")) {
    out.emplace(number_of(user, "generation"), number_of(user, "processor_ms"));
  }
  return out;
}

bool is_worth_a_line(const Json& user) {
  return number_of(user, "pid") > 0 || number_of(user, "queued") > 0 ||
         text_of(user, "state") != "absent";
}

void sort_users(std::vector<Json>& users, std::string_view by) {
  const auto key = [by](const Json& user) -> double {
    if (by == "memory") {
      return -static_cast<double>(number_of(user, "memory_bytes"));
    }
    if (by == "requests") {
      return -static_cast<double>(number_of(user, "in_flight") + number_of(user, "queued"));
    }
    if (by == "active") {
      return static_cast<double>(number_of(user, "last_active_ms"));
    }
    const Json& percent = part(user, "processor_percent");
    return by == "processor" && percent.is_number() ? -percent.get<double>() : 0;
  };
  std::ranges::stable_sort(users, [&](const Json& a, const Json& b) {
    const double first = key(a);
    const double second = key(b);
    return first != second ? first < second : text_of(a, "user") < text_of(b, "user");
  });
}

std::string one_digit(const Json& value) {
  if (!value.is_number()) {
    return "-";
  }
  char out[32];
  std::snprintf(out, sizeof out, "%.1f", value.get<double>());
  return out;
}

std::string cut(const std::string& lines, ScreenSize size) {
  std::string out;
  std::size_t row = 0;
  for (std::size_t begin = 0; begin < lines.size() && (size.rows == 0 || row < size.rows); ++row) {
    const std::size_t end = std::min(lines.find('\n', begin), lines.size());
    const std::size_t width = end - begin;
    out += lines.substr(begin, size.columns == 0 ? width : std::min(width, size.columns)) + "\n";
    begin = end + 1;
  }
  return out;
}

std::optional<ScreenSize> screen() {
  winsize window{};
  if (::isatty(STDOUT_FILENO) == 0 || ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) != 0) {
    return std::nullopt;
  }
  // The last line stays free: a newline there would scroll.
  return ScreenSize{window.ws_row > 1U ? window.ws_row - 1U : 0U, window.ws_col};
}

}  // namespace

Outcome<Json> ask_users(ControlClient& node) {
  const auto parts = node.call_for_parts("users", no_arguments());
  if (!parts) {
    return std::unexpected(parts.error());
  }
  Json all = Json{{"users", Json::array()}};
  for (const ByteVector& body : *parts) {
    const auto one = parse_body(body);
    if (!one) {
      return std::unexpected(one.error());
    }
    for (const Json& user : part(*one, "users")) {
      all["users"].push_back(user);
    }
  }
  return all;
}

Outcome<TopSample> take_sample(ControlClient& node) {
  const auto status = node.call("status", no_arguments());
  if (!status) {
    return std::unexpected(status.error());
  }
  auto parsed = parse_body(*status);
  if (!parsed) {
    return std::unexpected(parsed.error());
  }
  auto users = ask_users(node);
  if (!users) {
    return std::unexpected(users.error());
  }
  return TopSample{Clock::now(), std::move(*parsed), std::move(*users)};
}

Json top_snapshot(const std::optional<TopSample>& before, const TopSample& now,
                  std::string_view sort) {
  Json rates = Json::object();
  for (const char* name : kRates) {
    const std::uint64_t value = number_of(part(now.status, "counters"), name);
    rates[name] =
        before ? Json(rounded(grown(number_of(part(before->status, "counters"), name), value) /
                              seconds_between(*before, now)))
               : Json();
  }
  std::unordered_map<std::uint64_t, std::uint64_t> earlier;
  if (before) {
    earlier = processor_times(*before);
  }
  std::uint64_t memory = 0;
  double processor = 0;
  std::vector<Json> users;
  for (const Json& user : part(now.users, "users")) {
    if (!is_worth_a_line(user)) {
      continue;
    }
    Json percent;
    if (before && number_of(user, "generation") != 0) {
      const auto found = earlier.find(number_of(user, "generation"));
      const double spent_ms =
          grown(found == earlier.end() ? 0 : found->second, number_of(user, "processor_ms"));
      percent = rounded(spent_ms / 10 / seconds_between(*before, now));
      processor += percent.get<double>();
    }
    memory += number_of(user, "memory_bytes");
    users.push_back(Json{{"user", text_of(user, "user")},
                         {"state", text_of(user, "state")},
                         {"processor_percent", percent},
                         {"memory_bytes", part(user, "memory_bytes")},
                         {"in_flight", number_of(user, "in_flight")},
                         {"queued", number_of(user, "queued")},
                         {"sessions", number_of(user, "sessions")},
                         {"restarts", number_of(user, "restarts")},
                         {"last_active_ms", number_of(user, "last_active_ms")}});
  }
  sort_users(users, sort);
  Json list = Json::array();
  for (Json& user : users) {
    list.push_back(std::move(user));
  }
  return Json{{"node", text_of(now.status, "node")},
              {"ready", part(now.status, "ready")},
              {"degraded", part(now.status, "degraded")},
              {"interval_s", before ? Json(rounded(seconds_between(*before, now))) : Json()},
              {"rates", std::move(rates)},
              {"workers", part(now.status, "workers")},
              {"memory_bytes", memory},
              {"processor_percent", before ? Json(rounded(processor)) : Json()},
              {"users", std::move(list)}};
}

std::string top_text(const Json& snapshot, ScreenSize size) {
  std::string out = text_of(snapshot, "node");
  const Json& ready = part(snapshot, "ready");
  out += ready.is_boolean() && ready.get<bool>() ? ": ready" : ": NOT READY";
  for (const Json& reason : part(snapshot, "degraded")) {
    out += reason.is_string() ? "; " + reason.get<std::string>() : "";
  }
  out += "\nworkers ";
  for (const auto& [state, count] : part(snapshot, "workers").items()) {
    if (count.is_number_unsigned() && count.get<std::uint64_t>() > 0) {
      out += " " + state + " " + count.dump();
    }
  }
  out += "   memory " + human_bytes(number_of(snapshot, "memory_bytes")) + "   processor " +
         one_digit(part(snapshot, "processor_percent")) + " %\na second ";
  for (const auto& [name, value] : part(snapshot, "rates").items()) {
    out += " " + name + " " + one_digit(value);
  }
  out += "\n\n";
  Table table({"USER", "STATE", "CPU %", "MEMORY", "IN FLIGHT", "QUEUED", "SESSIONS", "RESTARTS",
               "LAST ACTIVE"});
  std::size_t lines = 5;  // those above, and the table's header
  for (const Json& user : part(snapshot, "users")) {
    if (size.rows > 0 && ++lines > size.rows) {
      break;
    }
    const std::uint64_t memory = number_of(user, "memory_bytes");
    table.row(
        {text_of(user, "user"), text_of(user, "state"), one_digit(part(user, "processor_percent")),
         memory > 0 ? human_bytes(memory) : "-", std::to_string(number_of(user, "in_flight")),
         std::to_string(number_of(user, "queued")), std::to_string(number_of(user, "sessions")),
         std::to_string(number_of(user, "restarts")),
         human_seconds(number_of(user, "last_active_ms") / 1000) + " ago"});
  }
  return cut(out + table.text(), size);
}

Outcome<void> wait_connected(ControlClient& node, Clock::time_point end,
                             const std::atomic<bool>& interrupted,
                             std::chrono::milliseconds sign_of_life) {
  auto spoken = Clock::now();
  while (!interrupted && Clock::now() < end) {
    // The node says nothing unasked: this waits, and ends early when the node goes or a signal
    // comes.
    const auto next = std::min(end, spoken + sign_of_life);
    const auto gone =
        node.receive(std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now()));
    if (!gone) {
      return std::unexpected(gone.error());
    }
    if (!interrupted && Clock::now() >= spoken + sign_of_life) {
      if (const auto heard = node.call("status", no_arguments()); !heard) {
        return std::unexpected(heard.error());
      }
      spoken = Clock::now();
    }
  }
  return {};
}

Outcome<void> run_top(const Context& context, const TopArguments& arguments) {
  auto node = ControlClient::connect(context.socket);
  if (!node) {
    return std::unexpected(node.error());
  }
  const bool drawn = !context.json && screen().has_value();
  std::optional<TopSample> before;
  for (std::uint64_t look = 1; !context.interrupted; ++look) {
    auto sample = take_sample(*node);
    if (!sample) {
      context.out << (drawn ? kShowCursor : "");
      return std::unexpected(sample.error());
    }
    const Json snapshot = top_snapshot(before, *sample, arguments.sort);
    if (context.json) {
      context.out << snapshot.dump() << std::endl;  // a reader of a pipe wants each line at once
    } else if (drawn) {
      context.out << kHideCursor << kRedraw << top_text(snapshot, screen().value_or(ScreenSize{}))
                  << std::flush;
    } else {
      context.out << (look > 1 ? "\n" : "") << top_text(snapshot, {}) << std::flush;
    }
    before = std::move(*sample);
    if (look == arguments.count || !context.out) {
      break;
    }
    const auto next = before->at + std::chrono::milliseconds(
                                       static_cast<std::int64_t>(arguments.interval_s * 1000));
    if (const auto waited = wait_connected(*node, next, context.interrupted); !waited) {
      context.out << (drawn ? kShowCursor : "");
      return waited;
    }
  }
  context.out << (drawn ? kShowCursor : "") << std::flush;
  return {};
}

}  // namespace cosigner::ctl
