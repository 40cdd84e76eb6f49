#include "supervisor/ctl/command_line.h"

#include <signal.h>

#include <CLI/CLI.hpp>

#include "supervisor/ctl/key_points.h"

namespace cosigner::ctl {
namespace {

std::atomic<bool> g_interrupted{false};

void on_interrupt(int) {
  g_interrupted = true;
}

}  // namespace

void catch_interrupt() {
  struct sigaction interrupt{};
  interrupt.sa_handler = on_interrupt;
  interrupt.sa_flags = static_cast<int>(SA_RESETHAND);  // a second Ctrl-C ends it the usual way
  ::sigaction(SIGINT, &interrupt, nullptr);
}

const std::atomic<bool>& interrupted() {
  return g_interrupted;
}

std::chrono::milliseconds from_seconds(double seconds) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

CLI::App* add(CLI::App& app, CommandLine& line, const char* name, const char* help, Action action) {
  CLI::App* command = app.add_subcommand(name, help);
  command->fallthrough();
  command->callback([&line, action = std::move(action)] { line.action = action; });
  return command;
}

Outcome<std::optional<bip32::Path>> path_option(const CommandLine& line) {
  if (line.path.empty()) {
    return std::nullopt;
  }
  auto path = parse_path_option(line.path);
  if (!path) {
    return std::unexpected(path.error());
  }
  return *std::move(path);
}

}  // namespace cosigner::ctl
