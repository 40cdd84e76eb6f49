#include "ipc/answer.h"

#include "ipc/map_reader.h"
#include "ipc/names.h"
#include "ipc/pack.h"

namespace cosigner {
namespace {

constexpr std::size_t kMaxAnswerBytes = 256U << 10;
constexpr ipc::TreeLimits kAnswerLimits{
    .bytes = kMaxAnswerBytes, .depth = 4, .elements = 64 + 8 * kMaxParticipants};

ByteVector encode_error(const Error& error) {
  return ipc::MapPacker()
      .text("name", error_name(error.code))
      .text("message", error.message)
      .boolean("may_have_executed", error.may_have_executed)
      .boolean("retryable", error.retryable)
      .unsigned_integer("retry_after_ms", error.retry_after_ms)
      .text("peer", error.peer)
      .text("peer_reason", error.peer_reason)
      .finish();
}

Expected<Error> decode_error(const ipc::Node& node) {
  ipc::MapReader in(node, "error");
  Error out;
  out.code = error_from_name(in.text("name", 64));
  out.message = in.text("message");
  out.may_have_executed = in.boolean("may_have_executed");
  out.retryable = in.boolean("retryable");
  out.retry_after_ms =
      static_cast<std::uint32_t>(in.unsigned_integer("retry_after_ms", 0, UINT32_MAX));
  out.peer = in.text("peer", kMaxNodeName);
  out.peer_reason = in.text("peer_reason");
  if (const auto finished = in.finish(); !finished) {
    return std::unexpected(finished.error());
  }
  return out;
}

ByteVector encode_result(const SignResult& result) {
  return ipc::MapPacker()
      .text("scheme", scheme_name(result.scheme))
      .unsigned_integer("epoch", result.epoch)
      .bytes("public_key", result.public_key)
      .bytes("signature", result.signature)
      .finish();
}

ByteVector encode_result(const KeygenResult& result) {
  return ipc::MapPacker()
      .text("scheme", scheme_name(result.scheme))
      .unsigned_integer("epoch", result.epoch)
      .bytes("public_key", result.public_key)
      .bytes("record", result.record)
      .raw("acknowledgements", encode_commit_certificate(result.acknowledgements))
      .finish();
}

ByteVector encode_result(const PresignResult& result) {
  return ipc::MapPacker()
      .text("scheme", scheme_name(result.scheme))
      .unsigned_integer("epoch", result.epoch)
      .bytes("public_key", result.public_key)
      .unsigned_integer("made", result.made)
      .unsigned_integer("ready", result.ready)
      .finish();
}

// The fields that every result begins with.
template <class Result>
Result decode_common(ipc::MapReader& in) {
  Result out;
  const auto scheme = scheme_from_name(in.text("scheme", 32));
  if (!scheme) {
    in.fail("'scheme' is not known");
  }
  out.scheme = scheme.value_or(Scheme::kEd25519);
  out.epoch = in.unsigned_integer("epoch");
  out.public_key = to_vector(in.bytes("public_key", 33));
  return out;
}

Expected<SignResult> decode_sign_result(const ipc::Node& node) {
  ipc::MapReader in(node, "result");
  auto out = decode_common<SignResult>(in);
  out.signature = to_vector(in.bytes("signature", 128));
  if (const auto finished = in.finish(); !finished) {
    return std::unexpected(finished.error());
  }
  return out;
}

Expected<KeygenResult> decode_keygen_result(const ipc::Node& node) {
  ipc::MapReader in(node, "result");
  auto out = decode_common<KeygenResult>(in);
  out.record = to_vector(in.bytes("record", 64U << 10));
  for (const ipc::Node& item : in.array("acknowledgements", kMaxParticipants)) {
    ipc::MapReader entry(item, "acknowledgement");
    Acknowledgement acknowledgement;
    acknowledgement.node = entry.text("node", kMaxNodeName);
    acknowledgement.generation = entry.unsigned_integer("generation");
    acknowledgement.signature = entry.fixed<Ed25519Signature>("signature");
    if (const auto finished = entry.finish(); !finished) {
      return std::unexpected(finished.error());
    }
    out.acknowledgements.push_back(std::move(acknowledgement));
  }
  if (const auto finished = in.finish(); !finished) {
    return std::unexpected(finished.error());
  }
  return out;
}

Expected<PresignResult> decode_presign_result(const ipc::Node& node) {
  ipc::MapReader in(node, "result");
  auto out = decode_common<PresignResult>(in);
  out.made = static_cast<std::uint32_t>(in.unsigned_integer("made", 0, UINT32_MAX));
  out.ready = static_cast<std::uint32_t>(in.unsigned_integer("ready", 0, UINT32_MAX));
  if (const auto finished = in.finish(); !finished) {
    return std::unexpected(finished.error());
  }
  return out;
}

template <class T>
Expected<void> store(Expected<T> decoded, RequestAnswer& answer) {
  if (!decoded) {
    return std::unexpected(decoded.error());
  }
  answer.content = std::move(*decoded);
  return {};
}

Expected<Statement> decode_statement_map(const ipc::Node& node) {
  ipc::MapReader in(node, "statement");
  Statement out;
  const auto kind = statement_kind_from_name(in.text("kind", 32));
  if (!kind) {
    in.fail("'kind' is not known");
  }
  out.kind = kind.value_or(StatementKind::kAnswer);
  out.cluster = in.text("cluster", kMaxNodeName);
  out.node = in.text("node", kMaxNodeName);
  out.user = in.text("user", kMaxUserName);
  out.generation = in.unsigned_integer("generation");
  out.key = in.text("key", kMaxKeyName);
  out.epoch = in.unsigned_integer("epoch");
  out.session = in.fixed<SessionId>("session");
  out.digest = in.fixed<Digest>("digest");
  out.signature = in.fixed<Ed25519Signature>("signature");
  if (const auto finished = in.finish(); !finished) {
    return std::unexpected(finished.error());
  }
  return out;
}

}  // namespace

ByteVector encode_answer(const RequestAnswer& answer) {
  ipc::MapPacker out;
  out.unsigned_integer("version", kAnswerVersion)
      .bytes("session", answer.session)
      .text("op", answer.operation)
      .text("user", answer.user)
      .text("key", answer.key)
      .boolean("ok", answer.ok());
  if (const auto* const error = std::get_if<Error>(&answer.content)) {
    out.raw("error", encode_error(*error));
  } else if (const auto* const sign = std::get_if<SignResult>(&answer.content)) {
    out.raw("result", encode_result(*sign));
  } else if (const auto* const made = std::get_if<PresignResult>(&answer.content)) {
    out.raw("result", encode_result(*made));
  } else {
    out.raw("result", encode_result(std::get<KeygenResult>(answer.content)));
  }
  return out.finish();
}

Expected<RequestAnswer> decode_answer(ByteView bytes) {
  const auto tree = ipc::Tree::parse(bytes, kAnswerLimits);
  if (!tree) {
    return std::unexpected(tree.error());
  }
  ipc::MapReader in(tree->root(), "answer");
  if (in.unsigned_integer("version") != kAnswerVersion && !in.failed()) {
    return fail(ErrorCode::kUnsupportedVersion, "answer: of another version");
  }
  RequestAnswer out;
  out.session = in.fixed<SessionId>("session");
  out.operation = in.text("op", 32);
  out.user = in.text("user", kMaxUserName);
  out.key = in.text("key", kMaxKeyName);
  const bool ok = in.boolean("ok");
  const auto content = in.node(ok ? "result" : "error");
  if (!content) {
    in.fail(ok ? "'result' is missing" : "'error' is missing");
  }
  const auto operation = operation_from_name(out.operation);
  if (ok && !operation) {
    in.fail("'op' is not known");
  }
  if (const auto finished = in.finish(); !finished) {
    return std::unexpected(finished.error());
  }
  Expected<void> stored;
  if (!ok) {
    stored = store(decode_error(*content), out);
  } else if (operation == Operation::kSign) {
    stored = store(decode_sign_result(*content), out);
  } else if (operation == Operation::kPresign) {
    stored = store(decode_presign_result(*content), out);
  } else {
    stored = store(decode_keygen_result(*content), out);
  }
  if (!stored) {
    return std::unexpected(stored.error());
  }
  return out;
}

std::string_view answer_outcome(ByteView bytes) {
  const std::string_view unreadable = error_name(ErrorCode::kInternal);
  const auto tree = ipc::Tree::parse(bytes, kAnswerLimits);
  if (!tree) {
    return unreadable;
  }
  ipc::MapReader in(tree->root(), "answer");
  const bool known = in.unsigned_integer("version") == kAnswerVersion;
  const bool ok = in.boolean("ok");
  const auto content = in.node(ok ? "result" : "error");
  if (!known || in.failed() || !content) {
    return unreadable;
  }
  return ok ? "ok"
            : error_name(error_from_name(ipc::MapReader(*content, "error").text("name", 64)));
}

RequestAnswer error_answer(const Request& request, const SessionId& session, Error error) {
  return {.session = session,
          .operation = std::string(operation_name(request.operation)),
          .user = request.user,
          .key = request.key,
          .content = std::move(error)};
}

ByteVector encode_statement_map(const Statement& statement) {
  return ipc::MapPacker()
      .text("kind", statement_kind_name(statement.kind))
      .text("cluster", statement.cluster)
      .text("node", statement.node)
      .text("user", statement.user)
      .unsigned_integer("generation", statement.generation)
      .text("key", statement.key)
      .unsigned_integer("epoch", statement.epoch)
      .bytes("session", statement.session)
      .bytes("digest", statement.digest)
      .bytes("signature", statement.signature)
      .finish();
}

ByteVector encode_answer_envelope(const AnswerEnvelope& envelope) {
  ipc::MapPacker out;
  out.text("node", envelope.node).bytes("answer", envelope.answer);
  if (const auto* const statement = std::get_if<Statement>(&envelope.origin)) {
    out.raw("statement", encode_statement_map(*statement));
  } else {
    const auto& gateway = std::get<GatewaySignature>(envelope.origin);
    out.bytes("certificate", gateway.certificate).bytes("signature", gateway.signature);
  }
  return out.finish();
}

Expected<AnswerEnvelope> decode_answer_envelope(ByteView bytes) {
  const auto tree =
      ipc::Tree::parse(bytes, {.bytes = kMaxAnswerBytes + 4096, .depth = 2, .elements = 64});
  if (!tree) {
    return std::unexpected(tree.error());
  }
  ipc::MapReader in(tree->root(), "answer envelope");
  AnswerEnvelope out;
  out.node = in.text("node", kMaxNodeName);
  out.answer = to_vector(in.bytes("answer", kMaxAnswerBytes));
  if (!in.failed() && !valid_node_name(out.node)) {
    in.fail("'node' is no node name");
  }
  const auto statement = in.node("statement");
  if (!statement) {
    GatewaySignature gateway;
    gateway.certificate = to_vector(in.bytes("certificate", 4096));
    gateway.signature = in.fixed<Ed25519Signature>("signature");
    out.origin = std::move(gateway);
  }
  if (const auto finished = in.finish(); !finished) {
    return std::unexpected(finished.error());
  }
  if (statement) {
    auto decoded = decode_statement_map(*statement);
    if (!decoded) {
      return std::unexpected(decoded.error());
    }
    out.origin = std::move(*decoded);
  }
  return out;
}

}  // namespace cosigner
