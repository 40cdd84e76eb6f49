#include "supervisor/ctl/setup/support.h"

#include "supervisor/ctl/setup/membership.h"
#include "supervisor/ctl/utc_text.h"
#include "supervisor/service/clock.h"

namespace cosigner::ctl::setup {

std::int64_t now_s() {
  return static_cast<std::int64_t>(supervisor::wall_seconds());
}

std::int64_t end_of_days(std::int64_t now_s, std::uint32_t days) {
  constexpr std::int64_t kDayS = 86'400;
  return days == 0 ? 0 : now_s + days * kDayS;
}

std::string date_text(std::int64_t seconds) {
  return utc_text(seconds, "%Y-%m-%d");
}

std::unexpected<Failure> usage(std::string message) {
  return failed(ExitStatus::kUsage, ErrorCode::kBadRequest, std::move(message));
}

std::unexpected<Failure> setup_failed(const Error& error) {
  const ExitStatus status = error.code == ErrorCode::kStorageFailed ? ExitStatus::kCannotWrite
                                                                    : ExitStatus::kConfiguration;
  return std::unexpected(Failure{status, error, false});
}

void print_steps(const Context& context, const std::vector<std::string>& steps) {
  context.out << "\nNext:\n";
  for (std::size_t i = 0; i < steps.size(); ++i) {
    context.out << "  " << i + 1 << ". " << steps[i] << "\n";
  }
}

Expected<void> publish_here(const NodeDirectory& directory, Authority& authority) {
  const auto sealed = authority.publish(now_s());
  const auto bundle =
      sealed ? open_bundle(*sealed) : Expected<Bundle>(std::unexpected(sealed.error()));
  if (!bundle) {
    return std::unexpected(bundle.error());
  }
  return apply_bundle(directory, *bundle, *sealed);
}

}  // namespace cosigner::ctl::setup
