#pragma once
// A whole cluster in one process: n session engines of one user, a simulated supervisor with a
// durable store beside each, a broker between them, and virtual time. Everything random comes from
// one seed, so a failing run can be had again.
//
// What a worker's crash leaves behind is what the store of its node holds at that moment; the next
// worker has a later generation. Every Work must be answered exactly once: by the engine, or by the
// supervisor when the worker dies.

#include <concepts>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "crypto/identity/certificate.h"
#include "crypto/identity/ed25519_key.h"
#include "crypto/identity/statement.h"
#include "ipc/answer.h"
#include "ipc/key_record.h"
#include "ipc/request.h"
#include "worker/session/check_notices.h"
#include "worker/session/counters.h"
#include "worker/session/engine.h"
#include "worker/session/protocol_factory.h"
#include "worker/session/rendezvous.h"

namespace cosigner::test {

constexpr std::int64_t kMs = 1000;
constexpr std::int64_t kSecond = 1'000'000;

struct NetworkFaults {
  std::int64_t delay_low_us = 100;
  std::int64_t delay_high_us = 400;
  double drop = 0;
  double duplicate = 0;
  double late = 0;  ///< delivered up to 300 ms later than the rest
};

/// The durable side of one node: keys, refusals, results, the generation.
class SimulatedStore {
 public:
  SimulatedStore(std::string cluster, std::string node, std::string user,
                 const std::vector<ipc::Peer>& peers, const IdentityKey& identity)
      : cluster_(std::move(cluster)),
        node_(std::move(node)),
        user_(std::move(user)),
        peers_(peers),
        identity_(identity) {}

  std::uint64_t generation = 0;
  std::map<std::string, ipc::StoredKey> pending;
  std::map<std::string, ipc::StoredKey> active;
  std::set<Digest> refused;
  std::set<Digest> acknowledged;  ///< ever
  std::map<SessionId, ByteVector> results;
  std::map<std::pair<Ed25519PublicKey, Bytes<16>>, SessionId> ids;
  bool fail_pending = false;  ///< a full disk
  bool unreadable = false;    ///< for lookups
  struct Pair {
    std::uint64_t epoch = 0;
    bool banned = false;
    ipc::PairRenewal renewal = ipc::PairRenewal::kNone;
    int strikes = 0;
  };
  std::map<std::pair<std::string, std::string>, Pair> pairs;  ///< by key and peer
  bool fail_burn = false;
  int fail_lifts = 0;  ///< so many of the next ones

  ipc::Stored apply(const ipc::Burn& order) {
    const auto key = active.find(order.key);
    if (fail_burn || key == active.end() || key->second.epoch != order.epoch) {
      return failed(order.order, ErrorCode::kStorageFailed);
    }
    Pair& pair = pairs[{order.key, order.peer}];
    if (!order.failed && !pair.banned) {
      return failed(order.order, ErrorCode::kConflict);
    }
    if (order.failed) {
      pair.epoch = order.epoch;
      pair.banned = true;
      pair.renewal = ipc::PairRenewal::kNone;
    }
    key->second.sealed_share = order.sealed_share;
    return done(order.order);
  }
  ipc::Stored apply(const ipc::StoreRenewed& order) {
    const auto found = pairs.find({order.key, order.peer});
    const bool ordered = found != pairs.end() && found->second.renewal != ipc::PairRenewal::kNone;
    if (found != pairs.end() && found->second.banned && !ordered) {
      return failed(order.order, ErrorCode::kBanned);
    }
    if (ordered) {
      found->second.renewal = ipc::PairRenewal::kStored;
    }
    active.at(order.key).sealed_share = order.sealed_share;
    return done(order.order);
  }
  ipc::Stored apply(const ipc::LiftBan& order) {
    const auto found = pairs.find({order.key, order.peer});
    if (found != pairs.end() && found->second.renewal != ipc::PairRenewal::kStored) {
      return failed(order.order, ErrorCode::kConflict);
    }
    if (fail_lifts > 0) {
      --fail_lifts;
      return failed(order.order, ErrorCode::kStorageFailed);
    }
    pairs.erase({order.key, order.peer});
    return done(order.order);
  }
  void strike(const ipc::Checking& check) {
    Pair& pair = pairs[{check.key, check.peer}];
    pair.epoch = check.epoch;
    if (++pair.strikes >= 3 && !pair.banned) {
      pair.banned = true;
      pair.renewal = ipc::PairRenewal::kNone;
    }
  }

  ipc::Stored apply(const ipc::StorePending& order, std::uint64_t worker_generation) {
    const Digest digest = acknowledgement_digest(order.key.record);
    const auto other = pending.find(order.key.key);
    const auto done = active.find(order.key.key);
    if (fail_pending) {
      return failed(order.order, ErrorCode::kStorageFailed);
    }
    if (refused.contains(digest) ||
        (other != pending.end() && other->second.record != order.key.record) ||
        (done != active.end() && done->second.epoch >= order.key.epoch)) {
      return failed(order.order, ErrorCode::kConflict);
    }
    pending[order.key.key] = order.key;
    acknowledged.insert(digest);
    return stated(order.order, StatementKind::kKeyAcknowledgement, worker_generation, order.key.key,
                  order.key.epoch, order.key.session, digest);
  }
  ipc::Stored apply(const ipc::StoreActivate& order) {
    const auto found = pending.find(order.key);
    if (found == pending.end() || found->second.session != order.session) {
      return failed(order.order, ErrorCode::kConflict);
    }
    const auto record = decode_key_record(found->second.record);
    const auto all = decode_commit_certificate(order.certificate);
    if (!record || !all || !verify_acknowledgements(*record, found->second.record, *all, peers_)) {
      throw std::logic_error("a certificate that does not verify reached the store");
    }
    ipc::StoredKey key = found->second;
    key.state = ipc::KeyState::kActive;
    key.certificate = order.certificate;
    pending.erase(found);
    active[order.key] = key;
    return {
        .order = order.order, .ok = true, .error_name = {}, .error_message = {}, .statement = {}};
  }
  ipc::Stored apply(const ipc::StoreDiscard& order) {
    const auto found = pending.find(order.key);
    const auto refusal = decode_statement(order.refusal);
    if (found == pending.end() || !refusal) {
      return failed(order.order, ErrorCode::kConflict);
    }
    const bool valid = refusal->kind == StatementKind::kKeyRefusal &&
                       refusal->digest == acknowledgement_digest(found->second.record) &&
                       verify_statement(*refusal, identity_of(refusal->node));
    if (!valid) {
      throw std::logic_error("a refusal that does not verify reached the store");
    }
    pending.erase(found);
    return {
        .order = order.order, .ok = true, .error_name = {}, .error_message = {}, .statement = {}};
  }
  ipc::Stored apply(const ipc::StoreRefusal& order, std::uint64_t worker_generation) {
    if (acknowledged.contains(order.digest)) {
      return failed(order.order, ErrorCode::kConflict);
    }
    refused.insert(order.digest);
    return stated(order.order, StatementKind::kKeyRefusal, worker_generation, order.key,
                  order.epoch, order.session, order.digest);
  }
  void apply(const ipc::StoreResult& order) {
    results[order.session] = order.answer;
    ids[{order.initiator, order.id}] = order.session;
  }
  [[nodiscard]] ipc::ResultFound apply(const ipc::ResultLookup& order) const {
    ipc::ResultFound found{.order = order.order,
                           .found = false,
                           .replayed = false,
                           .failed = unreadable,
                           .answer = {}};
    if (unreadable) {
      return found;
    }
    if (const auto result = results.find(order.session); result != results.end()) {
      found.found = true;
      found.answer = result->second;
    }
    const auto id = ids.find({order.initiator, order.id});
    found.replayed = id != ids.end() && id->second != order.session;
    return found;
  }

 private:
  static ipc::Stored done(std::uint64_t order) {
    return {.order = order, .ok = true, .error_name = {}, .error_message = {}, .statement = {}};
  }
  static ipc::Stored failed(std::uint64_t order, ErrorCode code) {
    return {.order = order,
            .ok = false,
            .error_name = std::string(error_name(code)),
            .error_message = "simulated",
            .statement = {}};
  }
  ipc::Stored stated(std::uint64_t order, StatementKind kind, std::uint64_t worker_generation,
                     const std::string& key, std::uint64_t epoch, const SessionId& session,
                     const Digest& digest) {
    Statement statement{.kind = kind,
                        .cluster = cluster_,
                        .node = node_,
                        .user = user_,
                        .generation = worker_generation,
                        .key = key,
                        .epoch = epoch,
                        .session = session,
                        .digest = digest,
                        .signature = {}};
    sign_statement(statement, identity_);
    return {.order = order,
            .ok = true,
            .error_name = {},
            .error_message = {},
            .statement = encode_statement(statement)};
  }
  [[nodiscard]] const Ed25519PublicKey& identity_of(const std::string& node) const {
    for (const ipc::Peer& peer : peers_) {
      if (peer.node == node) {
        return peer.identity;
      }
    }
    throw std::logic_error("unknown node");
  }

  std::string cluster_;
  std::string node_;
  std::string user_;
  const std::vector<ipc::Peer>& peers_;
  const IdentityKey& identity_;
};

class EngineCluster {
 public:
  static constexpr std::int64_t kWallStartMs = 1'800'000'000'000;

  struct Work {
    std::string node;
    bool woken = false;
    std::uint64_t generation = 0;  ///< of the worker that has it; 0: none yet
    std::vector<RequestAnswer> answers;
    std::int64_t asked_us = 0;
    std::int64_t answered_us = 0;
  };
  /// Thrown by Node::on_checking to let the worker die in the middle of a check.
  struct Died {};
  struct Node : worker::CheckNotices {
    Node(std::string node_name, IdentityKey key)
        : name(std::move(node_name)), identity(std::move(key)) {}
    void checking(const std::string& key, std::uint64_t epoch, const std::string& peer) override {
      open_checks.push_back({key, epoch, peer});
      ++checks;
      if (on_checking) {
        on_checking(open_checks.back());
      }
    }
    void checked(const std::string& key, std::uint64_t epoch, const std::string& peer) override {
      if (open_checks.empty() || open_checks.back().key != key ||
          open_checks.back().epoch != epoch || open_checks.back().peer != peer) {
        throw std::logic_error("a check ended that had not begun");
      }
      open_checks.pop_back();
    }
    void close_checks(const ipc::Burn& burn) {
      std::erase_if(open_checks, [&](const ipc::Checking& one) {
        return one.key == burn.key && one.epoch == burn.epoch && one.peer == burn.peer;
      });
    }
    std::vector<ipc::Checking> open_checks;  ///< what its supervisor knows
    std::vector<ipc::Burn> burning;          ///< ordered and not durable yet
    std::uint64_t checks = 0;
    std::function<void(const ipc::Checking&)> on_checking;
    std::string name;
    IdentityKey identity;
    std::unique_ptr<SimulatedStore> store;
    std::unique_ptr<Random> random;
    std::unique_ptr<worker::SessionEngine> engine;
    std::unique_ptr<worker::ProtocolFactory> protocols;  ///< null: the real ones
    std::uint64_t generation = 0;                        ///< of the running worker; 0: none
    std::uint64_t starting = 0;
    bool gateway_present = true;
    bool stopped = false;                        ///< SIGSTOP: what is for it waits
    bool cut = false;                            ///< no packet gets in or out, no 503 either
    std::vector<std::function<void()>> waiting;  ///< while stopped
    std::vector<std::uint64_t> queued;           ///< works for the next worker
    std::int64_t armed_us = -1;
    std::int64_t stopped_us = 0;
    Certificate certificate;  ///< of the running worker
    Ed25519SecretKey signing_secret;
    X25519SecretKey channel_secret;  ///< of the running worker, for tests that play it
  };

  EngineCluster(std::uint64_t seed, std::size_t size, NetworkFaults network = {})
      : faults(network),
        random_((sodium_init() < 0 ? throw std::runtime_error("libsodium") : seed) ^
                0x9e3779b97f4a7c15ULL),
        initiator_(IdentityKey::generate(random_)) {
    for (std::size_t i = 0; i < size; ++i) {
      nodes_.push_back(
          std::make_unique<Node>("n" + std::to_string(i + 1), IdentityKey::generate(random_)));
    }
    for (const auto& node : nodes_) {
      peers_.push_back({node->name, node->identity.public_key()});
    }
    for (const auto& node : nodes_) {
      node->store =
          std::make_unique<SimulatedStore>("test", node->name, "alice", peers_, node->identity);
    }
  }

  // ---- time

  [[nodiscard]] std::int64_t now() const { return now_; }
  [[nodiscard]] worker::Now clock() const { return {now_, kWallStartMs + now_ / kMs}; }
  void after(std::int64_t delay_us, std::function<void()> action) {
    events_.push({now_ + delay_us, ++event_number_, std::move(action)});
  }
  /// Runs events until `done` holds or the time is over; says whether it holds.
  bool run(std::int64_t limit_us, const std::function<bool()>& done = [] { return false; }) {
    const std::int64_t until = now_ + limit_us;
    while (!done()) {
      if (events_.empty() || events_.top().at > until) {
        now_ = until;
        return done();
      }
      Event event = events_.top();
      events_.pop();
      now_ = std::max(now_, event.at);
      event.action();
      if (++steps_ > kMaxSteps) {
        throw std::logic_error("the simulation does not come to rest");
      }
    }
    return true;
  }

  // ---- processes

  Node& node(const std::string& name) {
    for (const auto& one : nodes_) {
      if (one->name == name) {
        return *one;
      }
    }
    throw std::logic_error("no such node");
  }
  Node& node(std::size_t index) { return *nodes_.at(index); }
  [[nodiscard]] std::size_t size() const { return nodes_.size(); }
  [[nodiscard]] const worker::Counters& counters(std::size_t index) const {
    return nodes_.at(index)->engine->counters();
  }

  void start_worker(Node& target) {
    if (target.engine != nullptr || target.starting != 0) {
      return;
    }
    target.starting = ++target.store->generation;
    after(spawn_us, [this, &target, generation = target.starting] {
      if (target.starting == generation) {
        target.starting = 0;
        boot(target, generation);
      }
    });
  }

  /// The worker dies; its supervisor answers for it.
  void kill(Node& target) {
    if (target.engine == nullptr) {
      return;
    }
    add_dead_counters(*target.engine);
    // Its supervisor makes strikes of open checks, and bans of those that had failed.
    for (const ipc::Burn& burn : std::exchange(target.burning, {})) {
      static_cast<void>(target.store->apply(burn));
      target.close_checks(burn);
    }
    for (const ipc::Checking& check : std::exchange(target.open_checks, {})) {
      target.store->strike(check);
    }
    target.engine.reset();
    const std::uint64_t generation = std::exchange(target.generation, 0);
    target.waiting.clear();
    target.stopped = false;
    for (auto& [id, work] : works_) {
      if (work.node == target.name && work.generation == generation && work.answers.empty()) {
        RequestAnswer answer;
        answer.content = Error{.code = ErrorCode::kWorkerCrashed,
                               .message = "simulated",
                               .may_have_executed = true,
                               .peer = {},
                               .peer_reason = {}};
        work.answers.push_back(std::move(answer));
        work.answered_us = now_;
      }
    }
    if (!target.queued.empty()) {
      start_worker(target);
    }
  }
  void stop(Node& target) {
    if (!target.stopped && target.engine != nullptr) {
      target.stopped = true;
      target.stopped_us = now_;
    }
  }
  void resume(Node& target) {
    if (!target.stopped) {
      return;
    }
    target.stopped = false;
    longest_stop_us = std::max(longest_stop_us, now_ - target.stopped_us);
    for (auto& action : std::exchange(target.waiting, {})) {
      action();
    }
  }
  /// An operator's order, durable and told to the worker (which is started if there is none).
  void order_renewal(Node& target, const std::string& key, const std::string& peer) {
    SimulatedStore::Pair& pair = target.store->pairs[{key, peer}];
    pair.epoch = target.store->active.at(key).epoch;
    if (pair.renewal == ipc::PairRenewal::kNone) {
      pair.renewal = ipc::PairRenewal::kOrdered;
    }
    if (target.engine == nullptr) {
      start_worker(target);
      return;
    }
    input(target, [this, key, peer, epoch = pair.epoch](worker::SessionEngine& engine) {
      engine.on_renew_pair(clock(), {.key = key, .epoch = epoch, .peer = peer});
    });
  }
  /// The gateway's presence as all other nodes see it.
  void set_present(Node& target, bool present) {
    target.gateway_present = present;
    for (const auto& other : nodes_) {
      if (other.get() != &target) {
        input(*other, [this, &target, present](worker::SessionEngine& engine) {
          engine.on_presence(clock(), target.name, present);
        });
      }
    }
  }

  // ---- clients

  Request keygen_request(const std::string& key, std::uint16_t threshold,
                         std::size_t participants = 0) {
    Request request = base_request(key);
    request.operation = Operation::kKeygen;
    request.threshold = threshold;
    const std::size_t count = participants == 0 ? nodes_.size() : participants;
    for (std::size_t i = 0; i < count; ++i) {
      request.participants.push_back(nodes_[i]->name);
    }
    return request;
  }
  Request sign_request(const std::string& key, ByteVector message) {
    Request request = base_request(key);
    request.operation = Operation::kSign;
    request.message = std::move(message);
    return request;
  }
  [[nodiscard]] worker::CoordinatorOrder order_of(const SessionId& session) const {
    std::vector<worker::Participant> participants;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      participants.push_back({static_cast<ParticipantIndex>(i + 1), nodes_[i]->name});
    }
    return {session, participants};
  }
  /// Of the requests that `make` makes the first whose attempt `attempt` is that node's to
  /// coordinate.
  template <std::invocable Make>
  SignedRequest coordinated_by(const std::string& node, Make make, std::uint16_t attempt = 0) {
    for (;;) {
      SignedRequest request = sign(make());
      if (order_of(request.session).of(attempt) == node) {
        return request;
      }
    }
  }
  /// Likewise, for a signature with key k.
  SignedRequest coordinated_by(const std::string& node, std::uint16_t attempt = 0) {
    return coordinated_by(node, [&] { return sign_request("k", {1, 2}); }, attempt);
  }
  SignedRequest sign(const Request& request) {
    return cosigner::sign_request(request, initiator_).value();
  }
  /// Asks one node; returns the work's number.
  std::uint64_t ask(Node& target, const ByteVector& envelope, bool woken = false) {
    const std::uint64_t id = ++last_work_;
    works_[id].node = target.name;
    works_[id].woken = woken;
    works_[id].asked_us = now_;
    envelopes_[id] = envelope;
    target.queued.push_back(id);
    if (target.engine != nullptr) {
      deliver_queued(target);
    } else {
      start_worker(target);
    }
    return id;
  }
  /// Asks every node whose gateway is there, each a little later than the one before.
  std::vector<std::uint64_t> ask_all(const ByteVector& envelope) {
    std::vector<std::uint64_t> works;
    for (const auto& target : nodes_) {
      if (target->gateway_present && !target->cut) {
        works.push_back(ask(*target, envelope));
      }
    }
    return works;
  }
  [[nodiscard]] const Work& work(std::uint64_t id) const { return works_.at(id); }
  [[nodiscard]] const std::map<std::uint64_t, Work>& works() const { return works_; }
  [[nodiscard]] bool answered(const std::vector<std::uint64_t>& ids) const {
    for (const std::uint64_t id : ids) {
      if (works_.at(id).answers.empty()) {
        return false;
      }
    }
    return true;
  }
  [[nodiscard]] const ByteVector& envelope(std::uint64_t id) const { return envelopes_.at(id); }
  [[nodiscard]] const std::vector<ipc::Peer>& peers() const { return peers_; }
  /// What workers that start from now on are given as peers.
  [[nodiscard]] std::vector<ipc::Peer>& peers_file() { return peers_; }
  /// Runs until all are answered; false if the time is over first.
  bool settle(const std::vector<std::uint64_t>& ids, std::int64_t limit_us = 90 * kSecond) {
    return run(limit_us, [&] { return answered(ids); });
  }
  [[nodiscard]] const RequestAnswer& answer(std::uint64_t id) const {
    return works_.at(id).answers.at(0);
  }
  /// Makes a key and lets everything come to rest; returns its public key.
  ByteVector make_key(const std::string& key, std::uint16_t threshold,
                      Scheme scheme = Scheme::kEd25519) {
    Request request = keygen_request(key, threshold);
    request.scheme = scheme;
    const auto works = ask_all(sign(request).envelope);
    if (!settle(works)) {
      throw std::runtime_error("key generation was not answered");
    }
    for (const std::uint64_t id : works) {
      if (!answer(id).ok()) {
        throw std::runtime_error("key generation failed: " +
                                 std::get<Error>(answer(id).content).message);
      }
    }
    run(kSecond);
    return std::get<KeygenResult>(answer(works[0]).content).public_key;
  }

  // ---- settings and hooks

  NetworkFaults faults;
  ipc::Settings settings;
  std::int64_t spawn_us = 2 * kMs;
  std::int64_t store_us = 1 * kMs;
  /// Sees every packet before it is sent; may alter it; false drops it.
  std::function<bool(const std::string& from, const std::string& to, ByteVector& payload)> filter;
  /// Sees every effect but Publish.
  std::function<void(Node&, const worker::Effect&)> watch;
  /// The generator of each worker that starts.
  std::function<std::unique_ptr<Random>(std::uint64_t seed)> make_random = [](std::uint64_t seed) {
    return std::make_unique<SeededRandom>(seed);
  };
  /// Under which a node's shares are sealed.
  [[nodiscard]] static AeadKey sealing_key(const Node& node) {
    return AeadKey::from(ByteVector(32, static_cast<std::uint8_t>(node.name.back()))).value();
  }
  std::vector<std::string> log;
  std::uint64_t published = 0;
  std::uint64_t wakes = 0;
  std::int64_t longest_stop_us = 0;
  worker::Counters dead;  ///< counters of workers that are gone (those the tests ask about)

  SeededRandom& random() { return random_; }
  double chance() { return static_cast<double>(random_.next_u64() >> 11U) / 9007199254740992.0; }
  std::uint64_t pick(std::uint64_t bound) { return random_.next_u64() % bound; }

  /// Looks at what a worker wants and when, after a test has called its engine itself.
  void poke(Node& target) { flush(target); }

  /// Hands `payload` to the worker on `to` as if it came from `from`.
  void deliver(const std::string& from, const std::string& to, ByteVector payload) {
    input(node(to), [this, from, payload = std::move(payload)](worker::SessionEngine& engine) {
      engine.on_packet(clock(), from, payload);
    });
  }

 private:
  static constexpr std::uint64_t kMaxSteps = 5'000'000;
  struct Event {
    std::int64_t at;
    std::uint64_t number;
    std::function<void()> action;
    bool operator<(const Event& other) const {
      return std::tie(at, number) > std::tie(other.at, other.number);
    }
  };

  Request base_request(const std::string& key) {
    Request request;
    request.cluster = "test";
    request.initiator = initiator_.public_key();
    request.user = "alice";
    request.key = key;
    request.id = random_.bytes<RequestId>();
    request.issued_at_ms = static_cast<std::uint64_t>(clock().wall_ms);
    request.expires_at_ms = request.issued_at_ms + 60'000;
    return request;
  }

  void boot(Node& target, std::uint64_t generation) {
    target.random = make_random(random_.next_u64());
    worker::WorkerKeys keys{target.random->secret<32>(), ed25519_generate(*target.random)};
    Certificate certificate{.cluster = "test",
                            .node = target.name,
                            .role = CertificateRole::kWorker,
                            .user = "alice",
                            .generation = generation,
                            .x25519 = x25519_public_key(keys.channel),
                            .ed25519 = ed25519_public_key(keys.signing),
                            .signature = {}};
    certificate.not_before = static_cast<std::uint64_t>(clock().wall_ms / 1000);
    certificate.not_after = certificate.not_before + kCertificateLifetimeSeconds;
    sign_certificate(certificate, target.identity);
    target.certificate = certificate;
    target.channel_secret = keys.channel.duplicate();
    target.signing_secret = keys.signing.duplicate();
    ipc::WorkerStart start;
    start.cluster = "test";
    start.node = target.name;
    start.user = "alice";
    start.generation = generation;
    start.certificate = encode_certificate(certificate);
    start.sealing_key.assign(32, static_cast<std::uint8_t>(target.name.back()));
    start.peers = peers_;
    start.initiators = {{"tester", initiator_.public_key(), {"*"}, {"*"}, 0}};
    for (const auto& [name, key] : target.store->active) {
      start.keys.push_back(key);
    }
    for (const auto& [name, key] : target.store->pending) {
      start.keys.push_back(key);
    }
    for (const auto& other : nodes_) {
      if (other->gateway_present) {
        start.present.push_back(other->name);
      }
    }
    for (const auto& [name, pair] : target.store->pairs) {
      start.pairs.push_back({name.first, pair.epoch, name.second, pair.banned, pair.renewal});
    }
    start.settings = settings;
    target.engine = std::make_unique<worker::SessionEngine>(
        std::move(start), std::move(keys), *target.random, target, clock(), target.protocols.get());
    target.generation = generation;
    target.armed_us = -1;
    flush(target);
    deliver_queued(target);
  }

  void deliver_queued(Node& target) {
    for (const std::uint64_t id : std::exchange(target.queued, {})) {
      works_[id].generation = target.generation;
      const std::uint64_t generation = target.generation;
      after(50 + static_cast<std::int64_t>(pick(200)), [this, &target, id, generation] {
        if (target.generation != generation) {
          return;  // the supervisor has answered for it
        }
        input(target, [this, id](worker::SessionEngine& engine) {
          engine.on_work(clock(), ipc::Work{.request = id, .envelope = envelopes_[id]});
        });
      });
    }
  }

  /// Feeds the worker of a node, now or when it is resumed.
  void input(Node& target, std::function<void(worker::SessionEngine&)> body) {
    if (target.engine == nullptr) {
      return;
    }
    if (target.stopped) {
      const std::uint64_t generation = target.generation;
      target.waiting.push_back([this, &target, generation, body = std::move(body)] {
        if (target.generation == generation) {
          input(target, body);
        }
      });
      return;
    }
    try {
      body(*target.engine);
    } catch (const Died&) {
      kill(target);
      return;
    }
    flush(target);
  }

  void flush(Node& target) {
    for (worker::Effect& effect : target.engine->take_effects()) {
      if (auto* publish = std::get_if<worker::Publish>(&effect)) {
        send(target, std::move(*publish));
        continue;
      }
      if (watch) {
        watch(target, effect);
        if (target.engine == nullptr) {
          return;  // the watcher killed it
        }
      }
      perform(target, std::move(effect));
    }
    arm(target);
  }

  void arm(Node& target) {
    const std::optional<std::int64_t> next = target.engine->next_deadline();
    if (!next || *next == target.armed_us) {
      return;
    }
    target.armed_us = *next;
    const std::uint64_t generation = target.generation;
    const std::int64_t at = *next;
    after(std::max<std::int64_t>(at - now_, 0), [this, &target, generation, at] {
      if (target.generation == generation && target.armed_us == at) {
        target.armed_us = -1;
        input(target, [this](worker::SessionEngine& engine) { engine.on_timer(clock()); });
      }
    });
  }

  std::int64_t network_delay() {
    const auto width = static_cast<std::uint64_t>(faults.delay_high_us - faults.delay_low_us + 1);
    std::int64_t delay = faults.delay_low_us + static_cast<std::int64_t>(pick(width));
    if (faults.late > 0 && chance() < faults.late) {
      delay += static_cast<std::int64_t>(pick(300)) * kMs;
    }
    return delay;
  }

  void send(Node& from, worker::Publish publish) {
    ++published;
    if (filter && !filter(from.name, publish.node, publish.payload)) {
      return;
    }
    Node& to = node(publish.node);
    if (from.cut || to.cut || (faults.drop > 0 && chance() < faults.drop)) {
      return;
    }
    const int copies = faults.duplicate > 0 && chance() < faults.duplicate ? 2 : 1;
    for (int i = 0; i < copies; ++i) {
      const std::uint64_t sender = from.generation;
      after(network_delay(), [this, &from, &to, sender, publish] {
        if (from.cut || to.cut) {
          return;
        }
        if (to.engine == nullptr) {
          after(network_delay(), [this, &from, &to, sender, packet = publish.packet] {
            if (from.generation == sender) {
              input(from, [this, &to, packet](worker::SessionEngine& engine) {
                engine.on_no_responders(clock(), to.name, packet);
              });
            }
          });
          return;
        }
        deliver(from.name, to.name, publish.payload);
      });
    }
  }

  template <class Reply>
  void reply(Node& target, Reply reply) {
    const std::uint64_t generation = target.generation;
    after(store_us / 2 + 1, [this, &target, generation, reply = std::move(reply)] {
      if (target.generation != generation) {
        return;
      }
      input(target, [this, reply](worker::SessionEngine& engine) {
        if constexpr (std::is_same_v<Reply, ipc::Stored>) {
          engine.on_stored(clock(), reply);
        } else {
          engine.on_result_found(clock(), reply);
        }
      });
    });
  }

  void perform(Node& target, worker::Effect effect) {
    if (auto* answer = std::get_if<ipc::Answer>(&effect)) {
      Work& work = works_.at(answer->request);
      work.answers.push_back(decode_answer(answer->answer).value());
      work.answered_us = now_;
      return;
    }
    if (auto* wake = std::get_if<ipc::Wake>(&effect)) {
      ++wakes;
      Node& to = node(wake->node);
      if (!target.cut && !to.cut && to.gateway_present) {
        after(network_delay() * 2,
              [this, &to, envelope = std::move(wake->envelope)] { ask(to, envelope, true); });
      }
      return;
    }
    if (auto* line = std::get_if<ipc::Log>(&effect)) {
      log.push_back(target.name + ": " + line->message);
      return;
    }
    if (const auto* burn = std::get_if<ipc::Burn>(&effect); burn != nullptr && burn->failed) {
      target.burning.push_back(*burn);
    }
    // A store order takes effect after a while even if its worker has died meanwhile; the reply
    // goes to the worker that gave it only.
    const std::uint64_t generation = target.generation;
    after(store_us / 2 + static_cast<std::int64_t>(pick(static_cast<std::uint64_t>(store_us))),
          [this, &target, generation, effect = std::move(effect)] {
            SimulatedStore& store = *target.store;
            const auto* burn = std::get_if<ipc::Burn>(&effect);
            if (target.generation != generation && (burn != nullptr || chance() < 0.5)) {
              return;  // lost with the socket; a burn was seen to at the worker's death
            }
            if (burn != nullptr && !store.fail_burn) {
              target.close_checks(*burn);
              target.burning.clear();
            }
            std::visit(
                [&](const auto& order) {
                  using Order = std::decay_t<decltype(order)>;
                  if constexpr (std::is_same_v<Order, ipc::StorePending> ||
                                std::is_same_v<Order, ipc::StoreRefusal>) {
                    deliver_reply(target, generation, store.apply(order, generation));
                  } else if constexpr (std::is_same_v<Order, ipc::StoreActivate> ||
                                       std::is_same_v<Order, ipc::StoreDiscard> ||
                                       std::is_same_v<Order, ipc::Burn> ||
                                       std::is_same_v<Order, ipc::StoreRenewed> ||
                                       std::is_same_v<Order, ipc::LiftBan> ||
                                       std::is_same_v<Order, ipc::ResultLookup>) {
                    deliver_reply(target, generation, store.apply(order));
                  } else if constexpr (std::is_same_v<Order, ipc::StoreResult>) {
                    store.apply(order);
                  } else if constexpr (std::is_same_v<Order, ipc::RenewAsk>) {
                    ++renewals;
                    renew(target, generation);
                  }
                },
                effect);
          });
  }
  template <class Reply>
  void deliver_reply(Node& target, std::uint64_t generation, Reply message) {
    if (target.generation == generation) {
      reply(target, std::move(message));
    }
  }

  /// A new hour for the certificate of the running worker, same keys.
  void renew(Node& target, std::uint64_t generation) {
    if (target.generation != generation) {
      return;
    }
    target.certificate.not_before = static_cast<std::uint64_t>(clock().wall_ms / 1000);
    target.certificate.not_after = target.certificate.not_before + kCertificateLifetimeSeconds;
    sign_certificate(target.certificate, target.identity);
    input(target,
          [this, bytes = encode_certificate(target.certificate)](worker::SessionEngine& engine) {
            engine.on_renewed(clock(), ipc::Renewed{.certificate = bytes, .broker = {}});
          });
  }

  void add_dead_counters(const worker::SessionEngine& engine) {
    dead.misbehaviours += engine.counters().misbehaviours;
    dead.exceptions += engine.counters().exceptions;
  }

 public:
  std::uint64_t renewals = 0;

 private:
  SeededRandom random_;
  IdentityKey initiator_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<ipc::Peer> peers_;
  std::priority_queue<Event> events_;
  std::uint64_t event_number_ = 0;
  std::uint64_t steps_ = 0;
  std::int64_t now_ = 0;
  std::uint64_t last_work_ = 0;
  std::map<std::uint64_t, Work> works_;
  std::map<std::uint64_t, ByteVector> envelopes_;
};

}  // namespace cosigner::test
