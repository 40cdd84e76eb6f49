// cosigner-devcluster: a whole cluster on one machine, for evaluation and tests. Not for keys that
// are worth anything: all nodes share one machine and one owner.

#include <signal.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <nlohmann/json.hpp>

#include "supervisor/ctl/exit_status.h"
#include "supervisor/ctl/json.h"
#include "supervisor/ctl/table.h"
#include "supervisor/devcluster/cluster.h"

namespace cosigner::devcluster {
namespace {

std::atomic<bool> g_interrupted{false};

void on_interrupt(int) {
  g_interrupted = true;
}

void say(const std::string& text) {
  std::cerr << "cosigner-devcluster: " << text << "\n";
}

int finish(const Expected<void>& outcome) {
  if (outcome) {
    return 0;
  }
  say(ctl::error_text(outcome.error()));
  return outcome.error().code == ErrorCode::kBadRequest ? 2 : 1;
}

int show_status(const Expected<Cluster::Report>& report, bool json) {
  if (!report) {
    if (json) {
      std::cout << ctl::error_json(report.error()).dump() << "\n";
    }
    return finish(std::unexpected(report.error()));
  }
  if (json) {
    nlohmann::ordered_json out = {{"topology", topology_name(report->state.topology)},
                                  {"nodes", report->state.nodes},
                                  {"threshold", report->state.threshold},
                                  {"healthy", report->healthy()},
                                  {"processes", nlohmann::ordered_json::array()}};
    for (const ProcessReport& process : report->processes) {
      out["processes"].push_back({{"name", process.name},
                                  {"pid", process.pid},
                                  {"running", process.running},
                                  {"detail", process.detail}});
    }
    std::cout << out.dump() << "\n";
  } else {
    ctl::Table table({"PROCESS", "PID", "STATE"});
    for (const ProcessReport& process : report->processes) {
      table.row({process.name, process.pid == 0 ? "-" : std::to_string(process.pid),
                 !process.running ? "not running"
                                  : (process.detail.empty() ? "running" : process.detail)});
    }
    std::cout << table.text();
  }
  return report->healthy() ? 0 : 1;
}

int run(int argc, char** argv) {
  CLI::App app("cosigner-devcluster: a cosigner cluster on this machine, for evaluation and tests");
  app.require_subcommand(1);
  app.footer("Exit status: 0 success; 1 it failed, or the cluster is not healthy; 2 wrong usage.");
  std::error_code ignored;
  std::string directory;
  std::string programs = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  if (!std::filesystem::exists(std::filesystem::path(programs) / "cosignerd", ignored)) {
    programs = "/usr/sbin";  // where the Debian package puts it; this program is in /usr/bin
  }
  app.add_option("--programs", programs,
                 "folder of cosignerd (default: this program's own, else /usr/sbin)");

  UpOptions options;
  std::string topology = "single";
  std::uint32_t idle_timeout = 0;
  std::uint32_t wait = 60;
  std::vector<std::string> settings;
  bool json = false;
  unsigned node = 0;

  const auto add = [&](const char* name, const char* help) {
    CLI::App* command = app.add_subcommand(name, help);
    command->fallthrough();
    command->add_option("--dir", directory, "where everything of the cluster lies")->required();
    return command;
  };
  CLI::App* up = add("up", "make a cluster in a new directory and start it");
  up->add_option("--nodes", options.nodes, "2 to 32 (default 3)")->check(CLI::Range(2U, 32U));
  up->add_option("--threshold", options.threshold,
                 "how many sign together; the default of cosignerctl keygen (default 2)");
  up->add_option("--topology", topology,
                 "single: one nats-server; leaf: a hub and one leaf server for each node")
      ->check(CLI::IsMember({"single", "leaf"}));
  up->add_option("--idle-timeout", idle_timeout, "seconds until an idle worker is evicted")
      ->check(CLI::PositiveNumber);
  up->add_option("--set", settings, "a setting of cosigner.toml: TABLE.KEY=VALUE (repeatable)");
  up->add_option("--wait", wait, "seconds until every node must be ready (default 60)");
  add("down", "end the processes that were started here");
  CLI::App* status = add("status", "what runs");
  status->add_flag("--json", json, "one JSON object");
  CLI::App* start = add("start", "start what does not run, or one node, and wait until ready");
  start->add_option("--node", node, "number of the node");
  start->add_option("--wait", wait, "seconds until ready (default 60)");
  CLI::App* stop = add("stop", "end one node");
  stop->add_option("--node", node, "number of the node")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  options.topology = topology == "leaf" ? Topology::kLeaf : Topology::kSingle;
  if (idle_timeout != 0) {
    options.overrides["workers"]["idle_timeout_s"] = std::to_string(idle_timeout);
  }
  for (const std::string& setting : settings) {
    if (auto added = add_override(options.overrides, setting); !added) {
      return finish(added);
    }
  }
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction action{};
    action.sa_handler = on_interrupt;
    ::sigaction(signal, &action, nullptr);
  }

  Cluster cluster(directory, {.programs = std::filesystem::absolute(programs),
                              .ready_timeout = std::chrono::seconds(wait),
                              .say = say,
                              .interrupted = g_interrupted});
  if (up->parsed()) {
    const auto outcome = cluster.up(options);
    if (outcome) {
      say("ready; now source " + cluster.layout().env().string());
    }
    return finish(outcome);
  }
  if (status->parsed()) {
    return show_status(cluster.status(), json);
  }
  if (start->parsed()) {
    return finish(cluster.start(node == 0 ? std::nullopt : std::optional(node)));
  }
  if (stop->parsed()) {
    return finish(cluster.stop(node));
  }
  return finish(cluster.down());
}

}  // namespace
}  // namespace cosigner::devcluster

int main(int argc, char** argv) {
  return cosigner::devcluster::run(argc, argv);
}
