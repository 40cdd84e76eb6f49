// The checks of a request, cheapest first (ipc/request.h).

#include <algorithm>

#include "ipc/names.h"
#include "ipc/request.h"

namespace cosigner {
namespace {

bool covered(const std::vector<std::string>& patterns, std::string_view value) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return policy_matches(pattern, value); });
}

}  // namespace

InitiatorTable::InitiatorTable(std::vector<ipc::Initiator> initiators) {
  for (ipc::Initiator& initiator : initiators) {
    const Ed25519PublicKey key = initiator.key;
    by_key_.insert_or_assign(key, std::move(initiator));
  }
}

const ipc::Initiator* InitiatorTable::find(const Ed25519PublicKey& key) const {
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? nullptr : &found->second;
}

Expected<ParsedRequest> parse_request(ByteView envelope, std::size_t max_bytes) {
  auto outer = view_envelope(envelope, max_bytes);
  if (!outer) {
    return std::unexpected(outer.error());
  }
  auto request = decode_request(outer->request);
  if (!request) {
    return std::unexpected(request.error());
  }
  ParsedRequest out;
  out.session = session_id(outer->request);
  out.request = std::move(*request);
  out.signatures = std::move(outer->signatures);
  return out;
}

SessionId session_of_refused(ByteView envelope) {
  const auto outer = view_envelope(envelope, SIZE_MAX);
  return session_id(outer ? outer->request : envelope);
}

Expected<const ipc::Initiator*> authorise(const ParsedRequest& parsed, std::string_view cluster,
                                          const InitiatorTable& initiators) {
  const Request& request = parsed.request;
  if (request.cluster != cluster) {
    return fail(ErrorCode::kBadRequest, "request: it is for another cluster");
  }
  if (parsed.signatures.empty() || parsed.signatures.front().key != request.initiator) {
    return fail(ErrorCode::kUnauthorized, "the first signature must be the initiator's");
  }
  // Signers are looked up before any signature is verified: an unknown one costs a hash lookup.
  for (std::size_t i = 0; i < parsed.signatures.size(); ++i) {
    const Ed25519PublicKey& key = parsed.signatures[i].key;
    if (initiators.find(key) == nullptr) {
      return fail(ErrorCode::kUnauthorized, "this node does not trust the signing key " +
                                                to_hex(key) +
                                                ": add it to its initiators, or sign with another");
    }
    for (std::size_t before = 0; before < i; ++before) {
      if (parsed.signatures[before].key == key) {
        return fail(ErrorCode::kBadRequest, "envelope: two signatures of one key");
      }
    }
  }
  for (const RequestSignature& signature : parsed.signatures) {
    if (!ed25519_verify(signature.key, parsed.session, signature.signature)) {
      return fail(ErrorCode::kUnauthorized, "a signature does not verify over this request");
    }
  }
  const ipc::Initiator* const initiator = initiators.find(request.initiator);
  if (!covered(initiator->operations, operation_name(request.operation))) {
    return fail(ErrorCode::kDenied, "the initiator '" + initiator->name + "' may not ask for '" +
                                        std::string(operation_name(request.operation)) + "'");
  }
  if (!covered(initiator->users, request.user)) {
    return fail(ErrorCode::kDenied,
                "the initiator '" + initiator->name + "' may not act for this user");
  }
  return initiator;
}

Expected<void> check_issued(const Request& request, std::uint64_t now_ms) {
  if (request.issued_at_ms > now_ms && request.issued_at_ms - now_ms > kMaxClockSkewMs) {
    return fail(ErrorCode::kBadRequest,
                "request: 'issued_at' is more than 60 s in the future: compare the clocks");
  }
  return {};
}

Expected<void> check_expiry(const Request& request, std::uint64_t now_ms) {
  if (now_ms >= request.expires_at_ms) {
    return fail(ErrorCode::kExpired,
                "the request expired before it could be started: issue a new one");
  }
  return {};
}

Expected<CheckedRequest> check_request(ByteView envelope, std::string_view cluster,
                                       std::uint64_t now_ms, const InitiatorTable& initiators,
                                       std::size_t max_bytes) {
  auto parsed = parse_request(envelope, max_bytes);
  if (!parsed) {
    return std::unexpected(parsed.error());
  }
  const auto initiator = authorise(*parsed, cluster, initiators);
  if (!initiator) {
    return std::unexpected(initiator.error());
  }
  if (const auto issued = check_issued(parsed->request, now_ms); !issued) {
    return std::unexpected(issued.error());
  }
  return CheckedRequest{std::move(parsed->request), parsed->session, *initiator};
}

}  // namespace cosigner
