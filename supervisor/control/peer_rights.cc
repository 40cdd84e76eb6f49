#include "supervisor/control/peer_rights.h"

#include <grp.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>

namespace cosigner::supervisor {
namespace {

std::optional<gid_t> resolve(const std::string& name) {
  if (name.empty()) {
    return std::nullopt;
  }
  const group* const found = ::getgrnam(name.c_str());
  if (found == nullptr) {
    spdlog::warn("control: there is no group '{}'; nobody has its rights until the next reload",
                 name);
    return std::nullopt;
  }
  return found->gr_gid;
}

}  // namespace

PeerRights::PeerRights(const std::string& admin_group, const std::string& view_group)
    : admin_(resolve(admin_group)), view_(resolve(view_group)) {}

Rights PeerRights::of(const ControlPeer& peer) const {
  if (peer.uid == 0 || peer.uid == ::geteuid()) {
    return Rights::kAdmin;
  }
  const auto in = [&peer](const std::optional<gid_t>& wanted) {
    return wanted &&
           (peer.gid == *wanted || std::ranges::find(peer.groups, *wanted) != peer.groups.end());
  };
  return in(admin_) ? Rights::kAdmin : in(view_) ? Rights::kView : Rights::kNone;
}

}  // namespace cosigner::supervisor
