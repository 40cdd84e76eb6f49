// Commands that look at a node or order something of it.

#include <CLI/CLI.hpp>

#include "supervisor/ctl/command_line.h"
#include "supervisor/ctl/doctor.h"

namespace cosigner::ctl {

void add_node_commands(CLI::App& app, CommandLine& line) {
  add(app, line, "status", "the node: processes, broker, peers", run_status);
  add(app, line, "users", "the users with a process or a past", run_users);
  CLI::App* top = add(app, line, "top", "the node and its busiest users, drawn again and again",
                      [&line](const Context& context) {
                        catch_interrupt();
                        return run_top(context, line.top);
                      });
  top->add_option("--interval", line.top.interval_s, "seconds between two looks (default 2)")
      ->check(CLI::Range(0.1, 3600.0));
  top->add_option("--count", line.top.count, "looks to take (default: until interrupted)");
  top->add_option("--sort", line.top.sort, "processor (default), memory, requests, active or user")
      ->check(CLI::IsMember({"processor", "memory", "requests", "active", "user"}));
  add(app, line, "user", "one user in detail",
      [&line](const Context& context) { return run_user(context, line.user); })
      ->add_option("ID", line.user, "user id")
      ->required();
  CLI::App* keys = add(
      app, line, "keys", "the keys of a user", [&line](const Context& context) -> Outcome<void> {
        const auto path = path_option(line);
        return path ? run_keys(context, line.user, *path) : std::unexpected(path.error());
      });
  keys->add_option("--user", line.user, "user id")->required();
  keys->add_option("--path", line.path, "ECDSA keys also as derived along it (m/44/60/0/0/5)");
  add(app, line, "metrics", "what the node counts, in Prometheus text format", run_metrics);
  const std::pair<const char*, const char*> orders[] = {
      {"evict", "end a user's idle process (the next request starts another)"},
      {"restart", "replace a user's process"},
      {"quarantine", "serve this user no more until cleared"},
      {"clear", "lift a user's quarantine"}};
  for (const auto& [name, help] : orders) {
    add(app, line, name, help,
        [&line, command = std::string(name)](const Context& context) {
          return run_order(context, command, line.user);
        })
        ->add_option("--user", line.user, "user id")
        ->required();
  }
  add(app, line, "bans", "pairs that may not sign together, strikes, and orders to renew",
      [&line](const Context& context) { return run_bans(context, line.user); })
      ->add_option("--user", line.user, "only this user's");
  const std::pair<const char*, const char*> renewals[] = {
      {"unban", "lift a ban: renew this node's OT state with a peer"},
      {"renew", "renew this node's OT state with a peer that is not banned"}};
  for (const auto& [name, help] : renewals) {
    CLI::App* renewal =
        add(app, line, name, help, [&line, command = std::string(name)](const Context& context) {
          if (line.timeout_s > 0) {
            line.pair.timeout = from_seconds(line.timeout_s);
          }
          catch_interrupt();
          return run_renewal(context, command, line.pair);
        });
    renewal->add_option("--user", line.pair.user, "user id")->required();
    renewal->add_option("--key", line.pair.key, "name of the key")->required();
    renewal->add_option("--peer", line.pair.peer, "the other node")->required();
    auto* reason = renewal->add_option("--reason", line.pair.reason,
                                       "why it is safe now; kept for good with the order");
    if (std::string_view(name) == "unban") {
      reason->required();
    }
    renewal->add_option("--timeout", line.timeout_s, "seconds to wait (default 10)")
        ->check(CLI::PositiveNumber);
  }
  CLI::App* verify =
      add(app, line, "verify", "open stored shares and compare them with their certificates",
          [&line](const Context& context) {
            catch_interrupt();
            return run_verify(context, line.pair.user, line.pair.key);
          });
  auto* owner = verify->add_option("--user", line.pair.user, "only this user's");
  verify->add_option("--key", line.pair.key, "only this key")->needs(owner);
  add(app, line, "drain", "take no new requests, finish the ones in flight",
      [](const Context& context) { return run_order(context, "drain", {}); });
  add(app, line, "log-level", "change the node's log level while it runs",
      [&line](const Context& context) { return run_log_level(context, line.level); })
      ->add_option("LEVEL", line.level, "trace, debug, info, warning or error")
      ->required();
  add(app, line, "reload", "read the node's configuration again; says what needs a restart",
      [](const Context& context) { return run_reload(context); });
  add(app, line, "events", "what happens on the node, one JSON object a line",
      [&line](const Context& context) {
        catch_interrupt();
        return run_events(context, line.follow);
      })
      ->add_flag("--follow", line.follow, "go on until interrupted");
  add(app, line, "version", "version of this program, and of the node if one answers", run_version);
  add(app, line, "doctor", "look for what is not as it should be on this host",
      [&line](const Context& context) { return run_doctor(context, line.file); })
      ->add_option("--config", line.file, "the node's configuration")
      ->capture_default_str();
  CLI::App* config = app.add_subcommand("config", "configuration files");
  config->fallthrough();
  config->require_subcommand(1);
  add(*config, line, "check", "read a node's configuration and report every mistake in it",
      [&line](const Context& context) { return run_config_check(context, line.file); })
      ->add_option("FILE", line.file, "cosigner.toml")
      ->capture_default_str();
}

}  // namespace cosigner::ctl
