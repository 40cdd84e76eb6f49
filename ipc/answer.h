#pragma once
// What clients get: one answer of each node they asked, wrapped so that its origin can be checked.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "crypto/identity/certificate.h"
#include "crypto/identity/statement.h"
#include "ipc/error.h"
#include "ipc/key_record.h"
#include "ipc/request.h"

namespace cosigner {

inline constexpr std::uint64_t kAnswerVersion = 1;

struct SignResult {
  Scheme scheme = Scheme::kEd25519;
  std::uint64_t epoch = 0;
  ByteVector public_key;
  ByteVector signature;

  friend bool operator==(const SignResult&, const SignResult&) = default;
};
struct KeygenResult {
  Scheme scheme = Scheme::kEd25519;
  std::uint64_t epoch = 0;
  ByteVector public_key;
  ByteVector record;  ///< encoded KeyRecord: what the acknowledgements are over
  std::vector<Acknowledgement> acknowledgements;  ///< of all participants

  friend bool operator==(const KeygenResult&, const KeygenResult&) = default;
};

/// One node's part of the presignatures asked for: those that it may name. Other nodes answer for
/// theirs.
struct PresignResult {
  Scheme scheme = Scheme::kEcdsaSecp256k1;
  std::uint64_t epoch = 0;
  ByteVector public_key;
  std::uint32_t made = 0;   ///< for this request
  std::uint32_t ready = 0;  ///< in stock at its end, which other requests may have used since

  friend bool operator==(const PresignResult&, const PresignResult&) = default;
};

/// The contents of an answer (ipc::Answer is the frame that carries it). `operation`, `user` and
/// `key` are empty in the refusal of a request that could not be read.
struct RequestAnswer {
  SessionId session;
  std::string operation;
  std::string user;
  std::string key;
  std::variant<Error, SignResult, KeygenResult, PresignResult> content;

  [[nodiscard]] bool ok() const { return !std::holds_alternative<Error>(content); }
  friend bool operator==(const RequestAnswer&, const RequestAnswer&) = default;
};

/// {version, session, op, user, key, ok, result | error}
[[nodiscard]] ByteVector encode_answer(const RequestAnswer& answer);
/// Strict in what this release knows; an unknown error name decodes as `internal`.
[[nodiscard]] Expected<RequestAnswer> decode_answer(ByteView bytes);
/// "ok", or the name of the error that an answer carries; "internal" for what is no answer. Reads
/// no more than that: for whoever only counts answers and hands them on.
[[nodiscard]] std::string_view answer_outcome(ByteView bytes);
/// The answer that refuses `request`.
[[nodiscard]] RequestAnswer error_answer(const Request& request, const SessionId& session,
                                         Error error);

/// A gateway's own refusal: its certificate and its signature over answer_digest(answer).
struct GatewaySignature {
  ByteVector certificate;  ///< encoded Certificate of role gateway
  Ed25519Signature signature;

  friend bool operator==(const GatewaySignature&, const GatewaySignature&) = default;
};
/// {node, answer: bin, statement: map} or {node, answer: bin, certificate: bin, signature: bin64}
struct AnswerEnvelope {
  std::string node;
  ByteVector answer;
  std::variant<Statement, GatewaySignature> origin;

  friend bool operator==(const AnswerEnvelope&, const AnswerEnvelope&) = default;
};
[[nodiscard]] ByteVector encode_answer_envelope(const AnswerEnvelope& envelope);
[[nodiscard]] Expected<AnswerEnvelope> decode_answer_envelope(ByteView bytes);

/// The statement as the msgpack map that clients read.
[[nodiscard]] ByteVector encode_statement_map(const Statement& statement);

}  // namespace cosigner
