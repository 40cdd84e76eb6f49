#pragma once
// What a node says under its identity key about one key of one user. The supervisor builds the
// structure itself: node, user and generation come from the socket an order came by, never from a
// frame.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "crypto/base/bytes.h"
#include "crypto/identity/checked.h"
#include "crypto/identity/ed25519_key.h"

namespace cosigner {

enum class StatementKind : std::uint8_t {
  kAnswer = 1,              ///< "answer": digest = answer_digest(answer bytes)
  kKeyAcknowledgement = 2,  ///< "key-acknowledgement": digest = acknowledgement_digest(record)
  kKeyRefusal = 3  ///< "key-refusal": never acknowledged, never will; the same digest, or zero
};
/// "answer", "key-acknowledgement", "key-refusal".
[[nodiscard]] std::string_view statement_kind_name(StatementKind kind);
[[nodiscard]] std::optional<StatementKind> statement_kind_from_name(std::string_view name);

struct Statement {
  StatementKind kind = StatementKind::kAnswer;
  std::string cluster;
  std::string node;
  std::string user;
  std::uint64_t generation = 0;
  std::string key;  ///< empty only where an answer concerns no key
  std::uint64_t epoch = 0;
  SessionId session;
  Digest digest;
  Ed25519Signature signature;

  friend bool operator==(const Statement&, const Statement&) = default;
};

/// H(kAnswer; answer bytes).
[[nodiscard]] Digest answer_digest(ByteView answer);
/// H(kKeyAcknowledgement; key record bytes).
[[nodiscard]] Digest acknowledgement_digest(ByteView record);

/// H(kStatement; kind name, cluster, node, user, u64 generation, key, u64 epoch, session, digest):
/// what the signature is over (32 bytes).
[[nodiscard]] Digest statement_digest(const Statement& statement);
/// Sets `signature`.
void sign_statement(Statement& statement, const IdentityKey& identity);
/// The caller compares the fields with what it expects.
[[nodiscard]] bool verify_statement(const Statement& statement, const Ed25519PublicKey& identity);

/// Compact binary form (crypto/base/wire.h), for frames and the store. Clients get the msgpack map
/// of ipc/answer.h instead.
[[nodiscard]] ByteVector encode_statement(const Statement& statement);
/// Strict: known kind, bounded texts, nothing left over. Does not verify the signature.
[[nodiscard]] Checked<Statement> decode_statement(ByteView bytes);

}  // namespace cosigner
