#pragma once
// Numbers that are each in their range and cannot work together.

#include <sys/resource.h>

#include <optional>

#include "supervisor/config/toml_fields.h"

namespace cosigner::supervisor {

/// Worker limits against session settings. `document`: cosigner.toml, for the lines.
void check_together(const toml::table& document, const Config& config, Problems& problems);

/// Descriptors that the supervisor needs when it has as many workers as it may.
[[nodiscard]] std::uint64_t descriptors_needed(const WorkerLimits& limits);
/// What is wrong with a process that may open `allowed`; nothing if they suffice. Asked by
/// cosignerd of itself at its start: whoever runs config check has other limits than the unit.
[[nodiscard]] std::optional<ConfigProblem> check_descriptors(const Config& config, rlim_t allowed);
/// Where nobody has written max_workers down it is no more than `allowed` descriptors suffice for;
/// a number that somebody has written is kept, and check_descriptors() says what is wrong with it.
void fit_default_workers(Config& config, rlim_t allowed);

}  // namespace cosigner::supervisor
