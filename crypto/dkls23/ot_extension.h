#pragma once
// ξ oblivious transfers from the stored all-but-one OTs, in one message from the receiver to the
// sender (SoftSpoken, ePrint 2022/192). Afterwards the receiver holds a bit β_j and a column v_j
// for each j, the sender a column w_j = v_j ⊕ β_j·Δ, and hashing the columns gives the OT's
// strings.
//
// The receiver proves its message consistent with two field elements' worth of data per row
// (x̂ and t_i). Letting that check pass without acting on a failure is what made an earlier scheme
// leak its keys: a failure here must burn the pair.

#include <expected>

#include "crypto/base/random.h"
#include "crypto/dkls23/parameters.h"
#include "crypto/dkls23/session_hash.h"
#include "crypto/secp256k1/limbs.h"

namespace cosigner::dkls23 {

/// u (one row per group) ‖ x̂ ‖ t (one element per row): 6,416 bytes.
inline constexpr std::size_t kOtMessageBytes = kGroups * kRowBytes + 16 + kLambda * 16;

using Columns = SecretBytes<kOtCount * kColumnBytes>;  ///< column j at 16·j

struct OtReceived {
  ByteVector message;
  SecretBytes<kBetaBytes> beta;  ///< ξ uniformly random bits
  Columns columns;               ///< v_j
};
/// `sid` is the session id of this pair and direction.
[[nodiscard]] OtReceived ot_extension_receive(const Digest& sid, const ReceiverState& state,
                                              Random& random);

struct OtSent {
  Columns columns;  ///< w_j; the other string of OT j belongs to w_j ⊕ Δ
};
[[nodiscard]] std::expected<OtSent, Refusal> ot_extension_send(const Digest& sid,
                                                               const SenderState& state,
                                                               ByteView message);

/// The strings of the OTs: Hq(tag; sid, j, c, column) for c = 0 … 2. The hash holds j, so that
/// equal columns give different strings (correlation robustness).
class OtOutput {
 public:
  explicit OtOutput(const Digest& sid);
  /// `out` is kWidth scalars.
  void scalars(std::size_t j, const std::uint8_t* column, secp256k1::Limbs* out);

 private:
  SessionHash hash_;
  HashBlock block_;
  std::size_t j_ = 0;
  std::size_t c_ = 0;
  std::size_t column_ = 0;
};

}  // namespace cosigner::dkls23
