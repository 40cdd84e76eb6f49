#pragma once
// Drives n Protocol objects in memory: rendezvous, delivery, outcomes, with a hook on every message
// (and on every hello as each receiver sees it). For the tests of all schemes.
//
//   ProtocolRunner runner;
//   runner.add(1, std::move(protocol1)); …
//   runner.hook = [](Envelope& e) { if (e.from == 2 && e.round == 1) e.payload[0] ^= 1; };
//   RunReport report = runner.run();
//   report.at(1).abort / report.signature(1) / report.key(1)

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "crypto/protocol/protocol.h"
#include "tests/support/seeded_random.h"

namespace cosigner::test {

/// One message on its way to one receiver; broadcasts are split up before the hook sees them.
struct Envelope {
  ParticipantIndex from = 0;
  ParticipantIndex to = 0;
  std::uint8_t round = 0;  ///< 0: the hello of `from` as it stands in the set that `to` starts with
  ByteVector payload;
  int copies = 1;  ///< a hook sets 0 to drop it, 2 to deliver it twice
};

struct ParticipantReport {
  std::optional<Abort> abort;
  std::optional<Outcome> outcome;
  std::size_t bytes_sent = 0;     ///< payload bytes of rounds 1 and up, once per receiver
  std::size_t messages_sent = 0;  ///< as many as receivers
};

struct RunReport {
  std::map<ParticipantIndex, ParticipantReport> participants;
  std::vector<Envelope> delivered;  ///< in order of delivery, after the hook

  ParticipantReport& at(ParticipantIndex index) { return participants.at(index); }
  const ParticipantReport& at(ParticipantIndex index) const { return participants.at(index); }
  /// Throws when that participant has no such outcome.
  const ByteVector& signature(ParticipantIndex index) const {
    return std::get<SignatureOutcome>(at(index).outcome.value()).signature;
  }
  const KeyOutcome& key(ParticipantIndex index) const {
    return std::get<KeyOutcome>(at(index).outcome.value());
  }
  bool any_abort() const {
    for (const auto& [index, report] : participants) {
      if (report.abort) {
        return true;
      }
    }
    return false;
  }
};

class ProtocolRunner {
 public:
  /// Sees every message once for each receiver, before delivery.
  std::function<void(Envelope&)> hook;
  /// Sees the set and the binding that `receiver` is about to start with (after `hook`).
  std::function<void(ParticipantIndex receiver, std::vector<SetMember>&, Digest& binding)>
      start_hook;
  Digest binding{{0xb1, 0xbd}};
  /// Delivers in a random order drawn from this seed; first in, first out without one.
  std::optional<std::uint64_t> shuffle_seed;
  /// Starts members one by one, each only when all messages so far have been delivered, so that
  /// early messages arrive before start().
  bool staggered_start = false;

  void add(ParticipantIndex index, std::unique_ptr<Protocol> protocol) {
    protocols_[index] = std::move(protocol);
  }
  Protocol& protocol(ParticipantIndex index) { return *protocols_.at(index); }

  /// Runs until nothing is under way. A participant that aborted neither receives nor sends any
  /// more.
  RunReport run() {
    RunReport report;
    for (const auto& [index, protocol] : protocols_) {
      report.participants[index];
    }
    for (auto& [index, protocol] : protocols_) {
      start(report, index, *protocol);
      if (staggered_start) {
        deliver_all(report);
      }
    }
    deliver_all(report);
    return report;
  }

 private:
  void start(RunReport& report, ParticipantIndex index, Protocol& protocol) {
    std::vector<SetMember> set;
    for (const auto& [member, other] : protocols_) {
      Envelope hello{member, index, 0, other->hello()};
      if (hook) {
        hook(hello);
      }
      if (hello.copies > 0) {
        set.push_back({member, std::move(hello.payload)});
      }
    }
    Digest seen = binding;
    if (start_hook) {
      start_hook(index, set, seen);
    }
    settle(report, index, protocol.start(set, seen));
  }

  void deliver_all(RunReport& report) {
    SeededRandom order(shuffle_seed.value_or(0));
    while (!queue_.empty()) {
      const std::size_t pick = shuffle_seed ? order.next_u64() % queue_.size() : 0;
      Envelope envelope = std::move(queue_[pick]);
      queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(pick));
      const auto receiver = protocols_.find(envelope.to);
      if (receiver == protocols_.end() || report.at(envelope.to).abort) {
        continue;
      }
      report.delivered.push_back(envelope);
      settle(report, envelope.to,
             receiver->second->receive(envelope.from, envelope.round, envelope.payload));
    }
  }

  // What start() or receive() of `index` answered.
  void settle(RunReport& report, ParticipantIndex index, Result<Messages> answer) {
    ParticipantReport& own = report.at(index);
    if (!answer) {
      own.abort = std::move(answer.error());
      return;
    }
    for (const ProtocolMessage& message : *answer) {
      for (const auto& [to, other] : protocols_) {
        if (to == index || (message.to != 0 && message.to != to)) {
          continue;
        }
        own.bytes_sent += message.payload.size();
        ++own.messages_sent;
        Envelope envelope{index, to, message.round, message.payload};
        if (hook) {
          hook(envelope);
        }
        for (int copy = 0; copy < envelope.copies; ++copy) {
          queue_.push_back(envelope);
        }
      }
    }
    if (auto failure = protocols_.at(index)->take_failure()) {
      own.abort = std::move(failure);
      return;
    }
    if (auto outcome = protocols_.at(index)->take_outcome()) {
      if (own.outcome) {
        throw std::logic_error("a protocol gave two outcomes");
      }
      own.outcome = std::move(outcome);
    }
  }

  std::map<ParticipantIndex, std::unique_ptr<Protocol>> protocols_;
  std::deque<Envelope> queue_;
};

}  // namespace cosigner::test
