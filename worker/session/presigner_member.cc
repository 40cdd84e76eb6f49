// As member of another node's run: what a proposal must be like. See presigner.h.

#include <algorithm>

#include "worker/session/presigner.h"

namespace cosigner::worker {

namespace {

constexpr std::int64_t kTrimIntervalUs = 10'000'000;

}  // namespace

std::optional<SigningSet> Presigner::signing_set(const Stock& stock,
                                                 const PresignPropose& message) {
  SigningSet out;
  for (const PresignMember& member : message.members) {
    const auto participant = std::ranges::find(stock.participants, member.node, &Participant::node);
    if (participant == stock.participants.end() ||
        (!out.empty() && participant->index <= out.back().index)) {
      return std::nullopt;
    }
    std::uint64_t known = environment_.generation;
    if (member.node != environment_.node) {
      const Certificate* certificate = peers_.certificate(member.node);
      if (certificate == nullptr || peers_.link(member.node) == nullptr) {
        peers_.greet(member.node, true);
        return std::nullopt;
      }
      known = certificate->generation;
    }
    if (known != member.generation) {
      return std::nullopt;
    }
    out.push_back({participant->index, member.node, member.generation});
  }
  return out.size() == stock.threshold && has_member(out, environment_.node)
             ? std::optional(std::move(out))
             : std::nullopt;
}

std::optional<PresignEnd::Reason> Presigner::refusal(const std::string& from,
                                                     const PresignPropose& message, Stock& stock) {
  std::size_t running = 0;
  for (const auto& [id, run] : runs_) {
    running += run->setup().owner == from && run->setup().key == message.key ? 1U : 0U;
  }
  const auto penalty = stock.penalties.find(from);
  const bool punished =
      penalty != stock.penalties.end() && penalty->second.until_us > environment_.now_us();
  if (draining_ || punished || running >= kAtOnceForOwner || peers_.distrusted(from) ||
      stock.pool.size() + runs_.size() >= environment_.settings.presignature_limit) {
    return PresignEnd::Reason::kFull;
  }
  if (message.order == SessionId{}) {
    const bool room = stock.pool.held_for(from) + running < environment_.settings.presignature_pool;
    return room ? std::nullopt : std::optional(PresignEnd::Reason::kFull);
  }
  const auto grant = grants_.find(message.order);
  if (grant == grants_.end() || grant->second.key != message.key ||
      grant->second.until_us <= environment_.now_us()) {
    return PresignEnd::Reason::kOrderUnknown;
  }
  const auto left = grant->second.left.find(from);
  if (left == grant->second.left.end() || left->second == 0) {
    return PresignEnd::Reason::kFull;
  }
  --left->second;
  return std::nullopt;
}

void Presigner::on_propose(const std::string& from, const PresignPropose& message) {
  const auto refuse = [&](PresignEnd::Reason reason) {
    ++environment_.counters.presign_refused;
    (void)peers_.send(from, PresignEnd{message.run, static_cast<std::uint8_t>(reason)}, true);
  };
  const KeyEpoch* key = keys_.find(message.key);
  Stock* known = key == nullptr ? nullptr : stock(*key);
  if (known == nullptr || message.epoch != known->epoch || message.record != known->record) {
    refuse(PresignEnd::Reason::kStranger);
    return;
  }
  std::optional<SigningSet> signers = signing_set(*known, message);
  const bool apart = signers && std::ranges::any_of(*signers, [&](const Signer& signer) {
                       return pairs_.banned(message.key, signer.node);
                     });
  if (!signers || apart || !has_member(*signers, from) || runs_.contains(message.run)) {
    refuse(PresignEnd::Reason::kStranger);
    return;
  }
  // Before there is a refusal: what the owner will not name any more must not fill its quota.
  std::int64_t& trimmed = known->trimmed_us.try_emplace(from, 0).first->second;
  if (environment_.now_us() >= trimmed + kTrimIntervalUs) {
    trimmed = environment_.now_us();
    known->pool.drop_below(from, message.floor, environment_.now_us() - kFloorDelayUs);
  }
  if (const auto no = refusal(from, message, *known)) {
    refuse(*no);
    return;
  }
  auto run = make_run(*key, *known,
                      {.id = message.run,
                       .key = message.key,
                       .epoch = message.epoch,
                       .record = message.record,
                       .signers = *std::move(signers),
                       .owner = from,
                       .number = message.number,
                       .order = message.order});
  if (!run) {
    refuse(PresignEnd::Reason::kFailed);
    return;
  }
  runs_.emplace(message.run, std::move(run));
  touch(message.run, [&](PresignRun& begun) { begun.accept(message.payload); });
}

}  // namespace cosigner::worker
