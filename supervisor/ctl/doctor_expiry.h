#pragma once
// `cosignerctl doctor`: what stops working on a day that is known beforehand. Certificates and NATS
// credentials that init, peers import and client have made, beside the configuration.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "supervisor/ctl/doctor_findings.h"

namespace cosigner::ctl {

struct Expiring {
  std::string check;  ///< "certificate", …
  std::string path;
  std::int64_t ends_s = 0;               ///< since 1970; 0: never
  Verdict when_over = Verdict::kFailed;  ///< what it means for this node
  std::string remedy;
};

/// A warning for the last thirty days.
[[nodiscard]] Finding judge_expiry(const Expiring& one, std::int64_t now_s);

/// Of a node's directory. A program's credentials that this program may not read are left out:
/// they are their owner's.
[[nodiscard]] std::vector<Finding> check_expiries(const std::filesystem::path& directory,
                                                  std::int64_t now_s);

}  // namespace cosigner::ctl
