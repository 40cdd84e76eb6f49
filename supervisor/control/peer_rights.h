#pragma once
// Who may do what on the control socket, from the peer's credentials as the kernel noted them when
// it connected. No look-up of names on the way: the two groups are resolved at the start and at a
// reload, and whoever was given one of them logs in again.

#include <optional>
#include <string>

#include "supervisor/control/control_server.h"

namespace cosigner::supervisor {

enum class Rights : std::uint8_t { kNone, kView, kAdmin };

class PeerRights {
 public:
  /// Names of Unix groups; empty: none.
  PeerRights(const std::string& admin_group, const std::string& view_group);

  /// Root and the node's own user may do everything.
  [[nodiscard]] Rights of(const ControlPeer& peer) const;

 private:
  std::optional<gid_t> admin_;
  std::optional<gid_t> view_;
};

}  // namespace cosigner::supervisor
