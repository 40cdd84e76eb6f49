#pragma once
// How the engine says that a check of a peer's OT or VOLE messages begins and has ended. Not an
// Effect: effects leave at the end of a turn, and this must have left before the check begins.

#include <map>
#include <string>
#include <utility>

#include "crypto/protocol/protocol.h"

namespace cosigner::worker {

class CheckNotices {
 public:
  virtual ~CheckNotices() = default;
  /// When it returns, the notice is out of the process, so that a death is seen as a death during
  /// the check. May throw: then nothing is checked.
  virtual void checking(const std::string& key, std::uint64_t epoch, const std::string& peer) = 0;
  virtual void checked(const std::string& key, std::uint64_t epoch, const std::string& peer) = 0;
};

/// The observer of one protocol run: names instead of indices. Must outlive the protocol.
class PairChecks final : public CheckObserver {
 public:
  PairChecks(CheckNotices& notices, std::string key, std::uint64_t epoch,
             std::map<ParticipantIndex, std::string> nodes)
      : notices_(notices), key_(std::move(key)), epoch_(epoch), nodes_(std::move(nodes)) {}

  void checking(ParticipantIndex peer) override {
    notices_.checking(key_, epoch_, nodes_.at(peer));
  }
  void checked(ParticipantIndex peer) override { notices_.checked(key_, epoch_, nodes_.at(peer)); }

 private:
  CheckNotices& notices_;
  std::string key_;
  std::uint64_t epoch_;
  std::map<ParticipantIndex, std::string> nodes_;
};

}  // namespace cosigner::worker
