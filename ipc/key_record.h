#pragma once
// The public, certified description of one epoch of one key, as bytes that every participant
// acknowledges, and the certificate that those acknowledgements make.

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "crypto/identity/share_seal.h"
#include "crypto/identity/statement.h"
#include "crypto/scheme/scheme.h"
#include "ipc/error.h"
#include "ipc/message_parts.h"

namespace cosigner {

inline constexpr std::uint64_t kKeyRecordVersion = 1;

struct KeyRecord {
  std::string cluster;
  std::string user;
  std::string key;
  Scheme scheme = Scheme::kEd25519;
  std::uint64_t epoch = 0;  ///< keygen makes epoch 1
  std::uint16_t threshold = 0;
  std::vector<std::pair<ParticipantIndex, std::string>> participants;  ///< (index, node), sorted
  ByteVector public_key;
  std::vector<ByteVector> public_shares;  ///< in the order of `participants`
  Digest chain_code;
  Digest transcript;
  SessionId session;  ///< the session that made this epoch

  friend bool operator==(const KeyRecord&, const KeyRecord&) = default;

  /// 0 if the node does not take part.
  [[nodiscard]] ParticipantIndex index_of(std::string_view node) const;
  /// Empty for an index that does not take part.
  [[nodiscard]] std::string_view node_of(ParticipantIndex index) const;
};

/// Names, 2 ≤ t ≤ n ≤ 32, indices ascending from ≥ 1, unique nodes, lengths of points by scheme.
[[nodiscard]] Expected<void> validate_key_record(const KeyRecord& record);
/// Msgpack map in canonical field order: all participants must produce the same bytes.
[[nodiscard]] ByteVector encode_key_record(const KeyRecord& record);
/// Strict and canonical: decode_key_record(b) succeeds only if encode_key_record gives b again.
[[nodiscard]] Expected<KeyRecord> decode_key_record(ByteView bytes);

[[nodiscard]] PublicKeyRecord to_public_key_record(const KeyRecord& record);
/// Fills scheme, threshold, public key and shares, chain code and transcript; the caller sets the
/// rest. Requires record.participants to be set and to have the same indices (else bad_request).
[[nodiscard]] Expected<void> set_public_part(KeyRecord& record, const PublicKeyRecord& part);
/// Views into `record` and `record_bytes`, which must outlive it.
[[nodiscard]] ShareBinding share_binding(const KeyRecord& record, ByteView record_bytes);

/// One node's promise for a record, without what the record says already.
struct Acknowledgement {
  std::string node;
  std::uint64_t generation = 0;
  Ed25519Signature signature;

  friend bool operator==(const Acknowledgement&, const Acknowledgement&) = default;
};

/// The key-acknowledgement statement that `acknowledgement` stands for.
[[nodiscard]] Statement acknowledgement_statement(const KeyRecord& record, ByteView record_bytes,
                                                  const Acknowledgement& acknowledgement);
/// The short form of a key-acknowledgement statement.
[[nodiscard]] Acknowledgement to_acknowledgement(const Statement& statement);

/// A commit certificate: acknowledgements of all participants of one record.
[[nodiscard]] ByteVector encode_commit_certificate(std::span<const Acknowledgement> all);
/// Strict; does not verify.
[[nodiscard]] Expected<std::vector<Acknowledgement>> decode_commit_certificate(ByteView bytes);
/// Every participant of the record, each once, in any order, each signature valid under that node's
/// identity among `peers`. Errors: bad_request; peer_misbehaved with the node for a bad signature.
[[nodiscard]] Expected<void> verify_acknowledgements(const KeyRecord& record, ByteView record_bytes,
                                                     std::span<const Acknowledgement> all,
                                                     std::span<const ipc::Peer> peers);

}  // namespace cosigner
