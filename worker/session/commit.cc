#include "worker/session/commit.h"

#include <algorithm>

#include "crypto/identity/share_seal.h"
#include "crypto/identity/statement.h"

namespace cosigner::worker {

namespace {

/// Of a share that an earlier worker made: no attempt that still runs can make it again.
constexpr std::uint16_t kNoAttempt = 0xffff;
constexpr std::size_t kMaxEarly = 128;

}  // namespace

CommitCertificate Commits::certificate_of(const KeyEpoch& epoch) {
  return {epoch.record.session, epoch.stored.key, epoch.record.epoch, epoch.digest,
          epoch.stored.certificate};
}

std::optional<KeygenResult> Commits::result_of(const KeyEpoch& epoch) {
  Expected<std::vector<Acknowledgement>> all = decode_commit_certificate(epoch.stored.certificate);
  if (!all) {
    return std::nullopt;
  }
  return KeygenResult{epoch.record.scheme, epoch.record.epoch, epoch.record.public_key,
                      epoch.stored.record, *std::move(all)};
}

std::uint64_t Commits::order(Order order) {
  const std::uint64_t number = ++environment_.last_order;
  orders_.emplace(number, std::move(order));
  return number;
}

void Commits::store_pending(const Commit& commit) {
  ipc::StoredKey stored = commit.epoch.stored;
  stored.state = ipc::KeyState::kPending;
  const std::uint64_t number = order({OrderKind::kPending, stored.key, commit.epoch.digest, {}});
  environment_.effects.emplace_back(ipc::StorePending{.order = number, .key = std::move(stored)});
}

void Commits::begin(const SessionId& session, std::uint16_t attempt, KeyRecord record,
                    const SecretVector& secret) {
  ipc::StoredKey stored{.key = record.key,
                        .epoch = record.epoch,
                        .state = ipc::KeyState::kPending,
                        .session = session,
                        .record = encode_key_record(record),
                        .sealed_share = {},
                        .certificate = {}};
  stored.sealed_share = seal_share(keys_.sealing_key(), share_binding(record, stored.record),
                                   as_view(secret), environment_.random);
  Commit commit;
  commit.epoch.digest = acknowledgement_digest(stored.record);
  commit.epoch.stored = std::move(stored);
  commit.epoch.record = std::move(record);
  commit.attempt = attempt;
  const std::string key = commit.epoch.stored.key;
  store_pending(commits_.insert_or_assign(key, std::move(commit)).first->second);
}

void Commits::resume(KeyEpoch epoch) {
  // The statement of the earlier worker is not kept: the store gives one for the same record again.
  Commit commit;
  commit.epoch = std::move(epoch);
  commit.resumed = true;
  const std::string key = commit.epoch.stored.key;
  store_pending(commits_.insert_or_assign(key, std::move(commit)).first->second);
}

const SessionId* Commits::session_of(std::string_view key) const {
  const auto found = commits_.find(key);
  return found == commits_.end() ? nullptr : &found->second.epoch.stored.session;
}

std::vector<std::string> Commits::unacknowledged(std::string_view key) const {
  std::vector<std::string> missing;
  const auto found = commits_.find(key);
  if (found == commits_.end() || found->second.state != State::kWaiting) {
    return missing;
  }
  for (const auto& [index, node] : found->second.epoch.record.participants) {
    if (!found->second.acknowledgements.contains(node)) {
      missing.push_back(node);
    }
  }
  return missing;
}

Commits::Commit* Commits::find(std::string_view key, const Digest& digest) {
  const auto found = commits_.find(key);
  return found == commits_.end() || found->second.epoch.digest != digest ? nullptr : &found->second;
}

bool Commits::add(Commit& commit, const std::string& node, Acknowledgement acknowledgement) {
  if (commit.epoch.record.index_of(node) == 0) {
    return false;
  }
  if (commit.acknowledgements.contains(node)) {
    return true;
  }
  const Statement statement =
      acknowledgement_statement(commit.epoch.record, commit.epoch.stored.record, acknowledgement);
  const Ed25519PublicKey* identity = peers_.identity(node);
  if (identity == nullptr || !verify_statement(statement, *identity)) {
    return false;
  }
  commit.acknowledgements.emplace(node, std::move(acknowledgement));
  return true;
}

Acknowledge Commits::message_of(const Commit& commit, bool wanted) const {
  const Acknowledgement& own = commit.acknowledgements.find(environment_.node)->second;
  return {.session = commit.epoch.stored.session,
          .attempt = commit.resumed ? kNoAttempt : commit.attempt,
          .key = commit.epoch.stored.key,
          .epoch = commit.epoch.stored.epoch,
          .digest = commit.epoch.digest,
          .generation = own.generation,
          .signature = own.signature,
          .wanted = static_cast<std::uint8_t>(wanted ? 1 : 0)};
}

void Commits::announce(Commit& commit) {
  commit.interval_us = kFirstAskUs;
  commit.ask_us = environment_.now_us() + kFirstAskUs;
  if (commit.resumed) {
    ask_missing(commit);
    return;
  }
  for (const auto& [index, node] : commit.epoch.record.participants) {
    if (node != environment_.node) {
      (void)peers_.send(node, message_of(commit, false), true);
    }
  }
}

void Commits::ask_missing(Commit& commit) {
  // Those that have acknowledged it as well: they may hold the certificate by now, or the refusal
  // of one that cannot repeat it.
  for (const auto& [index, node] : commit.epoch.record.participants) {
    if (node != environment_.node && !peers_.send(node, message_of(commit, true), false)) {
      peers_.greet(node, true);  // its answer makes the link, and meet() asks
    }
  }
}

void Commits::ask(std::string_view key, const std::string& node) {
  const auto found = commits_.find(key);
  if (found != commits_.end() && found->second.state == State::kWaiting &&
      found->second.epoch.record.index_of(node) != 0) {
    (void)peers_.send(node, message_of(found->second, true), false);
  }
}

void Commits::meet(const std::string& node) {
  for (const auto& [key, commit] : commits_) {
    ask(key, node);
  }
}

void Commits::on_acknowledge(const std::string& from, const Acknowledge& message,
                             Standing standing) {
  if (Commit* commit = find(message.key, message.digest)) {
    if (!add(*commit, from, {from, message.generation, message.signature})) {
      ++environment_.counters.messages_refused;
      return;
    }
    if (message.wanted == 1 && commit->acknowledgements.contains(environment_.node)) {
      (void)peers_.send(from, message_of(*commit, false), false);
    }
    complete(*commit);
    return;
  }
  const KeyEpoch* active = keys_.find(message.key);
  if (active != nullptr && active->digest == message.digest) {
    if (message.wanted == 1) {
      (void)peers_.send(from, certificate_of(*active), false);
    }
    return;
  }
  // Only a promise that was really made is worth an answer.
  Statement statement{.kind = StatementKind::kKeyAcknowledgement,
                      .cluster = environment_.cluster,
                      .node = from,
                      .user = environment_.user,
                      .generation = message.generation,
                      .key = message.key,
                      .epoch = message.epoch,
                      .session = message.session,
                      .digest = message.digest,
                      .signature = message.signature};
  const Ed25519PublicKey* identity = peers_.identity(from);
  if (identity == nullptr || !verify_statement(statement, *identity)) {
    ++environment_.counters.messages_refused;
    return;
  }
  if (standing == Standing::kMayComplete) {
    std::erase_if(early_, [&](const Early& early) {
      return early.from == from && early.message.session == message.session;
    });
    if (early_.size() >= kMaxEarly) {
      early_.erase(early_.begin());
    }
    early_.push_back({from, message});
    return;
  }
  if (message.wanted == 1) {
    refuse(from, message);
  }
}

bool Commits::RefusalBudget::take(std::int64_t now_us) {
  const std::int64_t more = (now_us - filled_us) / kOneMoreUs;
  filled_us = left == kAtOnce ? now_us : filled_us + more * kOneMoreUs;
  left = static_cast<std::uint32_t>(std::min<std::int64_t>(left + more, kAtOnce));
  if (left == 0) {
    return false;
  }
  --left;
  return true;
}

void Commits::refuse(const std::string& from, const Acknowledge& message) {
  if (const auto known = refusals_.find(message.digest); known != refusals_.end()) {
    (void)peers_.send(from, Refusal{message.key, known->second}, false);
    return;
  }
  const bool asked = std::ranges::any_of(orders_, [&](const auto& entry) {
    return entry.second.kind == OrderKind::kRefuse && entry.second.digest == message.digest;
  });
  if (asked || orders_.size() >= kMaxEarly) {
    return;  // it will ask again
  }
  if (!refusal_budgets_[from].take(environment_.now_us())) {
    ++environment_.counters.messages_refused;
    return;
  }
  const std::uint64_t number = order({OrderKind::kRefuse, message.key, message.digest, from});
  environment_.effects.emplace_back(ipc::StoreRefusal{.order = number,
                                                      .key = message.key,
                                                      .epoch = message.epoch,
                                                      .session = message.session,
                                                      .digest = message.digest});
}

void Commits::on_certificate(const std::string& from, const CommitCertificate& message) {
  Commit* commit = find(message.key, message.digest);
  if (commit == nullptr || commit->state != State::kWaiting) {
    ++environment_.counters.messages_late;
    return;
  }
  const Expected<std::vector<Acknowledgement>> all = decode_commit_certificate(message.certificate);
  if (!all || !verify_acknowledgements(commit->epoch.record, commit->epoch.stored.record, *all,
                                       peers_.all())) {
    ++environment_.counters.messages_refused;
    environment_.log(LogLevel::kWarning,
                     "node " + from + " sent a commit certificate that does not verify",
                     &message.session);
    return;
  }
  activate(*commit, message.certificate);
}

void Commits::complete(Commit& commit) {
  if (commit.state != State::kWaiting ||
      commit.acknowledgements.size() != commit.epoch.record.participants.size()) {
    return;
  }
  std::vector<Acknowledgement> all;
  for (const auto& [index, node] : commit.epoch.record.participants) {
    all.push_back(commit.acknowledgements.find(node)->second);
  }
  activate(commit, encode_commit_certificate(all));
}

void Commits::activate(Commit& commit, ByteVector certificate) {
  commit.state = State::kActivating;
  commit.epoch.stored.certificate = std::move(certificate);
  const ipc::StoredKey& stored = commit.epoch.stored;
  const std::uint64_t number = order({OrderKind::kActivate, stored.key, commit.epoch.digest, {}});
  environment_.effects.emplace_back(ipc::StoreActivate{.order = number,
                                                       .key = stored.key,
                                                       .epoch = stored.epoch,
                                                       .session = stored.session,
                                                       .certificate = stored.certificate});
}

void Commits::on_refusal(const Refusal& message) {
  const Checked<Statement> statement = decode_statement(message.statement);
  if (!statement) {
    ++environment_.counters.messages_refused;
    return;
  }
  Commit* commit = find(message.key, statement->digest);
  if (commit == nullptr || commit->state != State::kWaiting) {
    ++environment_.counters.messages_late;
    return;
  }
  // Whoever hands it on: what counts is whose promise it is.
  const std::string& by = statement->node;
  const ipc::StoredKey& stored = commit->epoch.stored;
  const Ed25519PublicKey* identity = peers_.identity(by);
  if (identity == nullptr || statement->kind != StatementKind::kKeyRefusal ||
      by == environment_.node || statement->cluster != environment_.cluster ||
      statement->user != environment_.user || statement->key != stored.key ||
      statement->epoch != stored.epoch || statement->session != stored.session ||
      commit->epoch.record.index_of(by) == 0 || commit->acknowledgements.contains(by) ||
      !verify_statement(*statement, *identity)) {
    ++environment_.counters.messages_refused;
    return;
  }
  commit->state = State::kDiscarding;
  commit->refused_by = by;
  const std::uint64_t number = order({OrderKind::kDiscard, stored.key, commit->epoch.digest, {}});
  environment_.effects.emplace_back(ipc::StoreDiscard{.order = number,
                                                      .key = stored.key,
                                                      .epoch = stored.epoch,
                                                      .session = stored.session,
                                                      .refusal = message.statement});
}

void Commits::on_timer() {
  for (auto& [key, commit] : commits_) {
    if (commit.ask_us == 0 || commit.ask_us > environment_.now_us()) {
      continue;
    }
    if (commit.state == State::kStoring) {
      commit.ask_us = 0;
      store_pending(commit);
      continue;
    }
    if (commit.state == State::kWaiting) {
      complete(commit);  // again, if the store failed to activate
    }
    if (commit.state == State::kWaiting) {
      ask_missing(commit);
    }
    commit.interval_us = std::min(std::max(commit.interval_us, kFirstAskUs) * 2, kAskCapUs);
    commit.ask_us = environment_.now_us() + commit.interval_us;
  }
}

std::optional<std::int64_t> Commits::next_deadline() const {
  std::optional<std::int64_t> next;
  for (const auto& [key, commit] : commits_) {
    if (commit.ask_us != 0 && (!next || commit.ask_us < *next)) {
      next = commit.ask_us;
    }
  }
  return next;
}

}  // namespace cosigner::worker
