#pragma once
// The secrets of an ECDSA key's holder, as patterns for a search of memory.

#include <algorithm>
#include <string>
#include <vector>

#include "crypto/dkls23/key_state.h"
#include "crypto/protocol/key_share.h"
#include "crypto/secp256k1/group.h"
#include "tests/support/memory_scan.h"

namespace cosigner::test {

/// Share, and for each peer Δ, a leaf of either side, and the zero-share seed: `key_secret` is
/// KeyOutcome::secret. The names are "share", "delta", "leaf" and "seed".
inline void add_key_secrets(MemoryScan& scan, ByteView key_secret,
                            const std::vector<ParticipantIndex>& peers) {
  const auto share = KeyShare<Secp256k1Group>::decode(key_secret).value();
  scan.add_scalar("share", share.share.encode().expose());
  const auto states = dkls23::decode_states(as_view(share.state), peers).value();
  for (const auto& [peer, state] : states) {
    scan.add("delta", state.sender.delta.expose());
    // Of the first group one leaf is missing (zeros): the first that is not.
    for (std::size_t at = 0; at < 64; at += 16) {
      const ByteView leaf = state.sender.leaves.expose().subspan(at, 16);
      if (std::ranges::any_of(leaf, [](std::uint8_t byte) { return byte != 0; })) {
        scan.add("leaf", leaf);
        break;
      }
    }
    scan.add("leaf", state.receiver.leaves.expose().first(16));
    scan.add("seed", state.zero_seed.expose());
  }
}

/// How many of the last search's findings lie outside the open key secrets: each of those begins
/// three bytes before its share (version, index) and has `size` bytes.
inline std::size_t strays(const MemoryScan& scan, std::size_t size) {
  std::vector<std::uintptr_t> shares;
  for (const MemoryScan::Finding& finding : scan.findings()) {
    if (finding.name == "share") {
      shares.push_back(finding.address);
    }
  }
  return static_cast<std::size_t>(
      std::ranges::count_if(scan.findings(), [&](const MemoryScan::Finding& finding) {
        return std::ranges::none_of(shares, [&](std::uintptr_t share) {
          return finding.address >= share - 3 && finding.address < share - 3 + size;
        });
      }));
}

}  // namespace cosigner::test
