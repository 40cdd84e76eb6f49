#include "worker/session/results.h"

#include <algorithm>

namespace cosigner::worker {

const SessionId* Results::owner(const Request& request) const {
  const auto found = claims_.find(Claim{request.initiator, request.id});
  return found == claims_.end() ? nullptr : &found->second;
}

void Results::claim(const Request& request, const SessionId& session) {
  const Claim claim{request.initiator, request.id};
  if (claims_.emplace(claim, session).second) {
    order_.push_back(Kept{claim, session, request.issued_at_ms});
    trim();
  }
}

void Results::remember(const Request& request, const SessionId& session, ByteVector answer,
                       std::uint64_t epoch) {
  claim(request, session);
  const std::size_t size = answer.size();
  if (results_.emplace(session, Stored{std::move(answer), epoch, request.key}).second) {
    bytes_ += size;
    trim();
  }
}

void Results::trim() {
  while (order_.size() > 1 && (order_.size() > kMaxResults || bytes_ > kMaxResultBytes)) {
    const Kept& oldest = order_.front();
    floor_ms_ = std::max(floor_ms_, oldest.issued_at_ms);
    claims_.erase(oldest.claim);
    if (const auto found = results_.find(oldest.session); found != results_.end()) {
      bytes_ -= found->second.answer.size();
      results_.erase(found);
    }
    order_.pop_front();
  }
}

const Results::Stored* Results::find(const SessionId& session) const {
  const auto found = results_.find(session);
  return found == results_.end() ? nullptr : &found->second;
}

void Results::remember_failure(const SessionId& session, Error error) {
  if (failures_.insert_or_assign(session, std::move(error)).second) {
    failure_order_.push_back(session);
  }
  while (failure_order_.size() > kMaxFailures) {
    failures_.erase(failure_order_.front());
    failure_order_.pop_front();
  }
}

const Error* Results::failure(const SessionId& session) const {
  const auto found = failures_.find(session);
  return found == failures_.end() ? nullptr : &found->second;
}

}  // namespace cosigner::worker
