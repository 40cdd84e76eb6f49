#pragma once
// Checks, burns and renewals of the OT state that a key has with each peer (class C in
// crypto/base/abort.h).

#include <cstdint>
#include <string>

#include "crypto/base/bytes.h"
#include "ipc/message_types.h"

namespace cosigner::ipc {

/// The worker is about to check `peer`'s OT or VOLE messages against secrets of this epoch. Written
/// to the socket before the check begins; not answered. If the worker dies before the matching
/// Checked, the peer may have caused it: a strike, the third bans.
struct Checking {
  std::string key;
  std::uint64_t epoch = 0;
  std::string peer;
  COSIGNER_MESSAGE(kChecking, key, epoch, peer)
};
/// The check is over and did not fail. (A failed one ends in a Burn.)
struct Checked {
  std::string key;
  std::uint64_t epoch = 0;
  std::string peer;
  COSIGNER_MESSAGE(kChecked, key, epoch, peer)
};
/// A check failed: ban the pair, and put the share without its OT state in the place of the stored
/// one, in one transaction. The worker lets nothing out that a peer or client could see before the
/// Stored that answers this.
struct Burn {
  std::uint64_t order = 0;
  std::string key;
  std::uint64_t epoch = 0;
  std::string peer;
  bool failed = true;  ///< false: the pair is banned already (for strikes); only erase
  ByteVector sealed_share;
  COSIGNER_MESSAGE(kBurn, order, key, epoch, peer, failed, sealed_share)
};
/// Make the share with the pair's new OT state durable. A ban stays until LiftBan; without an
/// operator's order a banned pair's state is not taken.
struct StoreRenewed {
  std::uint64_t order = 0;
  std::string key;
  std::uint64_t epoch = 0;
  std::string peer;
  ByteVector sealed_share;
  COSIGNER_MESSAGE(kStoreRenewed, order, key, epoch, peer, sealed_share)
};
/// Both nodes hold the new state durably: the ban and the order to renew are over.
struct LiftBan {
  std::uint64_t order = 0;
  std::string key;
  std::uint64_t epoch = 0;
  std::string peer;
  COSIGNER_MESSAGE(kLiftBan, order, key, epoch, peer)
};
/// To the worker: an operator has ordered the renewal of this pair's OT state.
struct RenewPair {
  std::string key;
  std::uint64_t epoch = 0;
  std::string peer;
  COSIGNER_MESSAGE(kRenewPair, key, epoch, peer)
};

}  // namespace cosigner::ipc
