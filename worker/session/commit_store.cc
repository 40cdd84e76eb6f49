// What the store says of a commit's orders. See commit.h.

#include <algorithm>

#include "crypto/identity/statement.h"
#include "worker/session/commit.h"

namespace cosigner::worker {

namespace {

constexpr std::size_t kMaxRefusals = 256;

}  // namespace

void Commits::pending_stored(const Order& order, const ipc::Stored& stored) {
  Commit* commit = find(order.key, order.digest);
  if (commit == nullptr || commit->state != State::kStoring) {
    return;
  }
  const Checked<Statement> own = decode_statement(stored.statement);
  const bool usable = stored.ok && own && own->node == environment_.node &&
                      add(*commit, environment_.node, to_acknowledgement(*own));
  if (!usable) {
    environment_.log(
        LogLevel::kError,
        "the new share of key " + order.key + " was not stored: " +
            (stored.ok ? std::string("its statement is unusable") : stored.error_message),
        &commit->epoch.stored.session);
    if (commit->resumed || stored.ok) {
      // It is on disk and promised, whatever the store says now: keep it and try again.
      commit->ask_us = environment_.now_us() + kRetryStoreUs;
      commit->interval_us = kRetryStoreUs;
      return;
    }
    Event event{.kind = Event::Kind::kFailed,
                .session = commit->epoch.stored.session,
                .key = order.key,
                .by = {},
                .result = {},
                .error = {}};
    event.error.code = error_from_name(stored.error_name);
    event.error.message = "the new share could not be stored: " + stored.error_message;
    events_.push_back(std::move(event));
    commits_.erase(order.key);
    return;
  }
  commit->state = State::kWaiting;
  announce(*commit);
  std::vector<Early> early;
  std::erase_if(early_, [&](Early& one) {
    if (one.message.session != commit->epoch.stored.session) {
      return false;
    }
    early.push_back(std::move(one));
    return true;
  });
  for (const Early& one : early) {
    if (find(one.message.key, one.message.digest) == commit) {
      on_acknowledge(one.from, one.message, Standing::kMayComplete);
    } else {
      ++environment_.counters.messages_refused;
    }
  }
  complete(*commit);
}

bool Commits::on_stored(const ipc::Stored& stored) {
  const auto found = orders_.find(stored.order);
  if (found == orders_.end()) {
    return false;
  }
  const Order order = std::move(found->second);
  orders_.erase(found);
  Commit* commit = find(order.key, order.digest);
  switch (order.kind) {
    case OrderKind::kPending:
      pending_stored(order, stored);
      break;
    case OrderKind::kActivate: {
      if (commit == nullptr) {
        break;
      }
      if (!stored.ok) {
        environment_.log(LogLevel::kError,
                         "key " + order.key + " was not activated: " + stored.error_message,
                         &commit->epoch.stored.session);
        commit->state = State::kWaiting;
        commit->ask_us = environment_.now_us() + kRetryStoreUs;
        break;
      }
      KeyEpoch epoch = std::move(commit->epoch);
      commits_.erase(order.key);
      epoch.stored.state = ipc::KeyState::kActive;
      events_.push_back({.kind = Event::Kind::kActive,
                         .session = epoch.stored.session,
                         .key = order.key,
                         .by = {},
                         .result = result_of(epoch),
                         .error = {}});
      keys_.add(std::move(epoch));
      break;
    }
    case OrderKind::kDiscard:
      if (commit == nullptr) {
        break;
      }
      if (!stored.ok) {
        commit->state = State::kWaiting;
        break;
      }
      events_.push_back({.kind = Event::Kind::kRefused,
                         .session = commit->epoch.stored.session,
                         .key = order.key,
                         .by = commit->refused_by,
                         .result = {},
                         .error = {}});
      commits_.erase(order.key);
      break;
    case OrderKind::kRefuse:
      if (stored.ok) {
        if (refusals_.size() >= kMaxRefusals) {
          refusals_.erase(refusals_.begin());
        }
        refusals_.insert_or_assign(order.digest, stored.statement);
        (void)peers_.send(order.asker, Refusal{order.key, stored.statement}, false);
      }
      break;
  }
  return true;
}

}  // namespace cosigner::worker
