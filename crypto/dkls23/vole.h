#pragma once
// Random vector oblivious linear evaluation (DKLs23, protocol 5.2): the sender puts in two scalars
// a_0, a_1; the receiver gets a random b and d_0, d_1; the sender gets c_0, c_1 with
// c_i + d_i = a_i·b. One message each way, the first being the OT extension's.
//
// A sender that alters row j of its message consistently is caught exactly if β_j = 1. So each
// failed check may have cost a bit of β, which its λ_s spare bits absorb once; therefore a failed
// check must burn the pair.

#include <array>
#include <expected>
#include <span>

#include "crypto/base/random.h"
#include "crypto/dkls23/ot_extension.h"
#include "crypto/dkls23/parameters.h"
#include "crypto/secp256k1/scalar.h"

namespace cosigner::dkls23 {

using secp256k1::Limbs;
using secp256k1::Scalar;
using secp256k1::SecretLimbs;
using secp256k1::SecretScalar;

/// ã (ξ × 3 scalars) ‖ η ‖ hash of μ: 40,000 bytes.
inline constexpr std::size_t kVoleMessageBytes = kOtCount * kWidth * 32 + 32 + 32;

/// The public vector g_j = Hq(tag; sid, j), j < ξ, of one session.
class Gadget {
 public:
  explicit Gadget(const Digest& session_sid);
  const Limbs& operator[](std::size_t j) const { return values_[j]; }

 private:
  std::vector<Limbs> values_;
};

using ScalarPair = std::array<SecretScalar, 2>;

/// The receiver of one pair in one session.
class VoleReceiver {
 public:
  /// Draws β and computes the first message.
  VoleReceiver(const Digest& sid, const Gadget& gadget, const ReceiverState& state, Random& random);

  [[nodiscard]] const ByteVector& message() const { return ot_.message; }
  /// b = Σ β_j·g_j, uniform up to 2^-λ_s.
  [[nodiscard]] const SecretScalar& b() const { return b_; }
  /// d_0 and d_1, from the sender's message. Encodings are checked before β is touched.
  [[nodiscard]] std::expected<ScalarPair, Refusal> finish(const Gadget& gadget,
                                                          ByteView message) const;

 private:
  Digest sid_;
  OtReceived ot_;
  SecretScalar b_;
};

struct VoleSent {
  ByteVector message;
  ScalarPair c;
};
/// The sender's whole part: checks the receiver's message and answers it.
[[nodiscard]] std::expected<VoleSent, Refusal> vole_send(const Digest& sid, const Gadget& gadget,
                                                         const SenderState& state,
                                                         ByteView ot_message,
                                                         const SecretScalar& a0,
                                                         const SecretScalar& a1, Random& random);

}  // namespace cosigner::dkls23
