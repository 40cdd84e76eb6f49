#pragma once
// Every message that crosses a process boundary on one node, by who speaks. (metrics_messages.h,
// start_keys.h and sandboxed.h are apart.)

#include "ipc/child_messages.h"
#include "ipc/control_messages.h"
#include "ipc/gateway_messages.h"
#include "ipc/message_parts.h"
#include "ipc/message_types.h"
#include "ipc/pair_messages.h"
#include "ipc/store_messages.h"
#include "ipc/worker_messages.h"
#include "ipc/zygote_messages.h"
