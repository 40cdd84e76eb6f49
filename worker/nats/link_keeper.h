#pragma once
// Keeps a connection's link up: connects, waits for the broker's acknowledgements, asks whether a
// quiet broker is still there, replaces a link that is lost or has new credentials, ends the last
// one. All of it blocks, so it has a thread of its own, the link thread; sending and receiving are
// the loop's (link_pump.h), to which each link is handed over.

#include <chrono>
#include <expected>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "worker/nats/broker_event.h"
#include "worker/nats/broker_link.h"
#include "worker/nats/link_handover.h"
#include "worker/nats/link_signals.h"

namespace cosigner::worker {

class LinkKeeper {
 public:
  struct Handlers {
    /// From BrokerLink::receive(), in the thread that calls it.
    std::function<void(BrokerMessage)> on_message;
    /// There is something for BrokerLink::send(). From any thread; must not block.
    std::function<void()> on_unwritten;
    /// Everything else that happens. From any thread; must not block.
    std::function<void(BrokerEvent)> tell;
  };
  /// `linger`: how long publishing goes on after drain(), unless close() ends it before.
  LinkKeeper(LinkOptions options, ipc::BrokerAccess access, Ed25519SecretKey key,
             std::chrono::milliseconds linger, LinkHandover& handover, Handlers handlers);
  /// join() comes before.
  ~LinkKeeper() = default;
  LinkKeeper(const LinkKeeper&) = delete;
  LinkKeeper& operator=(const LinkKeeper&) = delete;

  void start();
  /// Waits until it has ended; close() and LinkHandover::leave() come before.
  void join();

  // ---- any thread; as BrokerConnection has them

  void renew(ipc::BrokerAccess access) { signals_.renew(std::move(access)); }
  void close() { signals_.close(); }
  void drain() { signals_.drain(); }
  /// The link with this number is of no more use.
  void lost(std::uint64_t number, std::string reason);

 private:
  void run();
  bool connect();
  void replace(ipc::BrokerAccess access);
  void lose(std::string reason);
  void finish();
  void say_last_words();
  void keep(std::optional<ipc::BrokerAccess> renewed);
  std::expected<std::unique_ptr<BrokerLink>, std::string> open(const ipc::BrokerAccess& access,
                                                               const std::string& announce);
  void let_go(BrokerLink& link, std::uint64_t number);
  std::expected<void, std::string> acknowledged(BrokerLink& link);
  bool broker_answers();
  std::chrono::milliseconds jittered_ping_interval();

  const LinkOptions options_;
  const Ed25519SecretKey key_;
  const std::chrono::milliseconds linger_;
  LinkHandover& handover_;
  const Handlers handlers_;
  LinkSignals signals_;
  std::mutex reason_mutex_;
  std::string lost_reason_;
  std::thread thread_;

  // The link thread's.
  ipc::BrokerAccess access_;
  std::unique_ptr<BrokerLink> link_;
  std::uint64_t attempts_ = 0;
  std::uint64_t link_number_ = 0;  ///< the attempt that link_ came from
  std::string last_failure_;
};

}  // namespace cosigner::worker
