#include <filesystem>
#include <ostream>

#include "supervisor/ctl/json.h"
#include "supervisor/ctl/setup/authority.h"
#include "supervisor/ctl/setup/commands.h"
#include "supervisor/ctl/setup/support.h"

namespace cosigner::ctl {

using namespace setup;

Outcome<void> run_client(const Context& context, const ClientArguments& arguments) {
  namespace fs = std::filesystem;
  const NodeDirectory directory(arguments.directory);
  const fs::path file = fs::absolute(arguments.out_file);
  std::error_code ignored;
  if (fs::exists(file, ignored)) {
    return failed(ExitStatus::kCannotWrite, ErrorCode::kAlreadyExists,
                  file.string() +
                      " is there already: a program that has it would lose its "
                      "credentials. Remove it first.");
  }
  const auto authority = Authority::load(directory);
  if (!authority) {
    return setup_failed(authority.error());
  }
  const std::int64_t now = now_s();
  const std::int64_t expires = end_of_days(now, arguments.days);
  SystemRandom random;
  const auto made = authority->client_credentials(now, expires, random);
  if (!made) {
    return setup_failed(made.error());
  }
  if (auto written = directory.write_secret(file, made->text); !written) {
    return setup_failed(written.error());
  }
  const std::string inbox = "_INBOX." + made->user;
  if (context.json) {
    context.out << Json{{"credentials", file.string()},
                        {"inbox", inbox},
                        {"expires_at", expires == 0 ? Json(nullptr) : Json(expires)}}
                       .dump()
                << "\n";
    return {};
  }
  context.out << file.string() << ": credentials of cluster " << authority->cluster()
              << ", for one program. It hears answers on inboxes below\n  " << inbox
              << "\nand no others: set that as the inbox prefix of its NATS client. "
              << (arguments.days == 0 ? std::string("They do not expire.")
                                      : "They expire on " + date_text(expires) + ", in " +
                                            std::to_string(arguments.days) + " days.")
              << "\n";
  return {};
}

}  // namespace cosigner::ctl
