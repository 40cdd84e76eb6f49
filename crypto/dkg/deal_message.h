#pragma once
// DKG round 2, the part for everyone: agreement on what round 1 brought, and the hashes of the
// ciphertexts that carry the shares (the receiver's own ciphertext is the message's direct part).
//
//   aggregate 32 ‖ echo 32 ‖ u16 n−1 ‖ n−1 hashes, in the order of the receivers' indices

#include <algorithm>
#include <span>
#include <vector>

#include "crypto/base/abort.h"
#include "crypto/base/wire.h"

namespace cosigner {

struct DkgDeal {
  Digest aggregate;                       ///< H(F), F = Σ F_i
  Digest echo;                            ///< of all openings as the sender saw them
  std::vector<Digest> ciphertext_hashes;  ///< one for each of the sender's peers, ascending

  /// The hash that `sender` lists for `receiver`, both of `participants` (sorted) and different.
  [[nodiscard]] const Digest& hash_for(ParticipantIndex receiver, ParticipantIndex sender,
                                       std::span<const ParticipantIndex> participants) const {
    const auto position = static_cast<std::size_t>(
        std::ranges::lower_bound(participants, receiver) - participants.begin());
    return ciphertext_hashes[receiver > sender ? position - 1 : position];
  }

  [[nodiscard]] ByteVector encode() const {
    Writer writer;
    writer.fixed(aggregate).fixed(echo).u16(static_cast<std::uint16_t>(ciphertext_hashes.size()));
    for (const Digest& hash : ciphertext_hashes) {
      writer.fixed(hash);
    }
    return writer.take();
  }
  [[nodiscard]] static Result<DkgDeal> decode(ByteView bytes, std::size_t peers,
                                              ParticipantIndex from) {
    Reader reader(bytes);
    DkgDeal out;
    out.aggregate = reader.take<Digest>();
    out.echo = reader.take<Digest>();
    for (std::size_t k = reader.count_u16(peers, peers); k > 0; --k) {
      out.ciphertext_hashes.push_back(reader.take<Digest>());
    }
    if (!reader.finished()) {
      return malformed(from, "a deal that does not parse");
    }
    return out;
  }
};

}  // namespace cosigner
