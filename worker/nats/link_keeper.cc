#include "worker/nats/link_keeper.h"

#include <pthread.h>

#include <algorithm>

#include "crypto/base/random.h"

namespace cosigner::worker {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstRetry{10};
constexpr milliseconds kLastRetry{1000};
constexpr milliseconds kDrainTimeout{1000};
constexpr milliseconds kAcknowledgeTimeout{10'000};
// The broker's answers are waited for in steps: in between it is heard what else there is.
constexpr milliseconds kStep{250};

// 1× to 5× for the first retries, so that workers do not all come back at once.
milliseconds jitter(milliseconds wait) {
  SystemRandom random;
  const auto draw = random.bytes<Bytes<2>>();
  const unsigned fraction = draw.data[0] | static_cast<unsigned>(draw.data[1]) << 8U;
  const milliseconds spread = wait < milliseconds{100} ? wait * 4 : wait / 2;
  return wait + milliseconds(spread.count() * fraction / 65536);
}

}  // namespace

LinkKeeper::LinkKeeper(LinkOptions options, ipc::BrokerAccess access, Ed25519SecretKey key,
                       milliseconds linger, LinkHandover& handover, Handlers handlers)
    : options_(std::move(options)),
      key_(std::move(key)),
      linger_(linger),
      handover_(handover),
      handlers_(std::move(handlers)),
      access_(std::move(access)) {}

void LinkKeeper::start() {
  thread_ = std::thread([this] { run(); });
}

void LinkKeeper::join() {
  thread_.join();
}

void LinkKeeper::lost(std::uint64_t number, std::string reason) {
  {
    const std::lock_guard lock(reason_mutex_);
    lost_reason_ = std::move(reason);
  }
  signals_.lost(number);
}

void LinkKeeper::run() {
  pthread_setname_np(pthread_self(), "link");
  milliseconds wait{0};
  while (!signals_.closing()) {
    if (!link_) {
      if (!connect()) {
        wait = std::clamp(wait * 2, kFirstRetry, kLastRetry);
        if (signals_.sleep(jitter(wait))) {
          break;
        }
        continue;
      }
      wait = milliseconds{0};
    }
    LinkSignals::Wake wake = signals_.wait(link_number_, jittered_ping_interval());
    if (wake.lost || (wake.idle() && !link_->heard() && !broker_answers())) {
      lose("the connection was lost");
      if (signals_.sleep(jitter(kFirstRetry))) {
        break;
      }
      keep(std::move(wake.renewed));
    } else if (wake.renewed && !wake.closing) {
      replace(std::move(*wake.renewed));
    }
  }
  finish();
}

// 0.75× to 1.25×, so that thousands of idle workers do not ask in step.
milliseconds LinkKeeper::jittered_ping_interval() {
  SystemRandom random;
  const auto interval = options_.ping_interval.count();
  return milliseconds(interval * 3 / 4 + interval * random.bytes<Bytes<1>>().data[0] / 510);
}

void LinkKeeper::keep(std::optional<ipc::BrokerAccess> renewed) {
  if (renewed) {
    access_ = std::move(*renewed);
  }
}

// Every attempt has a number of its own: one that fails after it has connected may report its
// loss, which must not be taken for the loss of another.
std::expected<std::unique_ptr<BrokerLink>, std::string> LinkKeeper::open(
    const ipc::BrokerAccess& access, const std::string& announce) {
  const std::uint64_t number = ++attempts_;
  LinkCallbacks callbacks;
  callbacks.on_message = handlers_.on_message;
  callbacks.on_no_responders = [this](BrokerMessage message) {
    handlers_.tell(std::move(message));
  };
  callbacks.on_unwritten = handlers_.on_unwritten;
  callbacks.on_lost = [this, number](std::string reason) { lost(number, std::move(reason)); };
  callbacks.on_problem = [this](BrokerProblem problem) { handlers_.tell(std::move(problem)); };
  auto link = BrokerLink::open(options_, access, key_, std::move(callbacks));
  if (!link) {
    return link;
  }
  if (!handover_.ask({LinkHandover::Errand::kTake, link->get(), number})) {
    return std::unexpected("closing");
  }
  if (auto accepted = acknowledged(**link); !accepted) {
    let_go(**link, number);
    return std::unexpected(std::move(accepted.error()));
  }
  handover_.ask({LinkHandover::Errand::kUse, link->get(), number, announce});
  return link;
}

void LinkKeeper::let_go(BrokerLink& link, std::uint64_t number) {
  handover_.ask({LinkHandover::Errand::kLetGo, &link, number});
  handover_.wait();
}

std::expected<void, std::string> LinkKeeper::acknowledged(BrokerLink& link) {
  for (milliseconds waited{0}; waited < kAcknowledgeTimeout; waited += kStep) {
    switch (link.flush(kStep)) {
      case BrokerLink::FlushStatus::kDone:
        return link.refused();
      case BrokerLink::FlushStatus::kBroken:
        return std::unexpected("subscribing: " + BrokerLink::last_error());
      case BrokerLink::FlushStatus::kTimeout:
        if (signals_.closing()) {
          return std::unexpected("closing");
        }
    }
  }
  return std::unexpected("subscribing: the broker does not answer");
}

// Steps are counted, not time: a process that was stopped for long asks again before it judges.
bool LinkKeeper::broker_answers() {
  for (milliseconds waited{0}; waited < 2 * options_.ping_interval; waited += kStep) {
    switch (link_->flush(kStep)) {
      case BrokerLink::FlushStatus::kDone:
        return true;
      case BrokerLink::FlushStatus::kBroken:
        return false;
      case BrokerLink::FlushStatus::kTimeout:
        if (signals_.pending(link_number_)) {
          return true;  // that first; the question is asked again
        }
    }
  }
  return false;
}

bool LinkKeeper::connect() {
  keep(signals_.take_renewed());
  auto link = open(access_, access_.url);
  if (!link) {
    // Once per outage and reason: a broker that stays away is no news.
    if (link.error() != last_failure_) {
      last_failure_ = link.error();
      handlers_.tell(BrokerProblem{BrokerProblemKind::kConnectFailed, 1, std::move(link.error())});
    }
    return false;
  }
  link_number_ = attempts_;
  link_ = std::move(*link);
  last_failure_.clear();
  return true;
}

// Make before break: whatever the old link may miss after its end, the new one hears. What the
// broker gave to the old one before the new one stood has come when it answers the old one.
void LinkKeeper::replace(ipc::BrokerAccess access) {
  auto next = open(access, {});
  if (!next) {
    // The old credentials serve until they expire; then connect() goes on with the new ones.
    handlers_.tell(
        BrokerProblem{BrokerProblemKind::kConnectFailed, 1, "new credentials: " + next.error()});
    access_ = std::move(access);
    return;
  }
  access_ = std::move(access);
  const std::uint64_t old_number = std::exchange(link_number_, attempts_);
  std::swap(link_, *next);
  static_cast<void>((*next)->flush(kDrainTimeout));
  let_go(**next, old_number);
}

void LinkKeeper::lose(std::string reason) {
  let_go(*link_, link_number_);
  const std::size_t unsent = link_->unwritten().messages;
  link_.reset();
  {
    const std::lock_guard lock(reason_mutex_);
    if (!lost_reason_.empty()) {
      reason = std::exchange(lost_reason_, {});
    }
  }
  handlers_.tell(BrokerStateChange{BrokerState::kDisconnected, std::move(reason)});
  if (unsent > 0) {
    handlers_.tell(BrokerProblem{BrokerProblemKind::kPublishFailed, unsent, "the broker is away"});
  }
}

void LinkKeeper::finish() {
  if (link_) {
    if (!handover_.left()) {
      link_->drain(kDrainTimeout);
      say_last_words();
    }
    let_go(*link_, link_number_);
    link_.reset();
  }
  handlers_.tell(BrokerStateChange{BrokerState::kClosed, {}});
}

// What the loop says to the last messages, after drain().
void LinkKeeper::say_last_words() {
  if (!signals_.lingering()) {
    return;
  }
  handover_.ask({LinkHandover::Errand::kDrained, link_.get(), link_number_});
  signals_.linger(linger_);
  static_cast<void>(link_->flush(kDrainTimeout));
}

}  // namespace cosigner::worker
