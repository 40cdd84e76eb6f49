#pragma once
// Numbers that are each in their range and cannot work together.

#include <sys/resource.h>

#include <expected>
#include <string>

#include "supervisor/config/toml_fields.h"

namespace cosigner::supervisor {

/// Worker limits against session settings. `document`: cosigner.toml, for the lines.
void check_together(const toml::table& document, const Config& config, Problems& problems);

/// Descriptors that the supervisor needs when it has so many workers.
[[nodiscard]] std::uint64_t descriptors_needed(std::uint64_t workers);
/// Lowers max_workers to what a process that may open `allowed` descriptors can have. Where the
/// file asks for more that is remembered (Config::workers_asked), for a node that signs with fewer
/// workers is worth more than one that does not start. Errors: they do not suffice for one worker.
/// Asked by cosignerd of itself: whoever runs config check has other limits than the unit.
[[nodiscard]] std::expected<void, ConfigProblem> fit_workers(Config& config, rlim_t allowed);
/// What an operator is told about that; empty if there are as many as were asked for.
[[nodiscard]] std::string missing_workers(const Config& config);

}  // namespace cosigner::supervisor
