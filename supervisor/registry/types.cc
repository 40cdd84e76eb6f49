#include "supervisor/registry/types.h"

#include <cstring>

namespace cosigner::supervisor {

std::string_view user_state_name(UserState state) {
  switch (state) {
    case UserState::kAbsent:
      return "absent";
    case UserState::kStarting:
      return "starting";
    case UserState::kReady:
      return "ready";
    case UserState::kBusy:
      return "busy";
    case UserState::kDraining:
      return "draining";
    case UserState::kBackoff:
      return "backoff";
    case UserState::kQuarantined:
      return "quarantined";
  }
  return "absent";
}

std::string ExitCause::text() const {
  std::string out;
  switch (kind) {
    case ExitKind::kExited:
      out = "ended with status " + std::to_string(value);
      break;
    case ExitKind::kSignal: {
      const char* name = ::sigabbrev_np(value);
      out = "ended by signal " + std::to_string(value) +
            (name != nullptr ? " (SIG" + std::string(name) + ")" : "");
      break;
    }
    case ExitKind::kOutOfMemory:
      out = "hit its memory limit";
      break;
    case ExitKind::kForkFailed:
      out = "could not be forked";
      break;
  }
  return out;
}

std::string_view kill_reason_text(KillReason reason) {
  switch (reason) {
    case KillReason::kNone:
      break;
    case KillReason::kUnresponsive:
      return "killed: it showed no life";
    case KillReason::kStartTimeout:
      return "killed: it was not ready in time";
    case KillReason::kSocketClosed:
      return "killed: it closed its socket or spoke nonsense";
    case KillReason::kStorage:
      return "killed: this node could not read its keys";
    case KillReason::kRestart:
      return "killed: an operator's restart";
    case KillReason::kQuarantine:
      return "killed: an operator's quarantine";
    case KillReason::kShutdown:
      return "killed: the node shuts down";
    case KillReason::kLingered:
      return "killed: it agreed to go and did not";
  }
  return "";
}

std::string_view death_cause_name(DeathCause cause) {
  switch (cause) {
    case DeathCause::kSignal:
      return "signal";
    case DeathCause::kExit:
      return "exit";
    case DeathCause::kUnresponsive:
      return "unresponsive";
    case DeathCause::kStartTimeout:
      return "start_timeout";
    case DeathCause::kOutOfMemory:
      return "out_of_memory";
    case DeathCause::kKilled:
      return "killed";
  }
  return "killed";
}

std::string_view limit_name(Limit limit) {
  switch (limit) {
    case Limit::kMailboxEntries:
      return "mailbox_entries";
    case Limit::kMailboxBytes:
      return "mailbox_bytes";
    case Limit::kTotalMailboxBytes:
      return "total_mailbox_bytes";
    case Limit::kWaitingUsers:
      return "waiting_users";
    case Limit::kWorkers:
      return "workers";
    case Limit::kSpawnRate:
      return "spawn_rate";
    case Limit::kEnding:
      return "ending";
  }
  return "ending";
}

}  // namespace cosigner::supervisor
