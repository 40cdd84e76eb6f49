#include "supervisor/ctl/doctor_expiry.h"

#include <unistd.h>

#include <algorithm>

#include "supervisor/ctl/setup/credentials_end.h"
#include "supervisor/ctl/setup/node_directory.h"
#include "supervisor/ctl/setup/tls_authority.h"

namespace cosigner::ctl {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kDayS = 86'400;
constexpr std::int64_t kSoonS = 30 * kDayS;

constexpr const char* kMakeNodeAgain =
    "import this node's card again where the authority is; it makes new ones";
constexpr const char* kMakeAuthorityAgain =
    "no command renews it: another authority's key and certificate in authority/tls-authority.key "
    "and .crt, then import every card and everywhere the bundle again";
constexpr const char* kMakeClientAgain =
    "make new ones where the authority is (cosignerctl client --out FILE), or remove the file";

/// Reads one file and adds what is found in it. `end_of`: from its text, Expected<std::int64_t>.
template <class Read, class EndOf>
void look_at(Expiring one, const Read& read, const EndOf& end_of, std::int64_t now_s,
             std::vector<Finding>& out) {
  const auto text = read(fs::path(one.path));
  const Expected<std::int64_t> ends =
      text ? end_of(*text) : Expected<std::int64_t>(std::unexpected(text.error()));
  if (!ends) {
    out.push_back({one.check, Verdict::kWarning,
                   text ? one.path + ": " + ends.error().message : ends.error().message,
                   text ? one.remedy : "run this as root or as a member of the group nats"});
    return;
  }
  one.ends_s = *ends;
  out.push_back(judge_expiry(one, now_s));
}

/// What this host's nats-servers need.
void check_broker(const fs::path& broker, std::int64_t now_s, std::vector<Finding>& out) {
  std::error_code ignored;
  for (const auto& [name, remedy] : {std::pair{"leaf.crt", kMakeNodeAgain},
                                     {"hub.crt", kMakeNodeAgain},
                                     {"ca.crt", kMakeAuthorityAgain}}) {
    const fs::path path = broker / name;
    if (fs::exists(path, ignored)) {
      look_at({.check = "certificate", .path = path.string(), .remedy = remedy}, read_file,
              certificate_ends, now_s, out);
    }
  }
  const fs::path credentials = broker / "leaf.creds";
  if (fs::exists(credentials, ignored)) {
    look_at({.check = "hub credentials", .path = credentials.string(), .remedy = kMakeNodeAgain},
            read_secret, credentials_end, now_s, out);
  }
}

/// Programs' credentials, where cosignerctl writes them unless told otherwise.
void check_clients(const fs::path& directory, std::int64_t now_s, std::vector<Finding>& out) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    if (at->path().extension() == ".creds" && ::access(at->path().c_str(), R_OK) == 0) {
      files.push_back(at->path());
    }
  }
  std::ranges::sort(files);
  for (const fs::path& path : files) {
    look_at({.check = "client credentials",
             .path = path.string(),
             .when_over = Verdict::kWarning,  // the node itself needs none of them
             .remedy = kMakeClientAgain},
            read_secret, credentials_end, now_s, out);
  }
}

}  // namespace

Finding judge_expiry(const Expiring& one, std::int64_t now_s) {
  if (one.ends_s == 0) {
    return {one.check, Verdict::kOk, one.path + " does not expire", ""};
  }
  const std::int64_t left_s = one.ends_s - now_s;
  if (left_s <= 0) {
    return {one.check, one.when_over, one.path + " has expired", one.remedy};
  }
  return {one.check, left_s < kSoonS ? Verdict::kWarning : Verdict::kOk,
          one.path + " is good for " + std::to_string(left_s / kDayS) + " days",
          left_s < kSoonS ? one.remedy : ""};
}

std::vector<Finding> check_expiries(const fs::path& directory, std::int64_t now_s) {
  std::vector<Finding> out;
  const NodeDirectory node(directory);
  check_broker(node.broker(), now_s, out);
  check_clients(node.root(), now_s, out);
  return out;
}

}  // namespace cosigner::ctl
