// What the workers of a simulated cluster want done: packets over a network that fails by order,
// orders that the store of their node carries out after a while, and what the supervisor hears.

#include <algorithm>
#include <type_traits>
#include <utility>
#include <variant>

#include "tests/support/engine_cluster.h"

namespace cosigner::test {

void EngineCluster::flush(Node& target) {
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

std::int64_t EngineCluster::network_delay() {
  const auto width = static_cast<std::uint64_t>(faults.delay_high_us - faults.delay_low_us + 1);
  std::int64_t delay = faults.delay_low_us + static_cast<std::int64_t>(pick(width));
  if (faults.late > 0 && chance() < faults.late) {
    delay += static_cast<std::int64_t>(pick(300)) * kMs;
  }
  return delay;
}

void EngineCluster::send(Node& from, worker::Publish publish) {
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

void EngineCluster::deliver(const std::string& from, const std::string& to, ByteVector payload) {
  input(node(to), [this, from, payload = std::move(payload)](worker::SessionEngine& engine) {
    engine.on_packet(clock(), from, payload);
  });
}

template <class Reply>
void EngineCluster::reply(Node& target, Reply reply) {
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

template <class Reply>
void EngineCluster::deliver_reply(Node& target, std::uint64_t generation, Reply message) {
  if (target.generation == generation) {
    reply(target, std::move(message));
  }
}

void EngineCluster::perform(Node& target, worker::Effect effect) {
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
  if (auto* used = std::get_if<ipc::PresignatureUsed>(&effect)) {
    presignatures_used.emplace_back(target.name, std::move(*used));
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

void EngineCluster::renew(Node& target, std::uint64_t generation) {
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

}  // namespace cosigner::test
