// What clients ask of a simulated cluster, and what they are answered.

#include <stdexcept>

#include "tests/support/engine_cluster.h"

namespace cosigner::test {

Request EngineCluster::base_request(const std::string& key) {
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

Request EngineCluster::keygen_request(const std::string& key, std::uint16_t threshold,
                                      std::size_t participants) {
  Request request = base_request(key);
  request.operation = Operation::kKeygen;
  request.threshold = threshold;
  const std::size_t count = participants == 0 ? nodes_.size() : participants;
  for (std::size_t i = 0; i < count; ++i) {
    request.participants.push_back(nodes_[i]->name);
  }
  return request;
}

Request EngineCluster::sign_request(const std::string& key, ByteVector message) {
  Request request = base_request(key);
  request.operation = Operation::kSign;
  request.message = std::move(message);
  return request;
}

worker::CoordinatorOrder EngineCluster::order_of(const SessionId& session) const {
  std::vector<worker::Participant> participants;
  participants.reserve(nodes_.size());
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    participants.push_back({static_cast<ParticipantIndex>(i + 1), nodes_[i]->name});
  }
  return {session, participants};
}

SignedRequest EngineCluster::coordinated_by(const std::string& node, std::uint16_t attempt) {
  return coordinated_by(node, [&] { return sign_request("k", {1, 2}); }, attempt);
}

SignedRequest EngineCluster::sign(const Request& request) {
  return cosigner::sign_request(request, initiator_).value();
}

std::uint64_t EngineCluster::ask(Node& target, const ByteVector& envelope, bool woken) {
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

std::vector<std::uint64_t> EngineCluster::ask_all(const ByteVector& envelope) {
  std::vector<std::uint64_t> works;
  for (const auto& target : nodes_) {
    if (target->gateway_present && !target->cut) {
      works.push_back(ask(*target, envelope));
    }
  }
  return works;
}

bool EngineCluster::answered(const std::vector<std::uint64_t>& ids) const {
  for (const std::uint64_t id : ids) {
    if (works_.at(id).answers.empty()) {
      return false;
    }
  }
  return true;
}

bool EngineCluster::settle(const std::vector<std::uint64_t>& ids, std::int64_t limit_us) {
  return run(limit_us, [&] { return answered(ids); });
}

const RequestAnswer& EngineCluster::answer(std::uint64_t id) const {
  return works_.at(id).answers.at(0);
}

ByteVector EngineCluster::make_key(const std::string& key, std::uint16_t threshold, Scheme scheme) {
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

}  // namespace cosigner::test
