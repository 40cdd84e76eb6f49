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
    ++claims_made_;
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
    drop_oldest();
  }
}

void Results::drop_oldest() {
  const Kept& oldest = order_.front();
  floor_ms_ = std::max(floor_ms_, oldest.issued_at_ms);
  claims_.erase(oldest.claim);
  if (const auto found = results_.find(oldest.session); found != results_.end()) {
    bytes_ -= found->second.answer.size();
    results_.erase(found);
  }
  order_.pop_front();
}

void Results::drop_oldest_failure() {
  failures_.erase(failure_order_.front());
  failure_order_.pop_front();
}

Results::Mark Results::mark_before(std::int64_t at_us) const {
  Mark newest;  // nothing is older than the first mark
  for (const Mark& mark : marks_) {
    if (mark.at_us <= at_us) {
      newest = mark;
    }
  }
  return newest;
}

void Results::forget_old(std::int64_t now_us) {
  marks_.push_back({now_us, claims_made_, failures_made_});
  const Mark finished = mark_before(now_us - kKeepFinishedUs);
  const Mark any = mark_before(now_us - kKeepClaimsUs);
  while (!order_.empty()) {
    const std::uint64_t number = claims_made_ - order_.size();
    const bool has_result = results_.contains(order_.front().session);
    if (number >= (has_result ? finished : any).claims) {
      break;
    }
    drop_oldest();
  }
  while (!failure_order_.empty() && failures_made_ - failure_order_.size() < finished.failures) {
    drop_oldest_failure();
  }
  while (marks_.size() > 1 && marks_[1].at_us <= now_us - kKeepClaimsUs) {
    marks_.pop_front();
  }
  // An empty table keeps its buckets: 16 KiB each after 2,048 entries.
  if (order_.empty()) {
    claims_ = {};
    results_ = {};
    order_ = {};
  }
  if (failure_order_.empty()) {
    failures_ = {};
    failure_order_ = {};
  }
}

const Results::Stored* Results::find(const SessionId& session) const {
  const auto found = results_.find(session);
  return found == results_.end() ? nullptr : &found->second;
}

void Results::remember_failure(const SessionId& session, Error error) {
  if (failures_.insert_or_assign(session, std::move(error)).second) {
    failure_order_.push_back(session);
    ++failures_made_;
  }
  while (failure_order_.size() > kMaxFailures) {
    drop_oldest_failure();
  }
}

const Error* Results::failure(const SessionId& session) const {
  const auto found = failures_.find(session);
  return found == failures_.end() ? nullptr : &found->second;
}

}  // namespace cosigner::worker
