#pragma once
// What requests, key records, acknowledgements and answers of a small cluster look like.

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "ipc/answer.h"
#include "ipc/client_rules.h"
#include "tests/support/filled_key.h"

namespace cosigner::test {

inline constexpr std::uint64_t kNowSeconds = 1'790'000'000;

/// Three nodes, an initiator, a request of each kind, and what honest nodes would answer.
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

inline Error error_of(ErrorCode code, bool executed = false) {
  Error out = fail(code, "because").error();
  out.may_have_executed = executed;
  return out;
}

}  // namespace cosigner::test
