#pragma once
// A cluster of engines with an ECDSA key, and a witness that sees every use of a presignature at
// every node: none may ever be used twice at a node, or for two messages anywhere.

#include <catch2/catch.hpp>

#include "tests/support/engine_cluster.h"
#include "worker/session/protocol_factory.h"
#include "worker/session/rendezvous.h"

namespace cosigner::test {

class PresignCluster : public EngineCluster {
 public:
  struct Use {
    std::string node;
    Digest presignature;
    ByteVector message;
    Bytes<32> nonce;
  };

  PresignCluster(std::uint64_t seed, std::size_t nodes, std::uint16_t threshold,
                 std::uint32_t pool = 0)
      : EngineCluster(seed, nodes) {
    settings.presignature_pool = pool;
    for (std::size_t i = 0; i < nodes; ++i) {
      node(i).protocols = std::make_unique<Witness>(*this, node(i).name);
    }
    Request wanted = keygen_request("k", threshold);
    wanted.scheme = Scheme::kEcdsaSecp256k1;
    const auto works = ask_all(sign(wanted).envelope);
    REQUIRE(settle(works));
    for (const std::uint64_t id : works) {
      REQUIRE(answer(id).ok());
    }
    key = std::get<KeygenResult>(answer(works[0]).content).public_key;
    run(kSecond);
  }

  Request presign_request(std::uint32_t count) {
    Request request = sign_request("k", {});
    request.operation = Operation::kPresign;
    request.scheme = Scheme::kEcdsaSecp256k1;
    request.count = count;
    return request;
  }
  /// All nodes are asked; what they have made together.
  std::uint32_t presign(std::uint32_t count) {
    const auto works = ask_all(sign(presign_request(count)).envelope);
    REQUIRE(settle(works));
    std::uint32_t made = 0;
    for (const std::uint64_t id : works) {
      if (const auto* part = std::get_if<PresignResult>(&answer(id).content)) {
        made += part->made;
      }
    }
    return made;
  }

  Request ecdsa_request() {
    Request request = sign_request("k", to_vector(random().bytes<Digest>()));
    request.scheme = Scheme::kEcdsaSecp256k1;
    return request;
  }
  /// A request whose first coordinator is that node.
  SignedRequest coordinated_by(const std::string& name, Request& request) {
    return EngineCluster::coordinated_by(name, [&] { return request = ecdsa_request(); });
  }
  /// Every answered success verifies; says how many there are.
  std::size_t check_signatures(const std::vector<std::uint64_t>& works, const ByteVector& message) {
    std::size_t good = 0;
    for (const std::uint64_t id : works) {
      CHECK(work(id).answers.size() == 1);
      if (const auto* made = std::get_if<SignResult>(&answer(id).content)) {
        ++good;
        CHECK(made->public_key == key);
        REQUIRE(verify_signature_vartime(made->scheme, key, message, made->signature));
      }
    }
    return good;
  }
  /// One signature at all nodes.
  void sign_one() {
    const Request request = ecdsa_request();
    const auto works = ask_all(sign(request).envelope);
    REQUIRE(settle(works));
    REQUIRE(check_signatures(works, request.message) == works.size());
  }

  std::size_t ready() {
    std::size_t sum = 0;
    for (std::size_t i = 0; i < size(); ++i) {
      sum += node(i).engine ? node(i).engine->presignatures("k").ready : 0;
    }
    return sum;
  }
  std::size_t held() {
    std::size_t sum = 0;
    for (std::size_t i = 0; i < size(); ++i) {
      sum += node(i).engine ? node(i).engine->presignatures("k").held : 0;
    }
    return sum;
  }
  template <class Member>
  std::uint64_t sum(Member worker::Counters::* member) {
    std::uint64_t out = 0;
    for (std::size_t i = 0; i < size(); ++i) {
      out += node(i).engine ? node(i).engine->counters().*member : 0;
    }
    return out;
  }

  void check_single_use() const {
    std::set<std::pair<std::string, Digest>> at_node;
    std::map<Digest, ByteVector> messages;
    std::map<Digest, std::set<std::string>> nodes;
    for (const Use& use : uses) {
      INFO("presignature " << to_hex(use.presignature) << " at " << use.node);
      CHECK(at_node.emplace(use.node, use.presignature).second);
      const auto [first, is_new] = messages.try_emplace(use.presignature, use.message);
      CHECK((is_new || first->second == use.message));
      nodes[use.presignature].insert(use.node);
    }
    // The nodes' logs tell it as it was.
    std::set<std::pair<std::string, Digest>> told;
    std::map<Digest, std::pair<SessionId, std::uint32_t>> attempts;
    for (const auto& [name, used] : presignatures_used) {
      INFO("presignature " << to_hex(used.presignature) << " told by " << name);
      CHECK(used.key == "k");
      CHECK(told.emplace(name, used.presignature).second);
      const std::pair attempt{used.session, used.attempt};
      CHECK(attempts.try_emplace(used.presignature, attempt).first->second == attempt);
    }
    CHECK(std::ranges::includes(told, at_node));
    std::set<Bytes<32>> nonces;
    for (const Use& use : uses) {
      CHECK(nonces.insert(use.nonce).second);
    }
  }

  ByteVector key;
  std::vector<Use> uses;

 private:
  class Witness final : public worker::ProtocolFactory {
   public:
    Witness(PresignCluster& cluster, std::string node)
        : cluster_(cluster), node_(std::move(node)) {}
    Result<std::unique_ptr<Protocol>> presigned(SignParameters parameters,
                                                dkls23::Presignature presignature,
                                                const Bytes<32>& nonce) override {
      cluster_.uses.push_back({node_, presignature.id(), parameters.message, nonce});
      return ProtocolFactory::presigned(std::move(parameters), std::move(presignature), nonce);
    }

   private:
    PresignCluster& cluster_;
    std::string node_;
  };
};

}  // namespace cosigner::test
