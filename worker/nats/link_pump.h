#pragma once
// The loop's side of a link: receives when its descriptor is readable, sends what publish() left,
// and says when the broker has not read for too long. All in the loop's thread.

#include <uv.h>

#include <chrono>
#include <functional>

#include "worker/nats/broker_link.h"

namespace cosigner::worker {

class LinkPump {
 public:
  struct Handlers {
    std::function<void()> on_received;  ///< messages may have come; may destroy the pump
    std::function<void()> on_stuck;     ///< nothing was read from us for the write deadline
  };
  /// `link` must outlive the pump.
  LinkPump(uv_loop_t* loop, BrokerLink& link, std::chrono::milliseconds write_deadline,
           Handlers handlers);
  /// The loop must run once more to free the handles.
  ~LinkPump();
  LinkPump(const LinkPump&) = delete;
  LinkPump& operator=(const LinkPump&) = delete;

  [[nodiscard]] BrokerLink& link() const { return link_; }
  /// Sends what there is, unless the socket is known to be full.
  void send();
  /// Before the pump goes: what can be sent and received without waiting.
  void let_go();
  /// The same as send() at the very end, waiting for the socket, at most for the write deadline in
  /// all.
  void send_all();

 private:
  struct Handles;
  void on_poll(int status, int events);
  void on_deadline();
  void try_to_send();
  void await(bool writable);

  BrokerLink& link_;
  const std::chrono::milliseconds write_deadline_;
  const Handlers handlers_;
  Handles* handles_;      // freed by libuv's close callbacks
  bool polling_ = false;  // false as well once the link has ended
  bool full_ = false;     // the socket took less than all
};

}  // namespace cosigner::worker
