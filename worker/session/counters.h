#pragma once
// What the engine counts, as it travels to the supervisor: the struct is the list.

#include "ipc/session_events.h"

namespace cosigner::worker {

using Counters = ipc::SessionEvents;

}  // namespace cosigner::worker
