#include "worker/session/results.h"

namespace cosigner::worker {

const SessionId* Results::owner(const Request& request) const {
  if (!index_) {
    return nullptr;
  }
  const auto found = index_->claims.find(Claim{request.initiator, request.id});
  return found == index_->claims.end() ? nullptr : &found->second;
}

void Results::claim(const Request& request, const SessionId& session) {
  if (!index_) {
    index_.emplace(pages_);
  }
  const Claim claim{request.initiator, request.id};
  if (index_->claims.emplace(claim, session).second) {
    index_->order.push_back(Kept{claim, session, request.expires_at_ms});
    ++claims_made_;
    trim(*index_);
  }
}

void Results::remember(const Request& request, const SessionId& session, ByteView answer,
                       std::uint64_t epoch) {
  claim(request, session);
  if (index_->results.contains(session)) {
    return;
  }
  std::pmr::memory_resource* const blocks = &index_->blocks;
  index_->results.emplace(
      session,
      Stored{{answer.begin(), answer.end(), blocks}, epoch, std::pmr::string(request.key, blocks)});
  bytes_ += answer.size();
  trim(*index_);
}

void Results::trim(Index& index) {
  while (index.order.size() > 1 && (index.order.size() > kMaxResults || bytes_ > kMaxResultBytes)) {
    drop_oldest(index);
  }
}

void Results::drop_oldest(Index& index) {
  const Kept& oldest = index.order.front();
  const auto found = index.results.find(oldest.session);
  if (found != index.results.end()) {
    forgotten_.add(oldest.claim.initiator, oldest.claim.id, oldest.expires_at_ms + kKeepResultMs);
  }
  index.claims.erase(oldest.claim);
  if (found != index.results.end()) {
    bytes_ -= found->second.answer.size();
    index.results.erase(found);
  }
  index.order.pop_front();
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
  forget_old_claims(finished, mark_before(now_us - kKeepClaimsUs));
  while (!failure_order_.empty() && failures_made_ - failure_order_.size() < finished.failures) {
    drop_oldest_failure();
  }
  if (failure_order_.empty()) {
    decltype(failures_)().swap(failures_);  // `= {}` would keep the buckets
    decltype(failure_order_)().swap(failure_order_);
  }
  while (marks_.size() > 1 && marks_[1].at_us <= now_us - kKeepClaimsUs) {
    marks_.pop_front();
  }
}

void Results::forget_old_claims(const Mark& finished, const Mark& any) {
  if (!index_) {
    return;
  }
  while (!index_->order.empty()) {
    const std::uint64_t number = claims_made_ - index_->order.size();
    const bool has_result = index_->results.contains(index_->order.front().session);
    if (number >= (has_result ? finished : any).claims) {
      return;
    }
    drop_oldest(*index_);
  }
  index_.reset();
  bytes_ = 0;
}

const Results::Stored* Results::find(const SessionId& session) const {
  if (!index_) {
    return nullptr;
  }
  const auto found = index_->results.find(session);
  return found == index_->results.end() ? nullptr : &found->second;
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
