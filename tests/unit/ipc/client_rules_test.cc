// The client's rules: which answer, or how many errors, settle a request.

#include "ipc/client_rules.h"

#include <functional>

#include "tests/unit/ipc/answer_cluster.h"

using namespace cosigner;
using namespace cosigner::test;

namespace {

bool fed(ClientRules& rules, const AnswerEnvelope& envelope, std::uint64_t now = kNowSeconds) {
  return rules.feed(encode_answer_envelope(envelope), now);
}

}  // namespace

TEST_CASE("the client takes the first success that verifies, whoever lies before it") {
  const Cluster cluster;
  ClientExpectation expected = cluster.expect(cluster.sign);
  expected.public_key = to_vector(cluster.group.public_key());
  ClientRules rules(expected);
  std::uint64_t rejected = 0;
  const auto refused = [&](const AnswerEnvelope& envelope) {
    CHECK_FALSE(fed(rules, envelope));
    CHECK(rules.rejected() == ++rejected);
  };
  const auto altered = [&](const std::function<void(SignResult&)>& alter) {
    RequestAnswer answer = cluster.signed_answer();
    alter(std::get<SignResult>(answer.content));
    return answer;
  };
  refused(cluster.wrap(0, altered([](SignResult& r) { r.signature[5] ^= 1; })));
  refused(cluster.wrap(0, altered([](SignResult& r) { r.signature.clear(); })));
  refused(cluster.wrap(0, altered([](SignResult& r) { r.scheme = Scheme::kBip340Secp256k1; })));
  const IdentityKey other = key_of(51);
  refused(cluster.wrap(0, altered([&](SignResult& r) {
                         r.public_key = to_vector(other.public_key());
                         r.signature = to_vector(other.sign(cluster.sign.message));
                       })));
  RequestAnswer answer = cluster.signed_answer();
  answer.user = "bob";
  refused(cluster.wrap(0, answer));
  answer = cluster.signed_answer();
  answer.session.data[0] ^= 1;
  refused(cluster.wrap(0, answer));
  refused(cluster.refuse(0, cluster.signed_answer()));  // gateways can only refuse

  AnswerEnvelope envelope = cluster.wrap(0, cluster.signed_answer());
  envelope.node = "node2";
  refused(envelope);
  envelope.node = "node9";
  refused(envelope);
  envelope = cluster.wrap(0, cluster.signed_answer());
  std::get<Statement>(envelope.origin).signature.data[0] ^= 1;
  refused(envelope);
  CHECK_FALSE(rules.feed(as_bytes("junk"), kNowSeconds));
  ++rejected;

  CHECK(fed(rules, cluster.wrap(2, cluster.signed_answer())));
  REQUIRE(rules.settled());
  CHECK(rules.outcome() == cluster.signed_answer());
  CHECK(rules.answered_by() == "node3");
  CHECK_FALSE(fed(rules, cluster.wrap(1, cluster.signed_answer())));
}

TEST_CASE("errors count once for each node, n-t+1 of them make one") {
  const Cluster cluster;
  const auto answer = [&](ErrorCode code, bool executed = false) {
    return error_answer(cluster.sign, cluster.sign_session, error_of(code, executed));
  };
  ClientRules rules(cluster.expect(cluster.sign));
  CHECK(rules.errors_needed() == 2);
  CHECK_FALSE(fed(rules, cluster.wrap(0, answer(ErrorCode::kWorkerCrashed, true))));
  CHECK_FALSE(fed(rules, cluster.wrap(0, answer(ErrorCode::kWorkerCrashed))));
  CHECK_FALSE(fed(rules, cluster.refuse(0, answer(ErrorCode::kRateLimited))));
  CHECK_FALSE(rules.settled());
  CHECK(rules.deadline_error().message.find("worker_crashed") != std::string::npos);
  SECTION("a gateway's refusal is an error of its node") {
    CHECK(fed(rules, cluster.refuse(1, answer(ErrorCode::kDenied))));
    const Error& error = std::get<Error>(rules.outcome().content);
    CHECK(error.may_have_executed);  // one node cannot rule it out
    CHECK(rules.answered_by().empty());
  }
  SECTION("a success after errors is still taken") {
    CHECK(fed(rules, cluster.wrap(1, cluster.signed_answer())));
    CHECK(rules.outcome().ok());
  }
  SECTION("refusals that nobody authentic signed do not count") {
    CHECK_FALSE(fed(rules, cluster.refuse(1, answer(ErrorCode::kDenied)), kNowSeconds + 10'000));
    CHECK_FALSE(
        fed(rules, cluster.refuse(1, answer(ErrorCode::kDenied), CertificateRole::kWorker)));
    AnswerEnvelope envelope = cluster.refuse(1, answer(ErrorCode::kDenied));
    std::get<GatewaySignature>(envelope.origin).signature.data[1] ^= 1;
    CHECK_FALSE(fed(rules, envelope));
    CHECK(rules.rejected() == 3);
    CHECK_FALSE(rules.settled());
  }
}

TEST_CASE(
    "presignatures: the outcome is settled when every participant has answered, and sums up") {
  const Cluster cluster;
  Request request = cluster.sign;
  request.operation = Operation::kPresign;
  request.scheme = Scheme::kEcdsaSecp256k1;
  request.message.clear();
  request.count = 9;
  ClientExpectation expected = cluster.expect(request);
  expected.public_key = ByteVector(33, 2);
  const PresignResult part{.scheme = Scheme::kEcdsaSecp256k1,
                           .epoch = 1,
                           .public_key = ByteVector(33, 2),
                           .made = 3,
                           .ready = 5};
  const auto answer = [&](const PresignResult& result) {
    return RequestAnswer{.session = expected.session,
                         .operation = "presign",
                         .user = "alice",
                         .key = "main",
                         .content = result};
  };
  CHECK(decode_answer(encode_answer(answer(part))) == answer(part));
  const RequestAnswer error =
      error_answer(request, expected.session, error_of(ErrorCode::kPeerTimeout));
  SECTION("all succeed") {
    ClientRules rules(expected);
    CHECK_FALSE(fed(rules, cluster.wrap(0, answer(part))));
    CHECK_FALSE(fed(rules, cluster.wrap(0, answer(part))));  // the same node again
    CHECK_FALSE(fed(rules, cluster.wrap(1, answer(part))));
    CHECK(fed(rules, cluster.wrap(2, answer(part))));
    const auto& sum = std::get<PresignResult>(rules.outcome().content);
    CHECK(sum.made == 9);
    CHECK(sum.ready == 15);
    CHECK(rules.answered_by() == "node1, node2, node3");
  }
  SECTION("errors count as answers; a success among them is one") {
    ClientRules rules(expected);
    CHECK_FALSE(fed(rules, cluster.wrap(0, error)));
    CHECK_FALSE(fed(rules, cluster.wrap(1, error)));
    CHECK(fed(rules, cluster.wrap(2, answer(part))));
    CHECK(std::get<PresignResult>(rules.outcome().content).made == 3);
  }
  SECTION("only errors") {
    ClientRules rules(expected);
    CHECK_FALSE(fed(rules, cluster.wrap(0, error)));
    CHECK_FALSE(fed(rules, cluster.wrap(1, error)));
    CHECK(fed(rules, cluster.wrap(2, error)));
    CHECK(std::get<Error>(rules.outcome().content).code == ErrorCode::kPeerTimeout);
  }
  SECTION("who is known to be away is not waited for") {
    expected.participants = {"node1", "node3"};
    ClientRules rules(expected);
    CHECK_FALSE(fed(rules, cluster.wrap(0, answer(part))));
    CHECK_FALSE(fed(rules, cluster.wrap(1, error)));  // not asked for
    CHECK(fed(rules, cluster.wrap(2, answer(part))));
  }
  SECTION("another key's or scheme's result is none") {
    ClientRules rules(expected);
    PresignResult other = part;
    other.public_key[4] ^= 1;
    CHECK_FALSE(fed(rules, cluster.wrap(0, answer(other))));
    other = part;
    other.scheme = Scheme::kEd25519;
    CHECK_FALSE(fed(rules, cluster.wrap(0, answer(other))));
    CHECK(rules.rejected() == 2);
  }
}

TEST_CASE("how many errors it takes") {
  const Cluster cluster;
  ClientExpectation expected = cluster.expect(cluster.sign);
  CHECK(ClientRules(expected).errors_needed() == 2);
  expected.threshold = 3;
  CHECK(ClientRules(expected).errors_needed() == 1);
  expected.threshold = 2;
  expected.participants = {"node1", "node2"};
  ClientRules two(expected);
  CHECK(two.errors_needed() == 1);
  // A node that does not take part in the key does not count.
  CHECK_FALSE(fed(two, cluster.wrap(2, error_answer(cluster.sign, cluster.sign_session,
                                                    error_of(ErrorCode::kUnknownKey)))));
  CHECK(fed(two, cluster.wrap(1, error_answer(cluster.sign, cluster.sign_session,
                                              error_of(ErrorCode::kUnknownKey)))));
  CHECK(ClientRules(cluster.expect(cluster.keygen)).errors_needed() == 2);
}

TEST_CASE("a new key is taken only when every participant acknowledged this very record") {
  const Cluster cluster;
  const auto settles = [&](const RequestAnswer& answer) {
    ClientRules rules(cluster.expect(cluster.keygen));
    return fed(rules, cluster.wrap(0, answer));
  };
  CHECK(settles(cluster.keygen_answer(cluster.record())));
  const auto with = [&](const std::function<void(KeygenResult&)>& alter) {
    RequestAnswer answer = cluster.keygen_answer(cluster.record());
    alter(std::get<KeygenResult>(answer.content));
    return settles(answer);
  };
  CHECK_FALSE(with([](KeygenResult& r) { r.acknowledgements.pop_back(); }));
  CHECK_FALSE(with([](KeygenResult& r) { r.acknowledgements[1] = r.acknowledgements[0]; }));
  CHECK_FALSE(with([](KeygenResult& r) { r.acknowledgements[1].signature.data[0] ^= 1; }));
  CHECK_FALSE(with([](KeygenResult& r) { r.public_key[0] ^= 1; }));
  CHECK_FALSE(with([](KeygenResult& r) { r.epoch = 2; }));
  CHECK_FALSE(with([](KeygenResult& r) { r.scheme = Scheme::kBip340Secp256k1; }));
  CHECK_FALSE(with([](KeygenResult& r) { r.record[40] ^= 1; }));
  // Acknowledged by everybody, but not what was asked for.
  const auto record_with = [&](const std::function<void(KeyRecord&)>& alter) {
    KeyRecord record = cluster.record();
    alter(record);
    return settles(cluster.keygen_answer(record));
  };
  CHECK(record_with([](KeyRecord&) {}));
  CHECK_FALSE(record_with([](KeyRecord& r) { r.cluster = "demo2"; }));
  CHECK_FALSE(record_with([](KeyRecord& r) { r.user = "bob"; }));
  CHECK_FALSE(record_with([](KeyRecord& r) { r.key = "other"; }));
  CHECK_FALSE(record_with([](KeyRecord& r) { r.threshold = 3; }));
  CHECK_FALSE(record_with([](KeyRecord& r) { r.session.data[0] ^= 1; }));
  CHECK_FALSE(record_with([](KeyRecord& r) { r.participants[2].first = 4; }));
  CHECK_FALSE(record_with(
      [](KeyRecord& r) { std::swap(r.participants[0].second, r.participants[1].second); }));
  // A signature where a key was asked for.
  RequestAnswer sign = cluster.signed_answer();
  sign.session = cluster.keygen_session;
  CHECK_FALSE(settles(sign));
}
