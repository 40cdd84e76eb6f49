#include "worker/gateway/presence.h"

#include "crypto/base/hash.h"
#include "crypto/base/wire.h"
#include "crypto/identity/certificate.h"

namespace cosigner::worker {
namespace {

constexpr std::uint8_t kBeaconVersion = 1;
constexpr std::size_t kMaxGatewayCertificateBytes = 2048;

Digest beacon_digest(ByteView certificate, std::uint64_t count, std::uint8_t bye) {
  return TaggedHash(tag::kPresence).part(certificate).part_u64(count).part_u8(bye).finish();
}

}  // namespace

ByteVector encode_beacon(const Beacon& beacon, ByteView certificate,
                         const Ed25519SecretKey& gateway_key) {
  const std::uint8_t bye = beacon.bye ? 1 : 0;
  const Digest digest = beacon_digest(certificate, beacon.count, bye);
  return Writer()
      .u8(kBeaconVersion)
      .bytes(certificate)
      .u64(beacon.count)
      .u8(bye)
      .fixed(ed25519_sign(gateway_key, digest))
      .take();
}

PresenceTable::PresenceTable(std::string cluster, std::string self,
                             const std::vector<ipc::Peer>& peers, std::uint32_t timeout_ms)
    : cluster_(std::move(cluster)), self_(std::move(self)), timeout_ms_(timeout_ms) {
  for (const ipc::Peer& peer : peers) {
    if (peer.node != self_) {
      peers_[peer.node].identity = peer.identity;
    }
  }
}

std::vector<PresenceChange> PresenceTable::reconfigure(const std::vector<ipc::Peer>& peers,
                                                       std::uint32_t timeout_ms) {
  timeout_ms_ = timeout_ms;
  std::vector<PresenceChange> changes;
  auto before = std::exchange(peers_, {});
  for (const ipc::Peer& peer : peers) {
    if (peer.node == self_) {
      continue;
    }
    auto kept = before.extract(peer.node);
    if (kept && kept.mapped().identity == peer.identity) {
      peers_.insert(std::move(kept));
      continue;
    }
    if (kept && kept.mapped().present) {
      changes.push_back({peer.node, false});
    }
    peers_[peer.node].identity = peer.identity;
  }
  for (const auto& [node, entry] : before) {
    if (entry.present) {
      changes.push_back({node, false});
    }
  }
  return changes;
}

Expected<void> PresenceTable::learn_certificate(std::uint64_t wall_seconds, std::string_view node,
                                                Entry& entry, ByteView certificate) const {
  if (std::ranges::equal(certificate, entry.certificate) && wall_seconds <= entry.valid_until) {
    return {};
  }
  const ExpectedHolder holder{
      .cluster = cluster_, .node = node, .role = CertificateRole::kGateway, .user = {}};
  const auto opened = open_certificate(certificate, holder, entry.identity, wall_seconds);
  if (!opened) {
    return fail(ErrorCode::kUnauthorized, opened.error());
  }
  if (opened->generation < entry.generation) {
    return fail(ErrorCode::kReplayed, "a beacon of an earlier generation");
  }
  if (opened->generation > entry.generation) {
    entry.count = 0;
  }
  entry.generation = opened->generation;
  entry.key = opened->ed25519;
  entry.valid_until = opened->not_after + kCertificateSkewSeconds;
  entry.certificate = to_vector(certificate);
  return {};
}

Expected<std::optional<PresenceChange>> PresenceTable::on_beacon(std::int64_t now_ms,
                                                                 std::uint64_t wall_seconds,
                                                                 std::string_view node,
                                                                 ByteView payload) {
  if (node == self_) {
    return std::nullopt;
  }
  const auto found = peers_.find(node);
  if (found == peers_.end()) {
    return fail(ErrorCode::kUnauthorized, "a beacon of a node that is no peer");
  }
  Reader reader(payload);
  const std::uint8_t version = reader.u8();
  const ByteView certificate = reader.bytes(kMaxGatewayCertificateBytes);
  const std::uint64_t count = reader.u64();
  const std::uint8_t bye = reader.u8();
  const auto signature = reader.take<Ed25519Signature>();
  if (!reader.finished() || version != kBeaconVersion || bye > 1) {
    return fail(ErrorCode::kBadRequest, "a beacon that cannot be read");
  }
  Entry& entry = found->second;
  // On a copy: an unauthenticated beacon changes nothing.
  Entry next = entry;
  if (const auto learned = learn_certificate(wall_seconds, node, next, certificate); !learned) {
    return std::unexpected(learned.error());
  }
  if (count <= next.count) {
    return fail(ErrorCode::kReplayed, "a beacon that was heard before");
  }
  if (!ed25519_verify(next.key, beacon_digest(certificate, count, bye), signature)) {
    return fail(ErrorCode::kUnauthorized, "a beacon whose signature does not verify");
  }
  next.count = count;
  next.last_ms = now_ms;
  next.present = bye == 0;
  const bool changed = next.present != entry.present;
  entry = std::move(next);
  if (!changed) {
    return std::nullopt;
  }
  return PresenceChange{found->first, entry.present};
}

std::vector<PresenceChange> PresenceTable::on_timer(std::int64_t now_ms) {
  std::vector<PresenceChange> changes;
  for (auto& [node, entry] : peers_) {
    if (entry.present && now_ms - entry.last_ms > timeout_ms_) {
      entry.present = false;
      changes.push_back({node, false});
    }
  }
  return changes;
}

std::vector<PresenceChange> PresenceTable::on_disconnected() {
  std::vector<PresenceChange> changes;
  for (auto& [node, entry] : peers_) {
    if (entry.present) {
      entry.present = false;
      changes.push_back({node, false});
    }
  }
  return changes;
}

bool PresenceTable::present(std::string_view node) const {
  const auto found = peers_.find(node);
  return node == self_ || (found != peers_.end() && found->second.present);
}

}  // namespace cosigner::worker
