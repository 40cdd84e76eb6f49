#include "ipc/key_record.h"

#include <algorithm>
#include <set>

#include "ipc/map_reader.h"
#include "ipc/names.h"
#include "ipc/pack.h"

namespace cosigner {
namespace {

constexpr ipc::TreeLimits kRecordLimits{
    .bytes = 64U << 10, .depth = 3, .elements = 32 + 4 * kMaxParticipants};

std::unexpected<Error> bad(std::string reason) {
  return fail(ErrorCode::kBadRequest, "key record: " + std::move(reason));
}

std::size_t point_size(Scheme scheme) {
  return scheme == Scheme::kEd25519 ? 32 : 33;
}

Expected<void> validate_participants(const KeyRecord& record) {
  const auto& all = record.participants;
  if (all.size() < 2 || all.size() > kMaxParticipants) {
    return bad("2 to " + std::to_string(kMaxParticipants) + " participants");
  }
  std::set<std::string_view> nodes;
  ParticipantIndex last = 0;
  for (const auto& [index, node] : all) {
    if (index <= last) {
      return bad("participants' indices must ascend from 1");
    }
    last = index;
    if (!valid_node_name(node) || !nodes.insert(node).second) {
      return bad("participants must be different valid nodes");
    }
  }
  if (record.threshold < 2 || record.threshold > all.size()) {
    return bad("the threshold must be from 2 to the number of participants");
  }
  return {};
}

// {node, generation, signature}: in commit certificates and in answers.
ByteVector encode_acknowledgement(const Acknowledgement& acknowledgement) {
  return ipc::MapPacker()
      .text("node", acknowledgement.node)
      .unsigned_integer("generation", acknowledgement.generation)
      .bytes("signature", acknowledgement.signature)
      .finish();
}

Expected<Acknowledgement> decode_acknowledgement(const ipc::Node& node) {
  ipc::MapReader in(node, "acknowledgement");
  Acknowledgement out;
  out.node = in.text("node", kMaxNodeName);
  out.generation = in.unsigned_integer("generation");
  out.signature = in.fixed<Ed25519Signature>("signature");
  if (!in.failed() && !valid_node_name(out.node)) {
    in.fail("'node' is no node name");
  }
  if (const auto finished = in.finish(); !finished) {
    return std::unexpected(finished.error());
  }
  return out;
}

}  // namespace

ParticipantIndex KeyRecord::index_of(std::string_view node) const {
  for (const auto& [index, name] : participants) {
    if (name == node) {
      return index;
    }
  }
  return 0;
}

std::string_view KeyRecord::node_of(ParticipantIndex index) const {
  for (const auto& [number, name] : participants) {
    if (number == index) {
      return name;
    }
  }
  return {};
}

Expected<void> validate_key_record(const KeyRecord& record) {
  if (!valid_cluster_name(record.cluster) || !valid_user_name(record.user) ||
      !valid_key_name(record.key)) {
    return bad("'cluster', 'user' or 'key' is no valid name");
  }
  if (record.epoch == 0) {
    return bad("epochs begin with 1");
  }
  if (const auto valid = validate_participants(record); !valid) {
    return valid;
  }
  const std::size_t size = point_size(record.scheme);
  if (record.public_key.size() != size) {
    return bad("'public_key' must have " + std::to_string(size) + " bytes");
  }
  if (record.public_shares.size() != record.participants.size() ||
      !std::all_of(record.public_shares.begin(), record.public_shares.end(),
                   [&](const ByteVector& share) { return share.size() == size; })) {
    return bad("'public_shares' must hold " + std::to_string(size) + " bytes for each participant");
  }
  return {};
}

ByteVector encode_key_record(const KeyRecord& record) {
  ipc::ArrayPacker participants;
  for (const auto& [index, node] : record.participants) {
    participants.next().array(2).unsigned_integer(index).text(node);
  }
  ipc::ArrayPacker shares;
  for (const ByteVector& share : record.public_shares) {
    shares.next().bytes(share);
  }
  return ipc::MapPacker()
      .unsigned_integer("version", kKeyRecordVersion)
      .text("cluster", record.cluster)
      .text("user", record.user)
      .text("key", record.key)
      .text("scheme", scheme_name(record.scheme))
      .unsigned_integer("epoch", record.epoch)
      .unsigned_integer("threshold", record.threshold)
      .raw("participants", participants.finish())
      .bytes("public_key", record.public_key)
      .raw("public_shares", shares.finish())
      .bytes("chain_code", record.chain_code)
      .bytes("transcript", record.transcript)
      .bytes("session", record.session)
      .finish();
}

Expected<KeyRecord> decode_key_record(ByteView bytes) {
  const auto tree = ipc::Tree::parse(bytes, kRecordLimits);
  if (!tree) {
    return std::unexpected(tree.error());
  }
  ipc::MapReader in(tree->root(), "key record");
  if (in.unsigned_integer("version") != kKeyRecordVersion && !in.failed()) {
    return fail(ErrorCode::kUnsupportedVersion, "key record: of another version");
  }
  KeyRecord out;
  out.cluster = in.text("cluster", kMaxNodeName);
  out.user = in.text("user", kMaxUserName);
  out.key = in.text("key", kMaxKeyName);
  const auto scheme = scheme_from_name(in.text("scheme", 32));
  if (!scheme) {
    in.fail("'scheme' is not known");
  }
  out.scheme = scheme.value_or(Scheme::kEd25519);
  out.epoch = in.unsigned_integer("epoch");
  out.threshold = static_cast<std::uint16_t>(in.unsigned_integer("threshold", 0, UINT16_MAX));
  for (const ipc::Node& pair : in.array("participants", kMaxParticipants)) {
    const bool shaped = pair.kind() == ipc::NodeKind::kArray && pair.size() == 2;
    const auto index = shaped ? pair.at(0).unsigned_integer(1, UINT16_MAX) : std::nullopt;
    const auto node = shaped ? pair.at(1).text(kMaxNodeName) : std::nullopt;
    if (!index || !node) {
      in.fail("'participants' must hold [index, node]");
      break;
    }
    out.participants.emplace_back(static_cast<ParticipantIndex>(*index), std::string(*node));
  }
  out.public_key = to_vector(in.bytes("public_key", 33));
  for (const ipc::Node& share : in.array("public_shares", kMaxParticipants)) {
    const auto point = share.bytes(33);
    if (!point) {
      in.fail("'public_shares' must hold binary points");
      break;
    }
    out.public_shares.push_back(to_vector(*point));
  }
  out.chain_code = in.fixed<Digest>("chain_code");
  out.transcript = in.fixed<Digest>("transcript");
  out.session = in.fixed<SessionId>("session");
  if (const auto finished = in.finish(); !finished) {
    return std::unexpected(finished.error());
  }
  if (const auto valid = validate_key_record(out); !valid) {
    return std::unexpected(valid.error());
  }
  // Acknowledgements are over bytes: two encodings of one record must not exist.
  if (!std::ranges::equal(encode_key_record(out), bytes)) {
    return bad("not in its canonical form");
  }
  return out;
}

PublicKeyRecord to_public_key_record(const KeyRecord& record) {
  PublicKeyRecord out;
  out.scheme = record.scheme;
  out.threshold = record.threshold;
  out.public_key = record.public_key;
  for (std::size_t i = 0; i < record.participants.size() && i < record.public_shares.size(); ++i) {
    out.public_shares.emplace_back(record.participants[i].first, record.public_shares[i]);
  }
  out.chain_code = record.chain_code;
  out.transcript = record.transcript;
  return out;
}

Expected<void> set_public_part(KeyRecord& record, const PublicKeyRecord& part) {
  const bool same = std::equal(
      record.participants.begin(), record.participants.end(), part.public_shares.begin(),
      part.public_shares.end(),
      [](const auto& participant, const auto& share) { return participant.first == share.first; });
  if (!same) {
    return bad("the shares are of other participants");
  }
  record.scheme = part.scheme;
  record.threshold = part.threshold;
  record.public_key = part.public_key;
  record.public_shares.clear();
  for (const auto& [index, share] : part.public_shares) {
    record.public_shares.push_back(share);
  }
  record.chain_code = part.chain_code;
  record.transcript = part.transcript;
  return {};
}

ShareBinding share_binding(const KeyRecord& record, ByteView record_bytes) {
  return {.user = record.user,
          .key = record.key,
          .scheme = scheme_name(record.scheme),
          .epoch = record.epoch,
          .threshold = record.threshold,
          .participants = record.participants,
          .public_shares = record.public_shares,
          .record = record_bytes};
}

Statement acknowledgement_statement(const KeyRecord& record, ByteView record_bytes,
                                    const Acknowledgement& acknowledgement) {
  return {.kind = StatementKind::kKeyAcknowledgement,
          .cluster = record.cluster,
          .node = acknowledgement.node,
          .user = record.user,
          .generation = acknowledgement.generation,
          .key = record.key,
          .epoch = record.epoch,
          .session = record.session,
          .digest = acknowledgement_digest(record_bytes),
          .signature = acknowledgement.signature};
}

Acknowledgement to_acknowledgement(const Statement& statement) {
  return {statement.node, statement.generation, statement.signature};
}

ByteVector encode_commit_certificate(std::span<const Acknowledgement> all) {
  ipc::ArrayPacker out;
  for (const Acknowledgement& acknowledgement : all) {
    out.next().raw(encode_acknowledgement(acknowledgement));
  }
  return out.finish();
}

Expected<std::vector<Acknowledgement>> decode_commit_certificate(ByteView bytes) {
  const auto tree =
      ipc::Tree::parse(bytes, {.bytes = 16U << 10, .depth = 2, .elements = 7 * kMaxParticipants});
  if (!tree) {
    return std::unexpected(tree.error());
  }
  const ipc::Node root = tree->root();
  if (root.kind() != ipc::NodeKind::kArray || root.size() > kMaxParticipants) {
    return fail(ErrorCode::kBadRequest, "commit certificate: not a list of acknowledgements");
  }
  std::vector<Acknowledgement> out;
  for (std::size_t i = 0; i < root.size(); ++i) {
    auto acknowledgement = decode_acknowledgement(root.at(i));
    if (!acknowledgement) {
      return std::unexpected(acknowledgement.error());
    }
    out.push_back(std::move(*acknowledgement));
  }
  return out;
}

Expected<void> verify_acknowledgements(const KeyRecord& record, ByteView record_bytes,
                                       std::span<const Acknowledgement> all,
                                       std::span<const ipc::Peer> peers) {
  if (all.size() != record.participants.size()) {
    return fail(ErrorCode::kBadRequest, "commit certificate: not one of each participant");
  }
  std::set<std::string_view> seen;
  for (const Acknowledgement& acknowledgement : all) {
    if (record.index_of(acknowledgement.node) == 0 || !seen.insert(acknowledgement.node).second) {
      return fail(ErrorCode::kBadRequest, "commit certificate: not one of each participant");
    }
    const auto peer = std::find_if(peers.begin(), peers.end(), [&](const ipc::Peer& candidate) {
      return candidate.node == acknowledgement.node;
    });
    if (peer == peers.end()) {
      return fail(ErrorCode::kBadRequest,
                  "commit certificate: the node " + acknowledgement.node + " is not known here");
    }
    if (!verify_statement(acknowledgement_statement(record, record_bytes, acknowledgement),
                          peer->identity)) {
      Error error =
          fail(ErrorCode::kPeerMisbehaved, "commit certificate: an acknowledgement does not verify")
              .error();
      error.peer = acknowledgement.node;
      error.peer_reason = "its signature does not verify over this record";
      return std::unexpected(error);
    }
  }
  return {};
}

}  // namespace cosigner
