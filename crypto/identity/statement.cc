#include "crypto/identity/statement.h"

#include "crypto/base/hash.h"
#include "crypto/base/wire.h"

namespace cosigner {
namespace {

constexpr std::uint8_t kStatementVersion = 1;
// Names have 32, 128 and 64 bytes at most (ipc/names.h says which characters).
constexpr std::size_t kMaxStatementText = 128;

}  // namespace

std::string_view statement_kind_name(StatementKind kind) {
  switch (kind) {
    case StatementKind::kAnswer:
      return "answer";
    case StatementKind::kKeyAcknowledgement:
      return "key-acknowledgement";
    case StatementKind::kKeyRefusal:
      return "key-refusal";
  }
  return "";
}

std::optional<StatementKind> statement_kind_from_name(std::string_view name) {
  for (const auto kind :
       {StatementKind::kAnswer, StatementKind::kKeyAcknowledgement, StatementKind::kKeyRefusal}) {
    if (statement_kind_name(kind) == name) {
      return kind;
    }
  }
  return std::nullopt;
}

Digest answer_digest(ByteView answer) {
  return TaggedHash(tag::kAnswer).part(answer).finish();
}

Digest acknowledgement_digest(ByteView record) {
  return TaggedHash(tag::kKeyAcknowledgement).part(record).finish();
}

Digest statement_digest(const Statement& statement) {
  return TaggedHash(tag::kStatement)
      .part(statement_kind_name(statement.kind))
      .part(statement.cluster)
      .part(statement.node)
      .part(statement.user)
      .part_u64(statement.generation)
      .part(statement.key)
      .part_u64(statement.epoch)
      .part(statement.session.view())
      .part(statement.digest.view())
      .finish();
}

void sign_statement(Statement& statement, const IdentityKey& identity) {
  statement.signature = identity.sign(statement_digest(statement));
}

bool verify_statement(const Statement& statement, const Ed25519PublicKey& identity) {
  return ed25519_verify(identity, statement_digest(statement), statement.signature);
}

ByteVector encode_statement(const Statement& statement) {
  Writer out;
  out.u8(kStatementVersion)
      .u8(static_cast<std::uint8_t>(statement.kind))
      .text(statement.cluster)
      .text(statement.node)
      .text(statement.user)
      .u64(statement.generation)
      .text(statement.key)
      .u64(statement.epoch)
      .fixed(statement.session)
      .fixed(statement.digest)
      .fixed(statement.signature);
  return out.take();
}

Checked<Statement> decode_statement(ByteView bytes) {
  Reader in(bytes);
  Statement out;
  if (in.u8() != kStatementVersion) {
    return wrong("a statement of another version");
  }
  const std::uint8_t kind = in.u8();
  out.kind = static_cast<StatementKind>(kind);
  out.cluster = in.text(kMaxStatementText);
  out.node = in.text(kMaxStatementText);
  out.user = in.text(kMaxStatementText);
  out.generation = in.u64();
  out.key = in.text(kMaxStatementText);
  out.epoch = in.u64();
  out.session = in.take<SessionId>();
  out.digest = in.take<Digest>();
  out.signature = in.take<Ed25519Signature>();
  if (!in.finished() || statement_kind_name(out.kind).empty()) {
    return wrong("not a statement");
  }
  return out;
}

}  // namespace cosigner
