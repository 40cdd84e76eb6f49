// Virtual time and the lives of workers: start, stop, death, and every input on its way in.

#include "tests/support/engine_cluster.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace cosigner::test {

void EngineCluster::Node::checking(const std::string& key, std::uint64_t epoch,
                                   const std::string& peer) {
  open_checks.push_back({key, epoch, peer});
  ++checks;
  if (on_checking) {
    on_checking(open_checks.back());
  }
}

void EngineCluster::Node::checked(const std::string& key, std::uint64_t epoch,
                                  const std::string& peer) {
  if (open_checks.empty() || open_checks.back().key != key || open_checks.back().epoch != epoch ||
      open_checks.back().peer != peer) {
    throw std::logic_error("a check ended that had not begun");
  }
  open_checks.pop_back();
}

void EngineCluster::Node::close_checks(const ipc::Burn& burn) {
  std::erase_if(open_checks, [&](const ipc::Checking& one) {
    return one.key == burn.key && one.epoch == burn.epoch && one.peer == burn.peer;
  });
}

EngineCluster::EngineCluster(std::uint64_t seed, std::size_t size, NetworkFaults network)
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

void EngineCluster::after(std::int64_t delay_us, std::function<void()> action) {
  events_.push({now_ + delay_us, ++event_number_, std::move(action)});
}

bool EngineCluster::run(std::int64_t limit_us, const std::function<bool()>& done) {
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

EngineCluster::Node& EngineCluster::node(const std::string& name) {
  for (const auto& one : nodes_) {
    if (one->name == name) {
      return *one;
    }
  }
  throw std::logic_error("no such node");
}

const worker::Counters& EngineCluster::counters(std::size_t index) const {
  return nodes_.at(index)->engine->counters();
}

void EngineCluster::start_worker(Node& target) {
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

void EngineCluster::boot(Node& target, std::uint64_t generation) {
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

void EngineCluster::kill(Node& target) {
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
      answer.content = Error{
          .code = ErrorCode::kWorkerCrashed, .message = "simulated", .may_have_executed = true};
      work.answers.push_back(std::move(answer));
      work.answered_us = now_;
    }
  }
  if (!target.queued.empty()) {
    start_worker(target);
  }
}

void EngineCluster::add_dead_counters(const worker::SessionEngine& engine) {
  dead.misbehaviours += engine.counters().misbehaviours;
  dead.exceptions += engine.counters().exceptions;
}

void EngineCluster::stop(Node& target) {
  if (!target.stopped && target.engine != nullptr) {
    target.stopped = true;
    target.stopped_us = now_;
  }
}

void EngineCluster::resume(Node& target) {
  if (!target.stopped) {
    return;
  }
  target.stopped = false;
  longest_stop_us = std::max(longest_stop_us, now_ - target.stopped_us);
  for (auto& action : std::exchange(target.waiting, {})) {
    action();
  }
}

void EngineCluster::order_renewal(Node& target, const std::string& key, const std::string& peer) {
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

void EngineCluster::set_present(Node& target, bool present) {
  target.gateway_present = present;
  for (const auto& other : nodes_) {
    if (other.get() != &target) {
      input(*other, [this, &target, present](worker::SessionEngine& engine) {
        engine.on_presence(clock(), target.name, present);
      });
    }
  }
}

void EngineCluster::deliver_queued(Node& target) {
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

void EngineCluster::input(Node& target, std::function<void(worker::SessionEngine&)> body) {
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

void EngineCluster::arm(Node& target) {
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

AeadKey EngineCluster::sealing_key(const Node& node) {
  return AeadKey::from(ByteVector(32, static_cast<std::uint8_t>(node.name.back()))).value();
}

}  // namespace cosigner::test
