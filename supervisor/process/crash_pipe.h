#pragma once
// The supervisor's side of a child's crash pipe: read once, when the child is gone.

#include <optional>

#include "ipc/crash_record.h"
#include "ipc/error.h"
#include "ipc/unique_fd.h"

namespace cosigner::supervisor {

class CrashPipe {
 public:
  CrashPipe() = default;  ///< closed: there is never a record
  /// Errors: no descriptors are left.
  [[nodiscard]] static Expected<CrashPipe> open();
  /// The child's end, once.
  [[nodiscard]] ipc::UniqueFd take_writer() { return std::move(writer_); }
  /// What the child left, if anything that makes sense. Never blocks; reads a bounded amount.
  [[nodiscard]] std::optional<ipc::CrashRecord> read();

 private:
  ipc::UniqueFd reader_;
  ipc::UniqueFd writer_;
};

}  // namespace cosigner::supervisor
