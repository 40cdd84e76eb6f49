// Key records, commit certificates, answers and the client's rules.

#include "ipc/answer.h"

#include <catch2/catch.hpp>
#include <functional>

#include "ipc/client_rules.h"
#include "ipc/pack.h"
#include "tests/support/filled_key.h"

using namespace cosigner;

namespace {

using cosigner::test::key_of;

constexpr std::uint64_t kNowSeconds = 1'790'000'000;

// Three nodes, an initiator, a request of each kind, and what honest nodes would answer.
struct Cluster {
  std::vector<std::string> names = {"node1", "node2", "node3"};
  std::vector<IdentityKey> identities;
  std::vector<ipc::Peer> peers;
  IdentityKey client = key_of(9);
  // Stands in for the shared key: one signer makes the same signatures that t nodes would.
  IdentityKey group = key_of(50);
  Request sign;
  Request keygen;
  SessionId sign_session;
  SessionId keygen_session;

  Cluster() {
    for (std::uint8_t i = 0; i < 3; ++i) {
      identities.push_back(key_of(static_cast<std::uint8_t>(10 + i)));
      peers.push_back({names[i], identities[i].public_key()});
    }
    sign.cluster = "demo";
    sign.initiator = client.public_key();
    sign.user = "alice";
    sign.key = "main";
    sign.issued_at_ms = kNowSeconds * 1000;
    sign.expires_at_ms = kNowSeconds * 1000 + 1000;
    sign.message = to_vector(as_bytes("hello"));
    keygen = sign;
    keygen.operation = Operation::kKeygen;
    keygen.message.clear();
    keygen.threshold = 2;
    keygen.participants = names;
    sign_session = session_id(encode_request(sign));
    keygen_session = session_id(encode_request(keygen));
  }

  [[nodiscard]] ClientExpectation expect(const Request& request) const {
    ClientExpectation out;
    out.cluster = "demo";
    out.nodes = peers;
    out.request = request;
    out.session = session_id(encode_request(request));
    return out;
  }

  [[nodiscard]] RequestAnswer signed_answer() const {
    return {.session = sign_session,
            .operation = "sign",
            .user = "alice",
            .key = "main",
            .content = SignResult{.scheme = Scheme::kEd25519,
                                  .epoch = 1,
                                  .public_key = to_vector(group.public_key()),
                                  .signature = to_vector(group.sign(sign.message))}};
  }

  [[nodiscard]] KeyRecord record() const {
    KeyRecord out;
    out.cluster = "demo";
    out.user = "alice";
    out.key = "main";
    out.epoch = 1;
    out.threshold = 2;
    out.participants = {{1, "node1"}, {2, "node2"}, {3, "node3"}};
    out.public_key = to_vector(group.public_key());
    out.public_shares = {ByteVector(32, 1), ByteVector(32, 2), ByteVector(32, 3)};
    out.chain_code.data.fill(4);
    out.transcript.data.fill(5);
    out.session = keygen_session;
    return out;
  }

  [[nodiscard]] std::vector<Acknowledgement> acknowledge(const KeyRecord& about) const {
    const ByteVector bytes = encode_key_record(about);
    std::vector<Acknowledgement> out;
    for (std::size_t i = 0; i < 3; ++i) {
      Statement statement = acknowledgement_statement(
          about, bytes, {.node = names[i], .generation = 3 + i, .signature = {}});
      sign_statement(statement, identities[i]);
      out.push_back(to_acknowledgement(statement));
    }
    return out;
  }

  [[nodiscard]] RequestAnswer keygen_answer(const KeyRecord& about) const {
    return {.session = keygen_session,
            .operation = "keygen",
            .user = "alice",
            .key = "main",
            .content = KeygenResult{.scheme = Scheme::kEd25519,
                                    .epoch = about.epoch,
                                    .public_key = about.public_key,
                                    .record = encode_key_record(about),
                                    .acknowledgements = acknowledge(about)}};
  }

  // As the supervisor of node `i` wraps an answer.
  [[nodiscard]] AnswerEnvelope wrap(std::size_t i, const RequestAnswer& answer) const {
    AnswerEnvelope out;
    out.node = names[i];
    out.answer = encode_answer(answer);
    Statement statement{.kind = StatementKind::kAnswer,
                        .cluster = "demo",
                        .node = names[i],
                        .user = "alice",
                        .generation = 3,
                        .key = "main",
                        .epoch = 1,
                        .session = answer.session,
                        .digest = answer_digest(out.answer),
                        .signature = {}};
    sign_statement(statement, identities[i]);
    out.origin = statement;
    return out;
  }

  // As the gateway of node `i` refuses.
  [[nodiscard]] AnswerEnvelope refuse(std::size_t i, const RequestAnswer& answer,
                                      CertificateRole role = CertificateRole::kGateway) const {
    const IdentityKey gateway = key_of(static_cast<std::uint8_t>(30 + i));
    Certificate certificate{.cluster = "demo",
                            .node = names[i],
                            .role = role,
                            .user = role == CertificateRole::kGateway ? "" : "alice",
                            .generation = 8,
                            .x25519 = {},
                            .ed25519 = gateway.public_key(),
                            .not_before = kNowSeconds - 10,
                            .not_after = kNowSeconds + 3590,
                            .signature = {}};
    sign_certificate(certificate, identities[i]);
    AnswerEnvelope out;
    out.node = names[i];
    out.answer = encode_answer(answer);
    out.origin =
        GatewaySignature{encode_certificate(certificate), gateway.sign(answer_digest(out.answer))};
    return out;
  }
};

Error error_of(ErrorCode code, bool executed = false) {
  Error out = fail(code, "because").error();
  out.may_have_executed = executed;
  return out;
}

bool fed(ClientRules& rules, const AnswerEnvelope& envelope, std::uint64_t now = kNowSeconds) {
  return rules.feed(encode_answer_envelope(envelope), now);
}

}  // namespace

TEST_CASE("key records: round trip, canonical form only, rules") {
  const Cluster cluster;
  const KeyRecord good = cluster.record();
  const ByteVector bytes = encode_key_record(good);
  REQUIRE(decode_key_record(bytes));
  CHECK(*decode_key_record(bytes) == good);
  CHECK(good.index_of("node2") == 2);
  CHECK(good.index_of("node9") == 0);
  CHECK(good.node_of(3) == "node3");
  CHECK(good.node_of(4).empty());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    CHECK_FALSE(decode_key_record(ByteView(bytes).first(i)));
    for (int bit = 0; bit < 8; ++bit) {
      ByteVector bad = bytes;
      bad[i] = static_cast<std::uint8_t>(bad[i] ^ (1U << bit));
      const auto decoded = decode_key_record(bad);
      CHECK((!decoded || !(*decoded == good)));
    }
  }
  // The version as uint8 and not as a small integer: the same meaning, other bytes.
  ByteVector longer = bytes;
  REQUIRE(longer[9] == 1);
  longer.insert(longer.begin() + 9, 0xcc);
  CHECK_FALSE(decode_key_record(longer));

  const std::vector<std::function<void(KeyRecord&)>> alterations = {
      [](KeyRecord& r) { r.cluster = ""; },
      [](KeyRecord& r) { r.user = ""; },
      [](KeyRecord& r) { r.key = "a/b"; },
      [](KeyRecord& r) { r.scheme = Scheme::kEcdsaSecp256k1; },  // 33-byte points
      [](KeyRecord& r) { r.epoch = 0; },
      [](KeyRecord& r) { r.threshold = 1; },
      [](KeyRecord& r) { r.threshold = 4; },
      [](KeyRecord& r) { r.participants[1].first = 1; },
      [](KeyRecord& r) { r.participants[1].second = "node1"; },
      [](KeyRecord& r) { r.participants[1].second = "all"; },
      [](KeyRecord& r) { r.participants.pop_back(); },
      [](KeyRecord& r) { r.public_key.pop_back(); },
      [](KeyRecord& r) { r.public_shares.pop_back(); },
      [](KeyRecord& r) { r.public_shares[0].push_back(1); },
  };
  for (const auto& alter : alterations) {
    KeyRecord bad = good;
    alter(bad);
    CHECK_FALSE(validate_key_record(bad));
    CHECK_FALSE(decode_key_record(encode_key_record(bad)));
  }

  KeyRecord copy;
  copy.participants = good.participants;
  REQUIRE(set_public_part(copy, to_public_key_record(good)));
  CHECK(copy.public_shares == good.public_shares);
  CHECK(copy.threshold == good.threshold);
  copy.participants.pop_back();
  CHECK_FALSE(set_public_part(copy, to_public_key_record(good)));
}

TEST_CASE("acknowledgements: all participants, each once, over this very record") {
  const Cluster cluster;
  const KeyRecord record = cluster.record();
  const ByteVector bytes = encode_key_record(record);
  const auto all = cluster.acknowledge(record);
  const auto verified = [&](const std::vector<Acknowledgement>& some) {
    return verify_acknowledgements(record, bytes, some, cluster.peers);
  };
  REQUIRE(verified(all));
  CHECK(verified({all[2], all[0], all[1]}));
  CHECK_FALSE(verified({}));
  CHECK_FALSE(verified({all[0], all[1]}));
  CHECK_FALSE(verified({all[0], all[1], all[1]}));
  CHECK_FALSE(verified({all[0], all[1], all[2], all[2]}));
  auto bad = all;
  bad[1].generation += 1;
  REQUIRE_FALSE(verified(bad));
  CHECK(verified(bad).error().code == ErrorCode::kPeerMisbehaved);
  CHECK(verified(bad).error().peer == "node2");
  bad = all;
  std::swap(bad[0].signature, bad[1].signature);
  CHECK_FALSE(verified(bad));
  bad = all;
  bad[0].node = "node9";
  CHECK_FALSE(verified(bad));
  CHECK_FALSE(verify_acknowledgements(record, bytes, all, std::span(cluster.peers).first(2)));
  KeyRecord other = record;
  other.transcript.data[0] ^= 1;
  CHECK_FALSE(verify_acknowledgements(other, encode_key_record(other), all, cluster.peers));

  const ByteVector certificate = encode_commit_certificate(all);
  REQUIRE(decode_commit_certificate(certificate));
  CHECK(*decode_commit_certificate(certificate) == all);
  for (std::size_t i = 0; i < certificate.size(); ++i) {
    CHECK_FALSE(decode_commit_certificate(ByteView(certificate).first(i)));
    ByteVector altered = certificate;
    altered[i] ^= 1;
    const auto decoded = decode_commit_certificate(altered);
    CHECK((!decoded || !verified(*decoded)));
  }
}

TEST_CASE("answers go round, and unknown error names become internal") {
  const Cluster cluster;
  for (const RequestAnswer& answer :
       {cluster.signed_answer(), cluster.keygen_answer(cluster.record()),
        error_answer(cluster.sign, cluster.sign_session,
                     Error{.code = ErrorCode::kPeerMisbehaved,
                           .message = "m",
                           .may_have_executed = true,
                           .retryable = true,
                           .retry_after_ms = 250,
                           .peer = "node2",
                           .peer_reason = "echo"})}) {
    const ByteVector bytes = encode_answer(answer);
    REQUIRE(decode_answer(bytes));
    CHECK(*decode_answer(bytes) == answer);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      CHECK_FALSE(decode_answer(ByteView(bytes).first(i)));
    }
    for (const AnswerEnvelope& envelope : {cluster.wrap(1, answer), cluster.refuse(1, answer)}) {
      const ByteVector wrapped = encode_answer_envelope(envelope);
      REQUIRE(decode_answer_envelope(wrapped));
      CHECK(*decode_answer_envelope(wrapped) == envelope);
    }
  }
  const ByteVector error = ipc::MapPacker()
                               .text("name", "brand_new")
                               .text("message", "")
                               .boolean("may_have_executed", false)
                               .boolean("retryable", false)
                               .unsigned_integer("retry_after_ms", 0)
                               .text("peer", "")
                               .text("peer_reason", "")
                               .finish();
  const auto answer = decode_answer(ipc::MapPacker()
                                        .unsigned_integer("version", 1)
                                        .bytes("session", ByteVector(32))
                                        .text("op", "dance")
                                        .text("user", "")
                                        .text("key", "")
                                        .boolean("ok", false)
                                        .raw("error", error)
                                        .finish());
  REQUIRE(answer);
  CHECK(std::get<Error>(answer->content).code == ErrorCode::kInternal);
}

TEST_CASE("what an answer says, read without the rest of it") {
  const Cluster cluster;
  CHECK(answer_outcome(encode_answer(cluster.signed_answer())) == "ok");
  CHECK(answer_outcome(encode_answer(cluster.keygen_answer(cluster.record()))) == "ok");
  for (const ErrorCode code : {ErrorCode::kPeerTimeout, ErrorCode::kBanned, ErrorCode::kInternal}) {
    const ByteVector bytes =
        encode_answer(error_answer(cluster.sign, cluster.sign_session, error_of(code)));
    CHECK(answer_outcome(bytes) == error_name(code));
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      CHECK(answer_outcome(ByteView(bytes).first(i)) == "internal");
    }
  }
  const auto answer = [](std::uint64_t version, bool ok, std::string_view content,
                         const ByteVector& body) {
    return ipc::MapPacker()
        .unsigned_integer("version", version)
        .boolean("ok", ok)
        .raw(content, body)
        .finish();
  };
  const ByteVector banned = ipc::MapPacker().text("name", "banned").finish();
  const ByteVector nameless = ipc::MapPacker().text("message", "banned").finish();
  CHECK(answer_outcome(answer(1, false, "error", banned)) == "banned");
  CHECK(answer_outcome(answer(1, false, "error", nameless)) == "internal");
  CHECK(answer_outcome(answer(1, false, "result", banned)) == "internal");
  CHECK(answer_outcome(answer(1, true, "result", nameless)) == "ok");
  CHECK(answer_outcome(answer(1, true, "error", banned)) == "internal");
  CHECK(answer_outcome(answer(2, true, "result", nameless)) == "internal");
  CHECK(answer_outcome({}) == "internal");
  CHECK(answer_outcome(ByteVector(1, 0xc0)) == "internal");
}

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
