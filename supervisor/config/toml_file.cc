#include "supervisor/config/toml_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

namespace cosigner::supervisor {

std::optional<toml::table> parse_file(const std::string& path, Problems& problems) {
  toml::parse_result parsed = toml::parse_file(path);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    const bool readable = ::access(path.c_str(), R_OK) == 0;
    problems.add(error.source(), std::string(error.description()),
                 readable ? "correct the TOML syntax" : "check the path and its permissions");
    return std::nullopt;
  }
  return std::move(parsed).table();
}

void append(std::vector<ConfigProblem>& all, Problems& problems) {
  std::ranges::stable_sort(problems.found(), {}, &ConfigProblem::line);
  std::ranges::move(problems.found(), std::back_inserter(all));
}

void check_shared(const std::string& path, Problems& problems) {
  struct stat info{};
  if (::stat(path.c_str(), &info) == 0 && (info.st_mode & S_IWOTH) != 0) {
    problems.add_line(0, "everybody on this host may write to it", "run: chmod o-w " + path);
  }
}

}  // namespace cosigner::supervisor
