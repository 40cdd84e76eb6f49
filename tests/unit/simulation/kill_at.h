#pragma once
// A key generation in which a worker dies at one chosen moment, and what must be true after it.

#include "tests/unit/simulation/invariants.h"

namespace cosigner::test {

/// After all faults are gone the same request again must make the key, or have made it.
inline void finish_and_use(EngineCluster& cluster, const SignedRequest& request,
                           Scheme scheme = Scheme::kEd25519) {
  heal(cluster);
  std::optional<ByteVector> public_key;
  std::string last;
  for (int i = 0; i < 4 && !public_key; ++i) {
    cluster.run(2 * kSecond);
    const auto works = cluster.ask_all(request.envelope);
    REQUIRE(cluster.settle(works));
    std::size_t good = 0;
    for (const std::uint64_t id : works) {
      const RequestAnswer& answer = cluster.answer(id);
      if (const auto* made = std::get_if<KeygenResult>(&answer.content)) {
        ++good;
        public_key = made->public_key;
      } else {
        const auto& error = std::get<Error>(answer.content);
        last = std::string(error_name(error.code)) + ": " + error.message;
      }
    }
    if (good != works.size()) {
      public_key.reset();
    }
  }
  INFO(last);
  if (!public_key) {
    for (const std::string& line : cluster.log) {
      UNSCOPED_INFO(line);
    }
  }
  REQUIRE(public_key.has_value());
  cluster.run(kSecond);
  check_invariants(cluster);
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    REQUIRE(cluster.node(i).store->active.contains("k"));
    CHECK(cluster.node(i).store->pending.empty());
  }
  check_usable(cluster, "k", *public_key, scheme);
}

/// A key generation in which the worker of `victim` dies when `moment` comes.
struct Moment {
  std::uint64_t at = 0;   ///< the how-manieth
  bool packets = true;    ///< packet sent by anyone, or store order of anyone
  bool receiver = false;  ///< of a packet: kill who would get it
};

/// Returns false if the key generation was over before the moment came.
inline bool kill_at(std::uint64_t seed, Moment moment, Scheme scheme = Scheme::kEd25519) {
  CAPTURE(seed, moment.at, moment.packets, moment.receiver);
  EngineCluster cluster(seed, 3);
  Request wanted = cluster.keygen_request("k", 2);
  wanted.scheme = scheme;
  wanted.expires_at_ms = wanted.issued_at_ms + 3'600'000;
  const SignedRequest request = cluster.sign(wanted);
  std::uint64_t seen = 0;
  bool came = false;
  const auto strike = [&](const std::string& name) {
    came = true;
    cluster.after(0, [&cluster, name] { cluster.kill(cluster.node(name)); });
  };
  if (moment.packets) {
    cluster.filter = [&](const std::string& from, const std::string& to, ByteVector&) {
      if (!came && seen++ == moment.at) {
        strike(moment.receiver ? to : from);
      }
      return true;
    };
  } else {
    cluster.watch = [&](EngineCluster::Node& node, const worker::Effect& effect) {
      const bool store = std::holds_alternative<ipc::StorePending>(effect) ||
                         std::holds_alternative<ipc::StoreActivate>(effect);
      if (store && !came && seen++ == moment.at) {
        strike(node.name);
      }
    };
  }
  const auto works = cluster.ask_all(request.envelope);
  REQUIRE(cluster.settle(works));
  cluster.run(2 * kSecond);
  finish_and_use(cluster, request, scheme);
  return came;
}

}  // namespace cosigner::test
