#include "worker/gateway/request_gate.h"

#include <algorithm>
#include <cmath>

namespace cosigner::worker {
namespace {

/// Signed and published refusals a second: 25 µs each, so a flood costs at most 2.5 % of one core
/// for answers.
constexpr double kRefusalsPerSecond = 1000;
/// A stored success is served this long after the request's expiry; later there is nothing left to
/// serve.
constexpr std::uint64_t kServeExpiredMs = 24ULL * 3600 * 1000;

// Hashes all of the envelope, whatever its size: a client believes a refusal of its session only.
RequestAnswer unreadable(ByteView envelope, Error error) {
  return RequestAnswer{.session = session_of_refused(envelope),
                       .operation = {},
                       .user = {},
                       .key = {},
                       .content = std::move(error)};
}

}  // namespace

bool TokenBucket::take(std::int64_t now_ms) {
  if (last_ms_ != 0) {
    tokens_ = std::min(rate_, tokens_ + rate_ * static_cast<double>(now_ms - last_ms_) / 1000.0);
  }
  last_ms_ = now_ms;
  if (tokens_ < 1) {
    return false;
  }
  tokens_ -= 1;
  return true;
}

std::uint32_t TokenBucket::wait_ms() const {
  return static_cast<std::uint32_t>(std::ceil(std::max(0.0, 1 - tokens_) / rate_ * 1000.0));
}

RequestGate::RequestGate(std::string cluster, std::vector<std::string> peers,
                         std::vector<ipc::Initiator> initiators, ipc::Settings settings)
    : cluster_(std::move(cluster)),
      peers_(std::move(peers)),
      initiators_(std::move(initiators)),
      settings_(settings),
      refusals_(kRefusalsPerSecond) {}

void RequestGate::reconfigure(std::vector<std::string> peers,
                              std::vector<ipc::Initiator> initiators,
                              const ipc::Settings& settings) {
  peers_ = std::move(peers);
  initiators_ = InitiatorTable(std::move(initiators));
  settings_ = settings;
  rates_.clear();
}

bool RequestGate::may_answer_refusal(std::int64_t now_ms, ErrorCode code) {
  ++counters_.by_error[code];
  if (!refusals_.take(now_ms)) {
    ++counters_.dropped_refusals;
    return false;
  }
  ++counters_.refused;
  return true;
}

RequestGate::Seen* RequestGate::find_seen(const ParsedRequest& parsed) {
  const auto found = seen_.find({parsed.request.initiator, parsed.request.id});
  return found == seen_.end() ? nullptr : &found->second;
}

void RequestGate::remember(const ParsedRequest& parsed) {
  const ReplayKey key{parsed.request.initiator, parsed.request.id};
  if (!seen_.try_emplace(key, Seen{.session = parsed.session}).second) {
    return;
  }
  seen_order_.push_back(key);
  if (seen_order_.size() > kReplayEntries) {
    seen_.erase(seen_order_.front());
    seen_order_.pop_front();
  }
}

RequestGate::Verdict RequestGate::check(std::int64_t now_ms, std::uint64_t wall_ms,
                                        std::string_view woken_by, ByteView envelope) {
  if (!woken_by.empty() && std::ranges::find(peers_, woken_by) == peers_.end()) {
    ++counters_.dropped_strangers;
    return Dropped{};
  }
  auto parsed = parse_request(envelope, settings_.max_envelope_bytes);
  if (!parsed) {
    if (!may_answer_refusal(now_ms, parsed.error().code)) {
      return Dropped{};
    }
    return Refused{unreadable(envelope, parsed.error())};
  }
  const auto refusal = [&](Error error) -> Verdict {
    if (!may_answer_refusal(now_ms, error.code)) {
      return Dropped{};
    }
    return Refused{error_answer(parsed->request, parsed->session, std::move(error))};
  };
  const auto initiator = authorise(*parsed, cluster_, initiators_);
  if (!initiator) {
    return refusal(initiator.error());
  }
  if (const auto issued = check_issued(parsed->request, wall_ms); !issued) {
    return refusal(issued.error());
  }
  if (wall_ms >= parsed->request.expires_at_ms + kServeExpiredMs) {
    return refusal(Error{.code = ErrorCode::kExpired,
                         .message = "the request expired more than a day ago: make a new one"});
  }
  Seen* seen = find_seen(*parsed);
  if (seen != nullptr && seen->session != parsed->session) {
    return refusal(
        Error{.code = ErrorCode::kReplayed,
              .message = "this initiator has used this request id for another request: choose a "
                         "new id"});
  }
  const std::uint32_t own_rate = (*initiator)->requests_per_second;
  const double rate = own_rate != 0 ? own_rate : settings_.requests_per_second;
  const auto bucket_of = [this](Payer payer, std::string_view name, double its_rate) {
    return &rates_.try_emplace({payer, std::string(name)}, its_rate).first->second;
  };
  if (seen != nullptr && woken_by.empty()) {
    if (!seen->repeats.take(now_ms) ||
        !bucket_of(Payer::kRepeats, (*initiator)->name, rate)->take(now_ms)) {
      ++counters_.dropped_repeats;
      return Dropped{};
    }
  } else {
    TokenBucket* bucket = woken_by.empty()
                              ? bucket_of(Payer::kInitiator, (*initiator)->name, rate)
                              : bucket_of(Payer::kPeer, woken_by, settings_.requests_per_second);
    if (!bucket->take(now_ms)) {
      return refusal(retryable(ErrorCode::kRateLimited,
                               "this initiator sends more requests than its limit",
                               bucket->wait_ms()));
    }
  }
  remember(*parsed);
  ++counters_.passed;
  return Passed{std::move(parsed->request), parsed->session};
}

}  // namespace cosigner::worker
