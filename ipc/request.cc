#include "ipc/request.h"

#include <algorithm>

#include "crypto/base/hash.h"
#include "ipc/map_reader.h"
#include "ipc/names.h"
#include "ipc/pack.h"

namespace cosigner {
namespace {

// A request is a flat map with one list; nothing in it needs more.
constexpr ipc::TreeLimits kRequestLimits{
    .bytes = kMaxEnvelopeBytes, .depth = 2, .elements = std::size_t{2} * 16 + kMaxParticipants};
constexpr std::size_t kSignatureBytes = 32 + 64;
constexpr std::size_t kMaxPathText = 1 + bip32::kMaxDepth * 11;  // "/2147483647" is a step
constexpr std::string_view kPathRule =
    "'path' must be like m/44/60/0/0/5: at most 255 steps below 2147483648, none of them hardened";

std::unexpected<Error> bad_request(std::string reason) {
  return fail(ErrorCode::kBadRequest, "request: " + std::move(reason));
}

Expected<void> validate_keygen(const Request& request) {
  const auto& nodes = request.participants;
  if (nodes.size() < 2 || nodes.size() > kMaxParticipants) {
    return bad_request("'participants' must name 2 to " + std::to_string(kMaxParticipants) +
                       " nodes");
  }
  if (!std::all_of(nodes.begin(), nodes.end(), valid_node_name)) {
    return bad_request("'participants' holds what is no node name");
  }
  if (std::adjacent_find(nodes.begin(), nodes.end(), std::greater_equal<>()) != nodes.end()) {
    return bad_request("'participants' must be sorted, without repeats");
  }
  if (request.threshold < 2 || request.threshold > nodes.size()) {
    return bad_request("'threshold' must be from 2 to the number of participants");
  }
  return {};
}

Expected<void> validate_sign(const Request& request) {
  if (request.scheme == Scheme::kEcdsaSecp256k1 && request.message.size() != 32) {
    return bad_request("'message' must be the 32-byte digest to be signed for " +
                       std::string(scheme_name(request.scheme)));
  }
  if (request.message.size() > kMaxMessageBytes) {
    return bad_request("'message' has more than " + std::to_string(kMaxMessageBytes) + " bytes");
  }
  if (!request.path.empty() && request.scheme != Scheme::kEcdsaSecp256k1) {
    return bad_request("only " + std::string(scheme_name(Scheme::kEcdsaSecp256k1)) +
                       " keys are derived along a 'path'");
  }
  if (request.path.size() > bip32::kMaxDepth ||
      std::ranges::any_of(request.path, [](auto step) { return step >= bip32::kHardened; })) {
    return bad_request(std::string(kPathRule));
  }
  return {};
}

Expected<void> validate_presign(const Request& request) {
  if (request.scheme != Scheme::kEcdsaSecp256k1) {
    return bad_request("presignatures are of keys for " +
                       std::string(scheme_name(Scheme::kEcdsaSecp256k1)) + " only");
  }
  if (request.count < 1 || request.count > kMaxPresignCount) {
    return bad_request("'count' must be from 1 to " + std::to_string(kMaxPresignCount));
  }
  return {};
}

}  // namespace

std::string_view operation_name(Operation operation) {
  switch (operation) {
    case Operation::kKeygen:
      return "keygen";
    case Operation::kSign:
      return "sign";
    case Operation::kPresign:
      return "presign";
  }
  return "";
}

std::optional<Operation> operation_from_name(std::string_view name) {
  for (const auto operation : {Operation::kKeygen, Operation::kSign, Operation::kPresign}) {
    if (operation_name(operation) == name) {
      return operation;
    }
  }
  return std::nullopt;
}

Expected<void> validate_request(const Request& request) {
  if (!valid_cluster_name(request.cluster)) {
    return bad_request("'cluster' must be 1 to 32 of a-z, 0-9, '-'");
  }
  if (!valid_user_name(request.user)) {
    return bad_request("'user' must be 1 to 128 of A-Z, a-z, 0-9, '._:@-'");
  }
  if (!valid_key_name(request.key)) {
    return bad_request("'key' must be 1 to 64 of A-Z, a-z, 0-9, '._:@-'");
  }
  if (request.expires_at_ms <= request.issued_at_ms ||
      request.expires_at_ms - request.issued_at_ms > kMaxRequestLifetimeMs) {
    return bad_request("'expires_at' must be later than 'issued_at' by at most one hour");
  }
  if (!scheme_available(request.scheme)) {
    return bad_request("scheme " + std::string(scheme_name(request.scheme)) +
                       " is not available; there are " + available_scheme_names());
  }
  switch (request.operation) {
    case Operation::kKeygen:
      return validate_keygen(request);
    case Operation::kSign:
      return validate_sign(request);
    case Operation::kPresign:
      return validate_presign(request);
  }
  return bad_request("'op' is none that this node knows");
}

ByteVector encode_request(const Request& request) {
  ipc::MapPacker out;
  out.unsigned_integer("version", kRequestVersion)
      .text("cluster", request.cluster)
      .bytes("initiator", request.initiator)
      .text("op", operation_name(request.operation))
      .text("user", request.user)
      .text("key", request.key)
      .text("scheme", scheme_name(request.scheme))
      .bytes("id", request.id)
      .unsigned_integer("issued_at", request.issued_at_ms)
      .unsigned_integer("expires_at", request.expires_at_ms);
  if (request.operation == Operation::kKeygen) {
    ipc::ArrayPacker participants;
    for (const std::string& node : request.participants) {
      participants.next().text(node);
    }
    out.unsigned_integer("threshold", request.threshold).raw("participants", participants.finish());
  } else if (request.operation == Operation::kSign) {
    out.bytes("message", request.message);
    if (!request.path.empty()) {
      out.text("path", bip32::path_text(request.path));
    }
  } else {
    out.unsigned_integer("count", request.count);
  }
  return out.finish();
}

Expected<Request> decode_request(ByteView bytes) {
  const auto tree = ipc::Tree::parse(bytes, kRequestLimits);
  if (!tree) {
    return std::unexpected(tree.error());
  }
  ipc::MapReader in(tree->root(), "request");
  if (in.unsigned_integer("version") != kRequestVersion && !in.failed()) {
    return fail(ErrorCode::kUnsupportedVersion,
                "request: this node knows version " + std::to_string(kRequestVersion) + " only");
  }
  Request out;
  out.cluster = in.text("cluster", kMaxNodeName);
  out.initiator = in.fixed<Ed25519PublicKey>("initiator");
  const std::string operation = in.text("op", 32);
  out.user = in.text("user", kMaxUserName);
  out.key = in.text("key", kMaxKeyName);
  const std::string scheme = in.text("scheme", 32);
  out.id = in.fixed<RequestId>("id");
  out.issued_at_ms = in.unsigned_integer("issued_at");
  out.expires_at_ms = in.unsigned_integer("expires_at");
  const auto known_operation = operation_from_name(operation);
  const auto known_scheme = scheme_from_name(scheme);
  if (!known_operation) {
    in.fail("'op' is none that this node knows");
  } else if (!known_scheme) {
    in.fail("'scheme' is none that this node knows");
  } else {
    out.operation = *known_operation;
    out.scheme = *known_scheme;
    if (out.operation == Operation::kKeygen) {
      out.threshold = static_cast<std::uint16_t>(in.unsigned_integer("threshold", 0, UINT16_MAX));
      out.participants = in.texts("participants", kMaxParticipants, kMaxNodeName);
    } else if (out.operation == Operation::kSign) {
      out.message = to_vector(in.bytes("message", kMaxMessageBytes));
      if (in.has("path")) {
        auto path = bip32::parse_path(in.text("path", kMaxPathText));
        if (!path) {
          in.fail(kPathRule);
        }
        out.path = std::move(path).value_or(bip32::Path());
      }
    } else {
      out.count = static_cast<std::uint32_t>(in.unsigned_integer("count", 0, UINT32_MAX));
    }
  }
  if (const auto finished = in.finish(); !finished) {
    return std::unexpected(finished.error());
  }
  if (const auto valid = validate_request(out); !valid) {
    return std::unexpected(valid.error());
  }
  return out;
}

SessionId session_id(ByteView request_bytes) {
  const Digest digest = TaggedHash(tag::kRequest).part(request_bytes).finish();
  return SessionId::from(digest).value_or(SessionId{});
}

ByteVector encode_envelope(const Envelope& envelope) {
  ipc::ArrayPacker signatures;
  for (const RequestSignature& signature : envelope.signatures) {
    ByteVector joined = to_vector(signature.key);
    joined.insert(joined.end(), signature.signature.data.begin(), signature.signature.data.end());
    signatures.next().bytes(joined);
  }
  return ipc::MapPacker()
      .bytes("request", envelope.request)
      .raw("signatures", signatures.finish())
      .finish();
}

Expected<EnvelopeView> view_envelope(ByteView bytes, std::size_t max_bytes) {
  if (bytes.size() > max_bytes) {
    return fail(ErrorCode::kBadRequest,
                "envelope: more than " + std::to_string(max_bytes) + " bytes");
  }
  const auto tree =
      ipc::Tree::parse(bytes, {.bytes = max_bytes, .depth = 2, .elements = 4 + kMaxSignatures});
  if (!tree) {
    return std::unexpected(tree.error());
  }
  ipc::MapReader in(tree->root(), "envelope");
  EnvelopeView out;
  out.request = in.bytes("request");
  for (const ipc::Node& node : in.array("signatures", kMaxSignatures)) {
    const auto joined = node.bytes(kSignatureBytes);
    if (!joined || joined->size() != kSignatureBytes) {
      in.fail("'signatures' must hold 96-byte values: public key, then signature");
      break;
    }
    out.signatures.push_back(
        {Ed25519PublicKey::from(joined->first(32)).value_or(Ed25519PublicKey{}),
         Ed25519Signature::from(joined->subspan(32)).value_or(Ed25519Signature{})});
  }
  if (const auto finished = in.finish(); !finished) {
    return std::unexpected(finished.error());
  }
  return out;
}

Expected<SignedRequest> sign_request(const Request& request, const IdentityKey& key) {
  if (const auto valid = validate_request(request); !valid) {
    return std::unexpected(valid.error());
  }
  if (request.initiator != key.public_key()) {
    return bad_request("'initiator' is not the public half of the signing key");
  }
  Envelope envelope;
  envelope.request = encode_request(request);
  SignedRequest out;
  out.session = session_id(envelope.request);
  envelope.signatures.push_back({key.public_key(), key.sign(out.session)});
  out.envelope = encode_envelope(envelope);
  return out;
}

}  // namespace cosigner
