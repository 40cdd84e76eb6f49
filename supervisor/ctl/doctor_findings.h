#pragma once
// `cosignerctl doctor`: what is told, and how it is judged. Pure, so that every verdict has a test.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/ctl/json.h"

namespace cosigner::ctl {

enum class Verdict : std::uint8_t { kOk, kWarning, kFailed };

struct Finding {
  std::string check;  ///< "broker", "clock", …
  Verdict verdict = Verdict::kOk;
  std::string detail;
  std::string remedy;  ///< empty when there is nothing to do
};

struct KernelFacts {
  bool clock_synchronised = false;
  std::int64_t clock_error_us = 0;  ///< the kernel's own estimate, at most
  std::uint64_t pid_max = 0;
};

/// What a nats-server says first; nothing if it did not.
struct BrokerFacts {
  bool reached = false;
  std::string version;
  std::uint64_t max_payload = 0;
  bool authentication = false;
};

[[nodiscard]] std::vector<Finding> judge_status(const Json& status);
/// What a node finds in itself; `now_ms`: by this program's clock.
[[nodiscard]] std::vector<Finding> judge_self_check(const Json& reply, std::int64_t now_ms);
[[nodiscard]] std::vector<Finding> judge_kernel(const KernelFacts& kernel,
                                                std::uint64_t max_workers);
/// Bytes free where the store is.
[[nodiscard]] Finding judge_space(std::uint64_t free);
[[nodiscard]] Finding judge_broker(const std::string& url, const BrokerFacts& broker);
/// `line`: "INFO {…}" as a nats-server sends it.
[[nodiscard]] BrokerFacts parse_broker_info(std::string_view line);

}  // namespace cosigner::ctl
