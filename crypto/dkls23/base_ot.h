#pragma once
// λ_c random oblivious transfers between two parties: endemic OT (Masny and Rindal, ePrint
// 2019/706, figure 8) with a true hash to curve. The chooser gets one key of each pair, of its
// choice; the sender gets both and does not learn which.
//
//   chooser (later VOLE sender)                     sender (later VOLE receiver)
//   N = t·G − Hash(c, j, O), O random;
//   (N, O) in slots (c, 1−c)            ──msg1──▶   M_a = slot_a + Hash(a, j, slot_{1−a})
//                                       ◀──msg2──   B_a = t_a·G for a = 0, 1
//   key_c = KDF(…, t·B_c)                           key_a = KDF(…, t_a·M_a)
//
// Keys are bound to the session id and to both messages. Both B's are parsed before any verdict:
// refusing only the one that is needed would tell the choice.

#include <array>
#include <expected>
#include <vector>

#include "crypto/base/random.h"
#include "crypto/dkls23/parameters.h"
#include "crypto/secp256k1/scalar.h"

namespace cosigner::dkls23 {

using OtKey = SecretBytes<kSeedBytes>;

inline constexpr std::size_t kBaseOtMessageBytes = kLambda * 2 * 33;  ///< both messages: 8,448

class BaseOtChooser {
 public:
  /// Draws the choices and computes message 1. About 6.5 ms.
  BaseOtChooser(const Digest& sid, Random& random);

  [[nodiscard]] const ByteVector& message() const { return message_; }
  /// Bit j is the choice in OT j.
  [[nodiscard]] ByteView choices() const { return choices_.expose(); }
  /// The chosen keys, from the sender's message 2. About 7 ms.
  [[nodiscard]] std::expected<std::vector<OtKey>, Refusal> finish(ByteView reply) const;

 private:
  Digest sid_;
  SecretBytes<kLambda / 8> choices_;
  std::vector<secp256k1::SecretScalar> exponents_;
  ByteVector message_;
};

struct BaseOtSent {
  ByteVector reply;
  std::vector<std::array<OtKey, 2>> keys;
};
/// Message 2 and both keys of every OT, from the chooser's message 1. About 20 ms.
[[nodiscard]] std::expected<BaseOtSent, Refusal> base_ot_send(const Digest& sid, ByteView message,
                                                              Random& random);

}  // namespace cosigner::dkls23
