#include "worker/session/key_check.h"

#include <algorithm>
#include <vector>

#include "crypto/dkls23/key_state.h"
#include "crypto/ed25519/group.h"
#include "crypto/identity/share_seal.h"
#include "crypto/protocol/key_share.h"
#include "crypto/secp256k1/group.h"
#include "ipc/key_record.h"
#include "worker/session/key_ring.h"

namespace cosigner::worker {
namespace {

using ipc::KeyFault;

KeyFault find_certificate_fault(const KeyEpoch& epoch, const KeyHolder& holder) {
  if (epoch.stored.state == ipc::KeyState::kPending) {
    return epoch.stored.certificate.empty() ? KeyFault::kNone : KeyFault::kCertificate;
  }
  for (const auto& [index, node] : epoch.record.participants) {
    if (std::ranges::find(holder.peers, node, &ipc::Peer::node) == holder.peers.end()) {
      return KeyFault::kPeers;
    }
  }
  const auto all = decode_commit_certificate(epoch.stored.certificate);
  return all && verify_acknowledgements(epoch.record, epoch.stored.record, *all, holder.peers)
             ? KeyFault::kNone
             : KeyFault::kCertificate;
}

/// The secret is index `self`'s, and its share times G is the public share.
template <ThresholdGroup Group>
bool fits_public_share(ByteView secret, ParticipantIndex self, const ByteVector& public_share) {
  const auto share = KeyShare<Group>::decode(secret);
  const auto expected = Group::decode_point(public_share);
  if (!share || share->index != self || !expected) {
    return false;
  }
  const auto product = Group::multiply_base(share->share);
  return product && *product == *expected;
}

KeyFault find_ecdsa_secret_fault(ByteView secret, const KeyRecord& record, ParticipantIndex self,
                                 const ByteVector& public_share) {
  if (!fits_public_share<Secp256k1Group>(secret, self, public_share)) {
    return KeyFault::kShare;
  }
  std::vector<ParticipantIndex> others;
  for (const auto& [index, node] : record.participants) {
    if (index != self) {
      others.push_back(index);
    }
  }
  const auto share = KeyShare<Secp256k1Group>::decode(secret);
  const auto states = dkls23::decode_states(as_view(share->state), others);
  // State towards somebody who is no participant would be another key's.
  return states && states->size() == dkls23::pair_ids(secret).size() ? KeyFault::kNone
                                                                     : KeyFault::kOtState;
}

}  // namespace

[[gnu::noinline]] KeyFault find_key_fault(const ipc::StoredKey& stored, const KeyHolder& holder) {
  const auto epoch = KeyEpoch::from(stored, holder.cluster, holder.user);
  if (!epoch) {
    return KeyFault::kRecord;
  }
  const KeyRecord& record = epoch->record;
  const auto self = std::ranges::find(record.participants, holder.node,
                                      &std::pair<ParticipantIndex, std::string>::second);
  if (self == record.participants.end()) {
    return KeyFault::kRecord;
  }
  if (const KeyFault fault = find_certificate_fault(*epoch, holder); fault != KeyFault::kNone) {
    return fault;
  }
  const Checked<SecretVector> secret =
      open_share(holder.sealing_key, share_binding(record, stored.record), stored.sealed_share);
  if (!secret) {
    return KeyFault::kSeal;
  }
  const auto slot = static_cast<std::size_t>(self - record.participants.begin());
  const ByteVector& public_share = record.public_shares[slot];
  switch (record.scheme) {
    case Scheme::kEd25519:
      return fits_public_share<ed25519::Group>(as_view(*secret), self->first, public_share)
                 ? KeyFault::kNone
                 : KeyFault::kShare;
    case Scheme::kEcdsaSecp256k1:
      return find_ecdsa_secret_fault(as_view(*secret), record, self->first, public_share);
    case Scheme::kBip340Secp256k1:
      break;
  }
  return KeyFault::kRecord;  // no key of this scheme is ever made
}

}  // namespace cosigner::worker
