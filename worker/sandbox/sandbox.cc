#include "worker/sandbox/sandbox.h"

#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "worker/sandbox/seccomp_filter.h"

namespace cosigner::worker {
namespace {

/// A worker has about a dozen descriptors; a second broker link during a renewal two more.
constexpr rlim_t kMaxDescriptors = 64;
/// Private writable memory. A user with 256 sessions of 1 MiB messages stays below half of it.
constexpr rlim_t kMaxDataBytes = rlim_t{1} << 30;

std::optional<SeccompFilter> prepared_filter;

[[maybe_unused]] void limit(__rlimit_resource resource, rlim_t value) {
  const rlimit both{value, value};
  ::setrlimit(resource, &both);  // lowering one's own limit does not fail
}

// Those of a node that runs as root; others have none. no_new_privs keeps it that way.
[[maybe_unused]] Expected<void> drop_capabilities() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct held[_LINUX_CAPABILITY_U32S_3] = {};
  if (::syscall(SYS_capget, &header, held) != 0) {
    return fail(ErrorCode::kInternal, std::string("capget: ") + std::strerror(errno));
  }
  std::uint32_t any = 0;
  for (const __user_cap_data_struct& word : held) {
    any |= word.permitted | word.effective | word.inheritable;
  }
  // Who has none may be forbidden the call itself, as under the package's unit.
  const __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
  if (any != 0 && ::syscall(SYS_capset, &header, none) != 0) {
    return fail(ErrorCode::kInternal, std::string("capset: ") + std::strerror(errno));
  }
  return {};
}

}  // namespace

std::uint16_t broker_port(const std::string& url) {
  const std::size_t host = url.find("://");
  const std::size_t colon = url.rfind(':');
  if (host == std::string::npos || colon <= host) {
    return 4222;
  }
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(url.data() + colon + 1, url.data() + url.size(), port);
  return error == std::errc() && end == url.data() + url.size() ? port : std::uint16_t{0};
}

void prepare_sandbox() {
#ifndef COSIGNER_SANITIZED
  auto filter = SeccompFilter::compile();
  if (!filter) {
    std::fprintf(stderr, "cosigner-worker: %s\n", filter.error().message.c_str());
    std::abort();
  }
  prepared_filter = std::move(*filter);
#endif
}

std::string SandboxState::text() const {
  if (relaxed) {
    return "sandbox: relaxed (sanitizer build)";
  }
  return "sandbox: seccomp, landlock " +
         (landlock.refused        ? std::string("refused by the system-call filter around the node")
          : landlock.version == 0 ? std::string("not in this kernel")
                                  : "v" + std::to_string(landlock.version));
}

Expected<SandboxState> enter_sandbox(const std::string& broker_url) {
#ifdef COSIGNER_SANITIZED
  static_cast<void>(broker_url);
  return SandboxState{.landlock = {}, .relaxed = true};
#else
  limit(RLIMIT_NOFILE, kMaxDescriptors);
  limit(RLIMIT_DATA, kMaxDataBytes);
  if (auto dropped = drop_capabilities(); !dropped) {
    return std::unexpected(dropped.error());
  }
  const auto landlock = apply_landlock(broker_port(broker_url));
  if (!landlock) {
    return std::unexpected(landlock.error());
  }
  if (!prepared_filter) {
    return fail(ErrorCode::kInternal, "prepare_sandbox() was not called");
  }
  if (const auto applied = prepared_filter->apply(); !applied) {
    return std::unexpected(applied.error());
  }
  return SandboxState{.landlock = *landlock, .relaxed = false};
#endif
}

}  // namespace cosigner::worker
