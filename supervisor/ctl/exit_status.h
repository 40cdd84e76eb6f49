#pragma once
// cosignerctl's exit statuses. Scripts rely on them: numbers are never reused.

#include <string_view>

#include "ipc/error.h"

namespace cosigner::ctl {

enum class ExitStatus : int {
  kOk = 0,
  kRefused = 1,        ///< the cluster answered with a typed error; its name is printed
  kUsage = 2,          ///< wrong command line
  kNoInput = 66,       ///< an input file cannot be read (EX_NOINPUT)
  kUnreachable = 69,   ///< no node answers on the control socket (EX_UNAVAILABLE)
  kCannotWrite = 73,   ///< an output file cannot be written (EX_CANTCREAT)
  kDeadline = 75,      ///< no decisive answer before the deadline: ask again (EX_TEMPFAIL)
  kConfiguration = 78  ///< a configuration or key file is wrong (EX_CONFIG)
};

/// For --help and the manual: one line for each.
[[nodiscard]] std::string_view exit_status_help();

/// What a command fails with: the error as it is printed, and the status the program ends with.
struct Failure {
  ExitStatus status = ExitStatus::kRefused;
  Error error;
  bool reported = false;  ///< with --json: the output tells already, nothing more is printed
};

template <class T>
using Outcome = std::expected<T, Failure>;

/// A typed error of the cluster or of a node.
inline std::unexpected<Failure> refused(Error error) {
  return std::unexpected(Failure{ExitStatus::kRefused, std::move(error), false});
}
inline std::unexpected<Failure> failed(ExitStatus status, ErrorCode code, std::string message) {
  return std::unexpected(
      Failure{status, Error{.code = code, .message = std::move(message)}, false});
}

}  // namespace cosigner::ctl
