#pragma once
// The OT set-up of one pair: base OT and PPRF in both directions, and a common zero-share seed.
// Runs inside key generation and, alone, as the renewal of a pair.
//
//   first message   base OT message 1 of the direction in which we are the VOLE sender   8,448
//   bytes answer          base OT message 2 and PPRF of the other direction, seed share 14,624
//   bytes
//
// The answer carries half of the seed and travels encrypted.

#include "crypto/base/abort.h"
#include "crypto/base/random.h"
#include "crypto/dkls23/base_ot.h"
#include "crypto/dkls23/key_state.h"
#include "crypto/dkls23/pprf.h"

namespace cosigner::dkls23 {

inline constexpr std::size_t kSetupFirstBytes = kBaseOtMessageBytes;
inline constexpr std::size_t kSetupAnswerBytes = kBaseOtMessageBytes + kPprfMessageBytes + 32;

class PairSetup {
 public:
  /// `sid` is the surrounding session's, with fresh nonces of both; 7 ms.
  PairSetup(const Digest& sid, ParticipantIndex self, ParticipantIndex peer, Random& random);

  [[nodiscard]] const ByteVector& first_message() const { return chooser_.message(); }
  /// From the peer's first message. 21 ms. Recoverable on malformed input.
  [[nodiscard]] Result<SecretVector> answer(ByteView peer_first, Random& random);
  /// From the peer's answer; answer() must have succeeded. 7 ms. Recoverable on malformed input,
  /// burn when the PPRF does not check out.
  [[nodiscard]] Result<PairState> finish(ByteView peer_answer);

 private:
  Digest sid_;
  ParticipantIndex self_;
  ParticipantIndex peer_;
  BaseOtChooser chooser_;
  SecretBytes<32> seed_share_;
  ReceiverState receiver_;
};

}  // namespace cosigner::dkls23
