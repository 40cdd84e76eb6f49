// Requests: from the mailbox to the worker to the answer.

#include "supervisor/registry/user.h"

namespace cosigner::supervisor {
namespace {

constexpr std::uint32_t kOverloadRetryMs = 250;
constexpr std::uint32_t kEndingRetryMs = 1000;

Error overloaded(std::string message) {
  return retryable(ErrorCode::kOverloaded, std::move(message), kOverloadRetryMs);
}

}  // namespace

void Registry::request(std::int64_t now, const std::string& name, RequestInfo info,
                       ByteVector envelope) {
  ++counters_.requests;
  info.number = next_number_++;
  User* known = find(name);
  if (draining() && (known == nullptr || !known->finishes(info.session))) {
    refuse(name, std::move(info),
           retryable(ErrorCode::kShuttingDown,
                     "This node is shutting down; ask again when it is back."));
    return;
  }
  const std::size_t bytes = envelope.size() + limits_.entry_bytes;
  if (known != nullptr && known->state == UserState::kQuarantined) {
    refuse(name, std::move(info), quarantined(now, known->until));
    return;
  }
  if (known != nullptr && known->entries >= limits_.mailbox_entries) {
    count_overload(Limit::kMailboxEntries);
    refuse(name, std::move(info), overloaded("Too many requests of this user wait on this node."));
    return;
  }
  const bool too_large = (known != nullptr ? known->bytes : 0) + bytes > limits_.mailbox_bytes;
  if (too_large || total_bytes_ + bytes > limits_.total_mailbox_bytes) {
    count_overload(too_large ? Limit::kMailboxBytes : Limit::kTotalMailboxBytes);
    refuse(name, std::move(info), overloaded("The requests that wait on this node are too large."));
    return;
  }
  if ((known == nullptr || known->state == UserState::kAbsent) &&
      in_state(UserState::kStarting) >= limits_.waiting_users) {
    count_overload(Limit::kWaitingUsers);
    refuse(name, std::move(info), overloaded("Too many users wait for a process on this node."));
    return;
  }
  User& user = known != nullptr ? *known : add(name);
  user.bytes += bytes;
  total_bytes_ += bytes;
  ++user.entries;
  user.last_active = now;
  user.queued.push_back(requests_->open(user, std::move(info), std::move(envelope), bytes, now));
  if (user.state == UserState::kAbsent) {
    want_worker(now, user, "a request");
  } else if ((user.serves() && user.ask == 0) || draining()) {
    deliver_queued(now, user);
  } else if (user.state == UserState::kDraining) {
    schedule(user);
  }
}

void Registry::count_overload(Limit limit, std::size_t requests) {
  counters_.overloaded += requests;
  counters_.overloaded_by_limit[static_cast<std::size_t>(limit)] += requests;
}

Error Registry::quarantined(std::int64_t now, std::int64_t until) {
  const bool forgiven = until != kNever;  // by time
  return {.code = ErrorCode::kQuarantined,
          .message = forgiven
                         ? "This user's process crashed too often and is quarantined on this node; "
                           "an operator can clear it."
                         : "An operator quarantined this user on this node.",
          .retryable = forgiven,
          .retry_after_ms =
              forgiven ? static_cast<std::uint32_t>(std::max<std::int64_t>(1, until - now)) : 0};
}

std::int64_t Registry::queue_ends(const User& user) const {
  return user.queued.empty()
             ? kNever
             : std::max(user.queued.front().since, user.phase_began) + limits_.start_timeout_ms;
}

void Registry::expire_queued(std::int64_t now, User& user) {
  Error error = overloaded("This user's last process on this node has not ended yet.");
  error.retry_after_ms = kEndingRetryMs;
  while (now >= queue_ends(user)) {
    count_overload(Limit::kEnding);
    fail(user, user.queued.pop_front(), error);
  }
}

void Registry::deliver_queued(std::int64_t now, User& user) {
  if (!user.queued.empty() && user.delivered.empty()) {
    user.last_sign = now;  // its time to show life begins now
  }
  while (!user.queued.empty()) {
    Waiting& waiting = user.queued.pop_front();
    actions_.emplace_back(action::Deliver{user.generation, waiting.info.number,
                                          std::exchange(waiting.envelope, {}),
                                          waiting.info.arrived_us});
    waiting.delivered = true;
    user.delivered.push_back(waiting);
  }
  settle(now, user);
}

std::optional<RequestInfo> Registry::answer(std::int64_t now, std::uint64_t generation,
                                            std::uint64_t number) {
  // What is delivered is delivered to its user's live worker.
  Waiting* waiting = requests_->find(number);
  if (waiting == nullptr || !waiting->delivered || waiting->user->generation != generation) {
    ++counters_.stray_inputs;  // a second answer, or one that the registry has given already
    return std::nullopt;
  }
  ++counters_.answers;
  User& user = *waiting->user;
  user.delivered.remove(*waiting);
  RequestInfo info = close(*waiting);
  user.last_active = now;
  user.last_sign = now;
  settle(now, user);
  return info;
}

RequestInfo Registry::close(Waiting& waiting) {
  waiting.user->bytes -= waiting.bytes;
  total_bytes_ -= waiting.bytes;
  --waiting.user->entries;
  RequestInfo info = std::move(waiting.info);
  requests_->close(info.number, waiting);
  return info;
}

void Registry::refuse(const std::string& user, RequestInfo info, Error error) {
  if (info.has_client) {
    ++counters_.failed;
    actions_.emplace_back(action::Fail{user, 0, std::move(info), std::move(error)});
  }
}

void Registry::fail(User& user, Waiting& waiting, Error error) {
  RequestInfo info = close(waiting);
  if (info.has_client) {
    ++counters_.failed;
    actions_.emplace_back(
        action::Fail{user.name, user.generation, std::move(info), std::move(error)});
  }
}

void Registry::fail_queued(User& user, const Error& error) {
  while (!user.queued.empty()) {
    Error own = error;
    own.may_have_executed = false;
    fail(user, user.queued.pop_front(), std::move(own));
  }
}

void Registry::fail_delivered(User& user, const Error& error, std::uint64_t killer) {
  const bool known = user.delivered.any(
      [killer](const Waiting& waiting) { return waiting.info.number == killer; });
  while (!user.delivered.empty()) {
    Waiting& waiting = user.delivered.pop_front();
    if (!known || waiting.info.number == killer) {
      user.remember().last_request =
          waiting.info.operation + " " + waiting.info.key + " " + to_hex(waiting.info.session);
    }
    Error own = error;
    own.may_have_executed = true;
    fail(user, waiting, std::move(own));
  }
}

void Registry::fail_everything(User& user, Error error) {
  fail_delivered(user, error);
  fail_queued(user, error);
}

}  // namespace cosigner::supervisor
