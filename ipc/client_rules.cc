#include "ipc/client_rules.h"

#include <algorithm>
#include <ranges>

#include "ipc/joined.h"

namespace cosigner {
namespace {

std::unexpected<Error> reject(std::string reason) {
  return fail(ErrorCode::kBadRequest, std::move(reason));
}

const Ed25519PublicKey* identity_of(const std::vector<ipc::Peer>& nodes, std::string_view node) {
  for (const ipc::Peer& peer : nodes) {
    if (peer.node == node) {
      return &peer.identity;
    }
  }
  return nullptr;
}

Expected<void> check_statement(const Statement& statement, const AnswerEnvelope& envelope,
                               const ClientExpectation& expected,
                               const Ed25519PublicKey& identity) {
  const bool fits =
      statement.kind == StatementKind::kAnswer && statement.cluster == expected.cluster &&
      statement.node == envelope.node && statement.user == expected.request.user &&
      statement.session == expected.session && statement.digest == answer_digest(envelope.answer);
  if (!fits) {
    return reject("the statement is about something else");
  }
  if (!verify_statement(statement, identity)) {
    return reject("the statement's signature does not verify");
  }
  return {};
}

Expected<void> check_gateway(const GatewaySignature& gateway, const AnswerEnvelope& envelope,
                             const ClientExpectation& expected, const Ed25519PublicKey& identity,
                             std::uint64_t now_seconds) {
  const auto certificate = open_certificate(gateway.certificate,
                                            {.cluster = expected.cluster,
                                             .node = envelope.node,
                                             .role = CertificateRole::kGateway,
                                             .user = {}},
                                            identity, now_seconds);
  if (!certificate) {
    return reject(certificate.error());
  }
  if (!ed25519_verify(certificate->ed25519, answer_digest(envelope.answer), gateway.signature)) {
    return reject("the gateway's signature does not verify");
  }
  return {};
}

}  // namespace

ClientRules::ClientRules(ClientExpectation expectation) : expectation_(std::move(expectation)) {}

std::size_t ClientRules::errors_needed() const {
  const bool keygen = expectation_.request.operation == Operation::kKeygen;
  const std::size_t n = keygen ? expectation_.request.participants.size()
                               : (expectation_.participants ? expectation_.participants->size()
                                                            : expectation_.nodes.size());
  const std::size_t t =
      keygen ? expectation_.request.threshold : expectation_.threshold.value_or(2);
  return n >= t ? n - t + 1 : 1;
}

Expected<RequestAnswer> ClientRules::authenticate(const AnswerEnvelope& envelope,
                                                  std::uint64_t now_seconds) const {
  const Ed25519PublicKey* const identity = identity_of(expectation_.nodes, envelope.node);
  if (identity == nullptr) {
    return reject("an answer of a node that this cluster does not have");
  }
  const auto* const statement = std::get_if<Statement>(&envelope.origin);
  const auto origin = statement != nullptr
                          ? check_statement(*statement, envelope, expectation_, *identity)
                          : check_gateway(std::get<GatewaySignature>(envelope.origin), envelope,
                                          expectation_, *identity, now_seconds);
  if (!origin) {
    return std::unexpected(origin.error());
  }
  auto answer = decode_answer(envelope.answer);
  if (!answer) {
    return answer;
  }
  if (answer->session != expectation_.session) {
    return reject("an answer to another request");
  }
  if (answer->ok() && statement == nullptr) {
    return reject("a gateway can refuse but not succeed");
  }
  return answer;
}

Expected<void> ClientRules::check_success(const RequestAnswer& answer) const {
  const Request& request = expectation_.request;
  if (answer.operation != operation_name(request.operation) || answer.user != request.user ||
      answer.key != request.key) {
    return reject("a success of another operation, user or key");
  }
  if (const auto* const sign = std::get_if<SignResult>(&answer.content)) {
    if (request.operation != Operation::kSign || sign->scheme != request.scheme) {
      return reject("a result of another operation or scheme");
    }
    if (expectation_.public_key && sign->public_key != *expectation_.public_key) {
      return reject("a signature under another public key");
    }
    if (!verify_signature_vartime(request.scheme, sign->public_key, request.message,
                                  sign->signature)) {
      return reject("the signature does not verify");
    }
    return {};
  }
  if (const auto* const made = std::get_if<PresignResult>(&answer.content)) {
    if (request.operation != Operation::kPresign || made->scheme != request.scheme ||
        (expectation_.public_key && made->public_key != *expectation_.public_key)) {
      return reject("a result of another operation, scheme or key");
    }
    return {};
  }
  const auto& keygen = std::get<KeygenResult>(answer.content);
  const auto record = decode_key_record(keygen.record);
  if (!record) {
    return std::unexpected(record.error());
  }
  const bool asked = record->cluster == expectation_.cluster && record->user == request.user &&
                     record->key == request.key && record->scheme == request.scheme &&
                     record->threshold == request.threshold &&
                     record->session == expectation_.session && record->epoch == keygen.epoch &&
                     record->public_key == keygen.public_key && keygen.scheme == request.scheme;
  // Index = position + 1: the record must number the nodes as the request did.
  bool numbered = record->participants.size() == request.participants.size();
  for (std::size_t i = 0; numbered && i < request.participants.size(); ++i) {
    numbered = record->participants[i].first == i + 1 &&
               record->participants[i].second == request.participants[i];
  }
  if (request.operation != Operation::kKeygen || !asked || !numbered) {
    return reject("the record is not of the key that was asked for");
  }
  return verify_acknowledgements(*record, keygen.record, keygen.acknowledgements,
                                 expectation_.nodes);
}

RequestAnswer ClientRules::representative_error() const {
  // The most frequent one; where several are, the one that the first node by name gave.
  const Error* best = nullptr;
  std::ptrdiff_t most = 0;
  bool executed = false;
  for (const auto& [node, error] : errors_) {
    const auto count = std::count_if(errors_.begin(), errors_.end(), [&](const auto& other) {
      return other.second.code == error.code;
    });
    if (count > most) {
      most = count;
      best = &error;
    }
    executed = executed || error.may_have_executed;
  }
  Error out = best != nullptr ? *best : Error{};
  out.may_have_executed = executed;
  return error_answer(expectation_.request, expectation_.session, std::move(out));
}

bool ClientRules::feed(ByteView bytes, std::uint64_t now_seconds) {
  if (settled()) {
    return false;
  }
  const auto refuse = [this](const Error& error) {
    ++rejected_;
    last_rejection_ = error.message;
    return false;
  };
  const auto envelope = decode_answer_envelope(bytes);
  if (!envelope) {
    return refuse(envelope.error());
  }
  auto answer = authenticate(*envelope, now_seconds);
  if (!answer) {
    return refuse(answer.error());
  }
  if (answer->ok()) {
    if (const auto success = check_success(*answer); !success) {
      return refuse(success.error());
    }
    if (const auto* const part = std::get_if<PresignResult>(&answer->content)) {
      parts_.try_emplace(envelope->node, *part);
      return sum_up();
    }
    outcome_ = std::move(*answer);
    answered_by_ = envelope->node;
    return true;
  }
  const auto counted = [&] {
    if (expectation_.request.operation == Operation::kKeygen) {
      return std::ranges::count(expectation_.request.participants, envelope->node) > 0;
    }
    return !expectation_.participants ||
           std::ranges::count(*expectation_.participants, envelope->node) > 0;
  };
  if (!counted()) {
    return refuse(
        fail(ErrorCode::kBadRequest, "an error of a node that does not take part").error());
  }
  errors_.try_emplace(envelope->node, std::get<Error>(answer->content));
  if (expectation_.request.operation == Operation::kPresign) {
    return sum_up();
  }
  if (errors_.size() < errors_needed()) {
    return false;
  }
  outcome_ = representative_error();
  return true;
}

bool ClientRules::sum_up() {
  const auto answered = [this](const std::string& node) {
    return parts_.contains(node) || errors_.contains(node);
  };
  const bool all = expectation_.participants
                       ? std::ranges::all_of(*expectation_.participants, answered)
                       : std::ranges::all_of(expectation_.nodes, [&](const ipc::Peer& peer) {
                           return answered(peer.node);
                         });
  if (!all) {
    return false;
  }
  if (parts_.empty()) {
    outcome_ = representative_error();
    return true;
  }
  PresignResult sum = parts_.begin()->second;
  sum.made = 0;
  sum.ready = 0;
  for (const auto& [node, part] : parts_) {
    sum.made += part.made;
    sum.ready += part.ready;
  }
  answered_by_ = joined(std::views::keys(parts_));
  const Request& request = expectation_.request;
  outcome_ = RequestAnswer{.session = expectation_.session,
                           .operation = std::string(operation_name(request.operation)),
                           .user = request.user,
                           .key = request.key,
                           .content = std::move(sum)};
  return true;
}

Error ClientRules::deadline_error() const {
  std::string message = "no verified answer before the deadline";
  if (errors_.empty()) {
    message += "; no node answered";
  }
  for (const auto& [node, error] : errors_) {
    message +=
        "; " + node + ": " + std::string(error_name(error.code)) + " (" + error.message + ")";
  }
  if (rejected_ > 0) {
    message +=
        "; " + std::to_string(rejected_) + " answers did not verify (" + last_rejection_ + ")";
  }
  Error out = fail(ErrorCode::kPeerTimeout, std::move(message)).error();
  out.may_have_executed = true;
  out.retryable = true;
  return out;
}

}  // namespace cosigner
