#pragma once
// The audit log: one entry for every request that this node decided and for every call on the
// control socket that it refused or that changed something. It goes where the log goes, whatever
// the log's level, with AUDIT=request or AUDIT=control in the journal, and AUDIT=order for an order
// about pairwise state that was carried into the store; `[log] audit = false` turns it off.

#include <spdlog/sinks/sink.h>

#include <memory>
#include <string>
#include <string_view>

#include "crypto/base/bytes.h"
#include "ipc/error.h"
#include "supervisor/control/control_server.h"

namespace cosigner::supervisor {

/// Null: no audit log.
void set_up_audit(std::shared_ptr<spdlog::sinks::sink> sink);

/// A request and how it ended here.
struct Decision {
  std::string user;
  std::uint64_t generation = 0;  ///< of the worker that decided; 0: none lived
  std::string operation;
  std::string key;
  SessionId session;
  bool has_client = true;           ///< false: a peer's wake-up, whose client asked another node
  std::string_view outcome = "ok";  ///< or the error's name
};
void audit_request(const Decision& decision);

/// A call on the control socket by the process and user behind it. `outcome`: "allowed", or the
/// error's name.
void audit_control(const ControlPeer& peer, std::string_view command, std::string_view user,
                   std::string_view outcome);

/// What audit_control() has allowed and the store now holds: `reason` is the operator's own words.
void audit_order(const ControlPeer& peer, std::string_view command, std::string_view user,
                 std::string_view key, std::string_view node, std::string_view reason);

}  // namespace cosigner::supervisor
