#pragma once
// libseccomp behind one type: rules are added, then loaded into this process or written down for
// others. Used by everything of ours that gives up system calls (the supervisor, its exporter,
// workers and the gateway); which calls those are is theirs to say. Header only, so that who needs
// no filter links no libseccomp.

#include <seccomp.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>

#include "ipc/error.h"

namespace cosigner::ipc {

class SeccompRules {
 public:
  /// A call whose argument `argument` is `value` under `mask`.
  struct Narrow {
    int call;
    unsigned argument;
    scmp_datum_t mask;
    scmp_datum_t value;
  };
  static constexpr scmp_datum_t kAllBits = ~scmp_datum_t{0};

  /// `otherwise`: what becomes of a call that no rule names.
  explicit SeccompRules(std::uint32_t otherwise)
      : context_(::seccomp_init(otherwise)), status_(context_ == nullptr ? -ENOMEM : 0) {}

  void set(scmp_filter_attr attribute, std::uint32_t value) {
    keep([&] { return ::seccomp_attr_set(context_.get(), attribute, value); });
  }
  /// One rule; it applies when all conditions hold.
  void add(std::uint32_t action, int call, std::initializer_list<scmp_arg_cmp> conditions = {}) {
    keep([&] {
      return ::seccomp_rule_add_array(context_.get(), action, call,
                                      static_cast<unsigned>(conditions.size()), conditions.begin());
    });
  }
  void add(std::uint32_t action, std::span<const int> calls) {
    for (const int call : calls) {
      add(action, call);
    }
  }
  void allow(std::span<const Narrow> rules) {
    for (const Narrow& rule : rules) {
      add(SCMP_ACT_ALLOW, rule.call, {{rule.argument, SCMP_CMP_MASKED_EQ, rule.mask, rule.value}});
    }
  }

  // What has failed first, with any of the above too, is told here: nothing is in force then.
  /// For this thread and all it will start.
  [[nodiscard]] Expected<void> load() {
    keep([&] { return ::seccomp_load(context_.get()); });
    return result();
  }
  /// As the kernel's instructions, to a file.
  [[nodiscard]] Expected<void> write(int file) {
    keep([&] { return ::seccomp_export_bpf(context_.get(), file); });
    return result();
  }

 private:
  struct Release {
    void operator()(void* context) const { ::seccomp_release(context); }
  };
  template <class Step>
  void keep(Step step) {
    if (status_ == 0) {
      status_ = step();
    }
  }
  [[nodiscard]] Expected<void> result() const {
    if (status_ != 0) {
      return fail(ErrorCode::kInternal, std::string("seccomp: ") + std::strerror(-status_));
    }
    return {};
  }

  std::unique_ptr<void, Release> context_;
  int status_;
};

}  // namespace cosigner::ipc
