#pragma once
// What this process is working on, for its crash record. Written on the main thread with every
// request and every session that is touched, read by the crash handler; costs two stores and a copy
// of 32 bytes. It names a session and says nothing about it.

#include <atomic>
#include <cstdint>

#include "crypto/base/bytes.h"

namespace cosigner::worker {

struct Activity {
  std::atomic<std::uint64_t> request{0};  ///< the supervisor's number of the last one begun
  SessionId session;                      ///< the last one touched

  void begin_request(std::uint64_t number) { request.store(number, std::memory_order_relaxed); }
  void touch_session(const SessionId& id) { session = id; }
};

inline Activity current_activity;

}  // namespace cosigner::worker
