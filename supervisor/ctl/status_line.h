#pragma once
// One line on standard error that tells a person how far a command is. Nothing where standard error
// is no terminal.

#include <unistd.h>

#include <iostream>
#include <string_view>

namespace cosigner::ctl {

class StatusLine {
 public:
  StatusLine() = default;
  ~StatusLine() { show({}); }
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  /// In place of what it showed before.
  void show(std::string_view text) {
    if (terminal_ && (shown_ || !text.empty())) {
      std::cerr << "\r\033[K" << text << std::flush;
      shown_ = !text.empty();
    }
  }
  /// What it shows stays there: what comes next has a line of its own.
  void keep() {
    if (shown_) {
      std::cerr << "\n";
      shown_ = false;
    }
  }

 private:
  bool terminal_ = ::isatty(STDERR_FILENO) == 1;
  bool shown_ = false;
};

}  // namespace cosigner::ctl
