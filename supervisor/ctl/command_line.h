#pragma once
// What the command line can say, and the helpers of those who declare its commands: each
// command_line_*.cc declares a part of them, main.cc parses.

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/ctl/commands.h"
#include "supervisor/ctl/setup/commands.h"

namespace CLI {
class App;
}

namespace cosigner::ctl {

using Action = std::function<Outcome<void>(const Context&)>;

/// Everything the command line can say.
struct CommandLine {
  std::string socket = "/run/cosigner/control.sock";
  std::string initiator;
  bool json = false;
  std::string user;
  std::string file = "/etc/cosigner/cosigner.toml";
  std::string level;
  bool follow = false;
  TopArguments top;
  double timeout_s = 0;
  std::string stdin_mark;
  std::string format;
  std::string message_file;
  std::optional<std::string> message_hex;
  std::optional<std::string> digest_hex;
  std::string hash;
  std::string encoding;
  std::string path;
  KeygenArguments keygen;
  PairArguments pair;
  SignArguments sign;
  PresignArguments presign;
  InitArguments init;
  std::vector<std::string> files;
  std::string file_out;
  bool bundle = false;
  ClientArguments client;
  bool confirmed = false;
  BenchOptions bench;
  std::string bench_scheme = "ed25519";

  Action action;
};

/// Those that look at a node or order something of it.
void add_node_commands(CLI::App& app, CommandLine& line);
/// Those by which nodes become a cluster.
void add_setup_commands(CLI::App& app, CommandLine& line);
/// Those that ask the cluster for keys, signatures and presignatures, and measure it.
void add_request_commands(CLI::App& app, CommandLine& line);
void add_presign_command(CLI::App& app, CommandLine& line);
void add_bench_commands(CLI::App& app, CommandLine& line);

/// A subcommand that accepts the global options after its name as well.
CLI::App* add(CLI::App& app, CommandLine& line, const char* name, const char* help, Action action);
[[nodiscard]] Outcome<std::optional<bip32::Path>> path_option(const CommandLine& line);
[[nodiscard]] std::chrono::milliseconds from_seconds(double seconds);

/// For the commands that look at Context::interrupted, to end with a report of what was done. Every
/// other one ends at the first Ctrl-C the usual way, whatever it waits for.
void catch_interrupt();
/// For Context::interrupted.
[[nodiscard]] const std::atomic<bool>& interrupted();

}  // namespace cosigner::ctl
