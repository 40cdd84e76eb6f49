#pragma once
// DKG round 1, the part for everyone: the opening of the hello's commitment, with a proof of
// knowledge for every coefficient.
//
//   echo 32 ‖ u16 t ‖ t points ‖ u16 t ‖ t proofs ‖ chain-code share 32 ‖ blinding 32

#include <vector>

#include "crypto/dkg/schnorr_proof.h"

namespace cosigner {

template <ThresholdGroup Group>
struct DkgOpening {
  Digest echo;                                ///< of round 0 as the sender saw it
  std::vector<typename Group::Point> vector;  ///< F_i[0 … t−1]
  std::vector<SchnorrProof<Group>> proofs;    ///< one for each of them
  Bytes<32> chain_code_share;                 ///< cc_i
  Bytes<32> blinding;                         ///< of the commitment, ρ_i

  [[nodiscard]] ByteVector encode() const {
    Writer writer;
    writer.fixed(echo).u16(static_cast<std::uint16_t>(vector.size()));
    for (const auto& point : vector) {
      writer.fixed(Group::encode(point));
    }
    writer.u16(static_cast<std::uint16_t>(proofs.size()));
    for (const auto& proof : proofs) {
      proof.write(writer);
    }
    return writer.fixed(chain_code_share).fixed(blinding).take();
  }

  /// Both counts must be exactly t: a longer vector would raise the threshold, a shorter list of
  /// proofs would leave coefficients unproven. Every point is validated here; the proofs'
  /// commitments when they are verified.
  [[nodiscard]] static Result<DkgOpening> decode(ByteView bytes, std::size_t threshold,
                                                 ParticipantIndex from) {
    Reader reader(bytes);
    DkgOpening out;
    out.echo = reader.take<Digest>();
    for (std::size_t k = reader.count_u16(threshold, threshold); k > 0; --k) {
      auto point = Group::decode_point(reader.fixed(Group::kPointSize));
      if (!point) {
        return malformed(from, "a coefficient commitment that is no valid point");
      }
      out.vector.push_back(std::move(*point));
    }
    for (std::size_t k = reader.count_u16(threshold, threshold); k > 0; --k) {
      out.proofs.push_back(SchnorrProof<Group>::read(reader));
    }
    out.chain_code_share = reader.take<Bytes<32>>();
    out.blinding = reader.take<Bytes<32>>();
    if (!reader.finished()) {
      return malformed(from, "an opening that does not parse or is not for this threshold");
    }
    return out;
  }
};

}  // namespace cosigner
