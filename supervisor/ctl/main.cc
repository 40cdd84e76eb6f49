// cosignerctl: the operator's and the demonstrator's hand on a node. This file parses;
// command_line.h has what can be said, commands.h does it.

#include <CLI/CLI.hpp>
#include <iostream>

#include "supervisor/ctl/command_line.h"

namespace cosigner::ctl {
namespace {

void print_failure(const Failure& failure, bool json) {
  if (!json) {
    std::cerr << "cosignerctl: " << error_text(failure.error) << "\n";
  } else if (!failure.reported) {
    std::cout << error_json(failure.error).dump() << "\n";
  }
}

int run(int argc, char** argv) {
  CommandLine line;
  CLI::App app("cosignerctl: look at a cosigner node, make keys, sign");
  app.add_option("--socket", line.socket, "the node's control socket")
      ->envname("COSIGNER_SOCKET")
      ->capture_default_str();
  app.add_option("--initiator", line.initiator, "file with the key that signs requests")
      ->envname("COSIGNER_INITIATOR");
  app.add_flag("--json", line.json, "one JSON object on stdout, for errors as well");
  app.require_subcommand(1);
  app.footer(std::string(exit_status_help()) +
             "\nErrors are one sentence and the error's name; the names are a closed set, the same "
             "on the wire.");
  add_node_commands(app, line);
  add_setup_commands(app, line);
  add_request_commands(app, line);
  add_presign_command(app, line);
  add_bench_commands(app, line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      return app.exit(error);  // --help
    }
    const bool json = line.json || std::any_of(argv, argv + argc, [](const char* argument) {
                        return std::string_view(argument) == "--json";
                      });
    print_failure(failed(ExitStatus::kUsage, ErrorCode::kBadRequest,
                         std::string(error.what()) + " (see --help)")
                      .error(),
                  json);
    return static_cast<int>(ExitStatus::kUsage);
  }

  const Context context{line.socket, line.initiator, line.json, std::cout, interrupted()};
  const auto outcome = line.action(context);
  std::cout.flush();
  if (!outcome) {
    print_failure(outcome.error(), line.json);
    return static_cast<int>(outcome.error().status);
  }
  return std::cout ? 0 : static_cast<int>(ExitStatus::kCannotWrite);
}

}  // namespace
}  // namespace cosigner::ctl

int main(int argc, char** argv) {
  return cosigner::ctl::run(argc, argv);
}
