#include "worker/sandbox/landlock.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "ipc/unique_fd.h"

namespace cosigner::worker {
namespace {

// The numbers of the system calls are the same on all architectures.
constexpr long kAddRule = 445;
constexpr long kRestrictSelf = 446;
constexpr std::uint32_t kRuleNetPort = 2;
constexpr std::uint64_t kBindTcp = 1;
constexpr std::uint64_t kConnectTcp = 2;

struct RulesetAttributes {
  std::uint64_t files = 0;
  std::uint64_t network = 0;
  std::uint64_t scoped = 0;
};
struct NetPortAttributes {
  std::uint64_t allowed = 0;
  std::uint64_t port = 0;
};

// What each version can forbid; version 1 has 13 rights on files.
std::uint64_t file_rights(std::uint32_t version) {
  const unsigned count = version >= 5 ? 16 : version >= 3 ? 15 : version >= 2 ? 14 : 13;
  return (std::uint64_t{1} << count) - 1;
}

std::unexpected<Error> failed(const char* what) {
  return fail(ErrorCode::kInternal, std::string(what) + ": " + std::strerror(errno));
}

}  // namespace

Expected<Landlock> apply_landlock(std::uint16_t tcp_port) {
  const Landlock landlock = ipc::ask_landlock();
  if (landlock.version == 0) {
    return landlock;
  }
  const std::uint32_t version = landlock.version;
  RulesetAttributes attributes;
  attributes.files = file_rights(version);
  std::size_t size = sizeof attributes.files;
  if (version >= 4) {
    attributes.network = kBindTcp | kConnectTcp;
    size += sizeof attributes.network;
  }
  if (version >= 6) {
    attributes.scoped = 3;  // abstract Unix sockets, signals
    size += sizeof attributes.scoped;
  }
  const ipc::UniqueFd ruleset(static_cast<int>(
      ::syscall(ipc::kLandlockCreateRuleset, &attributes, size, std::uint32_t{0})));
  if (!ruleset) {
    return failed("landlock_create_ruleset");
  }
  if (version >= 4) {
    const NetPortAttributes port{.allowed = kConnectTcp, .port = tcp_port};
    if (::syscall(kAddRule, ruleset.get(), kRuleNetPort, &port, std::uint32_t{0}) != 0) {
      return failed("landlock_add_rule");
    }
  }
  if (::syscall(kRestrictSelf, ruleset.get(), std::uint32_t{0}) != 0) {
    return failed("landlock_restrict_self");
  }
  return landlock;
}

}  // namespace cosigner::worker
