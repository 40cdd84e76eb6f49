#pragma once
// What clients ask, and every check that needs no state: one place for gateway, worker and client.
//
// Envelope (msgpack map): {request: bin, signatures: [bin96, …]}; each signature is public key(32)
// ‖ Ed25519 signature(64) over the session id; the first is the initiator's. Session id =
// H(kRequest; request bytes), signatures excluded.
//
// The checks come in steps, cheapest first, so that a gateway can put its rate limit before the
// signature and a worker can serve a stored success before it looks at the expiry:
//   parse_request (size, shape, static rules) → authorise (cluster, initiator, signatures, policy)
//   → check_issued (clock) → [stored success] → check_expiry
// check_request() runs the first three.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "crypto/base/bytes.h"
#include "crypto/bip32/derivation.h"
#include "crypto/identity/ed25519_key.h"
#include "crypto/scheme/scheme.h"
#include "ipc/error.h"
#include "ipc/message_parts.h"

namespace cosigner {

enum class Operation : std::uint8_t { kKeygen = 1, kSign = 2, kPresign = 3 };
/// "keygen", "sign", "presign".
[[nodiscard]] std::string_view operation_name(Operation operation);
[[nodiscard]] std::optional<Operation> operation_from_name(std::string_view name);

using RequestId = Bytes<16>;

inline constexpr std::uint64_t kRequestVersion = 1;
inline constexpr std::size_t kMaxEnvelopeBytes = 2U << 20;
inline constexpr std::size_t kMaxSignatures = 16;
inline constexpr std::uint32_t kMaxPresignCount = 4096;  ///< presignatures of one request
inline constexpr std::uint64_t kMaxRequestLifetimeMs = 3'600'000;
/// issued_at may lie this far in the future.
inline constexpr std::uint64_t kMaxClockSkewMs = 60'000;

struct Request {
  std::string cluster;
  Ed25519PublicKey initiator;
  Operation operation = Operation::kSign;
  std::string user;
  std::string key;
  Scheme scheme = Scheme::kEd25519;
  RequestId id;                     ///< random; the same id with other bytes is `replayed`
  std::uint64_t issued_at_ms = 0;   ///< since 1970
  std::uint64_t expires_at_ms = 0;  ///< since 1970
  // keygen
  std::uint16_t threshold = 0;
  std::vector<std::string> participants;  ///< sorted, unique; index = position + 1
  // sign
  ByteVector message;
  bip32::Path path;  ///< ECDSA: sign for the key derived along it; empty: for the key itself
  // presign
  std::uint32_t count = 0;

  friend bool operator==(const Request&, const Request&) = default;
};

/// The rules that need neither clock nor configuration: names, threshold, order of participants,
/// length of the message for the scheme, lifetime. Errors: bad_request.
[[nodiscard]] Expected<void> validate_request(const Request& request);
/// Canonical field order, shortest forms. Other encoders may choose otherwise: the bytes are what
/// counts.
[[nodiscard]] ByteVector encode_request(const Request& request);
/// Strict: no unknown or repeated keys, nothing left over; then validate_request(). Errors:
/// bad_request; unsupported_version.
[[nodiscard]] Expected<Request> decode_request(ByteView bytes);

/// H(kRequest; request bytes).
[[nodiscard]] SessionId session_id(ByteView request_bytes);

struct RequestSignature {
  Ed25519PublicKey key;
  Ed25519Signature signature;
};
struct Envelope {
  ByteVector request;
  std::vector<RequestSignature> signatures;
};
[[nodiscard]] ByteVector encode_envelope(const Envelope& envelope);

/// An envelope read where it lies: `request` points into what was read. At 2 MiB a copy is 512 page
/// faults, as dear as the hash (1.5 ms against 1.2 ms), and nothing that a node does needs one.
struct EnvelopeView {
  ByteView request;
  std::vector<RequestSignature> signatures;
};
[[nodiscard]] Expected<EnvelopeView> view_envelope(ByteView bytes, std::size_t max_bytes);

/// For clients: encodes, signs, wraps. `request.initiator` must be the key's public half.
struct SignedRequest {
  ByteVector envelope;
  SessionId session;
};
[[nodiscard]] Expected<SignedRequest> sign_request(const Request& request, const IdentityKey& key);

/// Trusted initiators by key.
class InitiatorTable {
 public:
  InitiatorTable() = default;
  explicit InitiatorTable(std::vector<ipc::Initiator> initiators);
  [[nodiscard]] const ipc::Initiator* find(const Ed25519PublicKey& key) const;

 private:
  std::unordered_map<Ed25519PublicKey, ipc::Initiator, BytesHash> by_key_;
};

/// An envelope of the right shape; nothing is authenticated yet.
struct ParsedRequest {
  Request request;
  SessionId session;
  std::vector<RequestSignature> signatures;
};
[[nodiscard]] Expected<ParsedRequest> parse_request(ByteView envelope,
                                                    std::size_t max_bytes = kMaxEnvelopeBytes);

/// The session to name in the refusal of an envelope that parse_request() refused: that of its
/// request bytes if the envelope itself is readable, else session_id(payload).
[[nodiscard]] SessionId session_of_refused(ByteView envelope);

/// Cluster (bad_request), initiator known and every signature valid (unauthorized), operation and
/// user allowed (denied). Returns the initiator, which the table keeps.
[[nodiscard]] Expected<const ipc::Initiator*> authorise(const ParsedRequest& parsed,
                                                        std::string_view cluster,
                                                        const InitiatorTable& initiators);
/// issued_at more than 60 s ahead of `now_ms` ⇒ bad_request.
[[nodiscard]] Expected<void> check_issued(const Request& request, std::uint64_t now_ms);
/// expires_at reached ⇒ expired.
[[nodiscard]] Expected<void> check_expiry(const Request& request, std::uint64_t now_ms);

struct CheckedRequest {
  Request request;
  SessionId session;
  const ipc::Initiator* initiator = nullptr;  ///< in the table that was handed in
};
/// parse_request, authorise, check_issued; the expiry is the caller's last step.
[[nodiscard]] Expected<CheckedRequest> check_request(ByteView envelope, std::string_view cluster,
                                                     std::uint64_t now_ms,
                                                     const InitiatorTable& initiators,
                                                     std::size_t max_bytes = kMaxEnvelopeBytes);

}  // namespace cosigner
