#include "supervisor/ctl/view.h"

#include "supervisor/ctl/json_part.h"
#include "supervisor/ctl/table.h"
#include "supervisor/ctl/utc_text.h"

namespace cosigner::ctl {
namespace {

/// A field as text; "-" if it is missing, null or empty.
std::string field(const Json& object, std::string_view name) {
  const auto found = object.is_object() ? object.find(name) : object.end();
  if (!object.is_object() || found == object.end() || found->is_null()) {
    return "-";
  }
  if (found->is_string()) {
    const auto text = found->get<std::string>();
    return text.empty() ? "-" : text;
  }
  if (found->is_boolean()) {
    return found->get<bool>() ? "yes" : "no";
  }
  if (found->is_array()) {
    std::string out;
    for (const Json& item : *found) {
      out += (out.empty() ? "" : ", ") + (item.is_string() ? item.get<std::string>() : item.dump());
    }
    return out.empty() ? "-" : out;
  }
  return found->dump();
}

/// 2026-11-21T12:00:00Z
std::string utc_time(std::uint64_t unix_ms) {
  return utc_text(static_cast<std::int64_t>(unix_ms / 1000), "%Y-%m-%dT%H:%M:%SZ");
}

std::string process(const Json& entry) {
  return field(entry, "state") + "  pid " + field(entry, "pid") + "  restarts " +
         field(entry, "restarts");
}

}  // namespace

std::string view_status(const Json& status) {
  std::string out = field(status, "node") + " of cluster " + field(status, "cluster") + ": " +
                    (field(status, "ready") == "yes" ? "ready" : "NOT READY");
  if (const std::string degraded = field(status, "degraded"); degraded != "-") {
    out += ", degraded: " + degraded;
  }
  out += "\n";
  Table table({"version", field(status, "version")});
  table.row({"supervisor", "pid " + field(status, "pid") + "  up " +
                               human_seconds(number_of(status, "uptime_s"))});
  const Json& broker = part(status, "broker");
  table.row({"broker", (field(broker, "connected") == "yes" ? "connected  " : "NOT CONNECTED  ") +
                           field(broker, "url")});
  table.row({"gateway", process(part(status, "gateway"))});
  table.row({"zygote", process(part(status, "zygote"))});
  std::string workers;
  for (const auto& [state, count] : part(status, "workers").items()) {
    workers += (workers.empty() ? "" : "  ") + state + " " + count.dump();
  }
  table.row({"workers", workers.empty() ? "none" : workers});
  std::string peers;
  for (const Json& peer : part(status, "peers")) {
    const bool self = field(peer, "self") == "yes";
    peers += (peers.empty() ? "" : "  ") + field(peer, "node") +
             (self                              ? " (this)"
              : field(peer, "present") == "yes" ? " present"
                                                : " ABSENT");
  }
  table.row({"peers", peers});
  return out + table.text();
}

std::string view_users(const Json& reply) {
  const Json& users = part(reply, "users");
  Table table({"USER", "STATE", "PID", "GENERATION", "MEMORY", "SESSIONS", "IN FLIGHT", "QUEUED",
               "RESTARTS", "LAST ACTIVE", "LAST DEATH"});
  for (const Json& user : users) {
    const auto memory = number(user, "memory_bytes");
    const auto active = number(user, "last_active_ms");
    table.row({field(user, "user"), field(user, "state"), field(user, "pid"),
               field(user, "generation"), memory && *memory > 0 ? human_bytes(*memory) : "-",
               field(user, "sessions"), field(user, "in_flight"), field(user, "queued"),
               field(user, "restarts"), active ? human_seconds(*active / 1000) + " ago" : "-",
               field(user, "last_death")});
  }
  return table.empty() ? "No users.\n" : table.text();
}

std::string view_keys(const Json& reply) {
  Table table({"KEY", "SCHEME", "EPOCH", "STATE", "THRESHOLD", "PARTICIPANTS", "PRESIGNATURES",
               "PUBLIC KEY"});
  for (const Json& key : part(reply, "keys")) {
    const Json& participants = part(key, "participants");
    const std::string of =
        participants.is_array() ? " of " + std::to_string(participants.size()) : "";
    table.row({field(key, "key"), field(key, "scheme"), field(key, "epoch"), field(key, "state"),
               field(key, "threshold") + of, field(key, "participants"),
               field(key, "presignatures_ready"), field(key, "public_key")});
  }
  return table.empty() ? "No keys.\n" : table.text();
}

std::string view_bans(const Json& listing) {
  Table table({"USER", "KEY", "EPOCH", "PEER", "BANNED", "SINCE", "WHY", "STRIKES", "RENEWAL"});
  for (const Json& pair : part(listing, "bans")) {
    const std::uint64_t since_ms = number_of(pair, "since_ms");
    table.row({field(pair, "user"), field(pair, "key"), field(pair, "epoch"), field(pair, "peer"),
               field(pair, "banned"), since_ms == 0 ? "-" : utc_time(since_ms), field(pair, "why"),
               field(pair, "strikes"), field(pair, "renewal")});
  }
  std::string out = table.empty() ? "No bans.\n" : table.text();
  Table orders({"ORDERED", "BY", "USER", "KEY", "EPOCH", "PEER", "LIFTS A BAN", "REASON"});
  for (const Json& order : part(listing, "orders")) {
    orders.row({utc_time(number_of(order, "at_ms")), field(order, "ordered_by"),
                field(order, "user"), field(order, "key"), field(order, "epoch"),
                field(order, "peer"), field(order, "lifts_ban"), field(order, "reason")});
  }
  return orders.empty() ? out : out + "\nOrders to renew so far:\n" + orders.text();
}

std::string view_verdict(const Json& verdict) {
  std::string line = field(verdict, "user") + " " + field(verdict, "key");
  if (field(verdict, "state") != "-") {
    line += " epoch " + field(verdict, "epoch") + " (" + field(verdict, "state") + ")";
  }
  const auto ok = verdict.find("ok");
  if (ok != verdict.end() && *ok == true) {
    return line + ": ok\n";
  }
  return line + ": FAULTY (" + field(verdict, "fault") + "): " + field(verdict, "what") +
         (field(verdict, "fault") == "peers"
              ? ".\n"
              : "; README.Debian, \"Backup\", says what may be put back.\n");
}

std::string view_peers(const Json& reply) {
  Table table({"NODE", "PRESENT", "IDENTITY"});
  for (const Json& peer : part(reply, "peers")) {
    table.row({field(peer, "node"),
               field(peer, "self") == "yes" ? "this node" : field(peer, "present"),
               field(peer, "identity")});
  }
  return table.text();
}

std::string view_reload(const Json& changes) {
  std::string text;
  for (const auto& [name, title] : {std::pair<const char*, const char*>{"applied", "applied: "},
                                    {"needs_restart", "needs a restart: "}}) {
    if (changes.is_object() && changes.contains(name) && changes[name].is_array()) {
      for (const Json& change : changes[name]) {
        text += title + (change.is_string() ? change.get<std::string>() : change.dump()) + "\n";
      }
    }
  }
  return text.empty() ? "Nothing has changed.\n" : text;
}

namespace {

/// "sandbox.limits.files": nested objects in one column of names.
void flatten(const Json& object, const std::string& prefix,
             std::vector<std::vector<std::string>>& rows) {
  for (const auto& [name, value] : object.items()) {
    if (value.is_object() && !value.empty()) {
      flatten(value, prefix + name + ".", rows);
    } else {
      rows.push_back({prefix + name, field(object, name)});
    }
  }
}

}  // namespace

std::string view_object(const Json& object) {
  if (!object.is_object() || object.empty()) {
    return "Done.\n";
  }
  std::vector<std::vector<std::string>> rows;
  flatten(object, "", rows);
  Table table(std::move(rows.front()));
  for (auto row = rows.begin() + 1; row != rows.end(); ++row) {
    table.row(std::move(*row));
  }
  return table.text();
}

}  // namespace cosigner::ctl
