#pragma once
// What init and peers have in common: how they fail, what they say to do next, and the bundle's way
// to the authority's own node.

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "supervisor/ctl/commands.h"
#include "supervisor/ctl/setup/authority.h"

namespace cosigner::ctl::setup {

[[nodiscard]] std::int64_t now_s();
/// So many days from now; 0, which is never, for 0 days.
[[nodiscard]] std::int64_t end_of_days(std::int64_t now_s, std::uint32_t days);
/// "2027-11-21", in UTC.
[[nodiscard]] std::string date_text(std::int64_t seconds);
[[nodiscard]] std::unexpected<Failure> usage(std::string message);
[[nodiscard]] std::unexpected<Failure> setup_failed(const Error& error);
/// The operator's next steps, numbered.
void print_steps(const Context& context, const std::vector<std::string>& steps);
/// The authority's next bundle, applied to the authority's own node.
[[nodiscard]] Expected<void> publish_here(const NodeDirectory& directory, Authority& authority);

}  // namespace cosigner::ctl::setup
