#pragma once
// `cosignerctl doctor`: what is not as it should be on this host, each with what to do about it.
// run_doctor() asks the node, the broker and the kernel; doctor_findings.h judges what they say.

#include <string>

#include "supervisor/ctl/commands.h"

namespace cosigner::ctl {

/// Exit status 0 with warnings, 1 when a check failed, 78 when the configuration is wrong.
Outcome<void> run_doctor(const Context& context, const std::string& configuration);

}  // namespace cosigner::ctl
