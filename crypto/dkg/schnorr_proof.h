#pragma once
// Proof of knowledge of x in X = x·G (Schnorr, Fiat–Shamir): A = r·G, z = r + e·x with e hashed
// over whatever the caller put into `statement` (session, index, …), then X and A.

#include <algorithm>
#include <array>

#include "crypto/base/hash.h"
#include "crypto/base/wire.h"
#include "crypto/protocol/group.h"

namespace cosigner {

template <ThresholdGroup Group>
struct SchnorrProof {
  static constexpr std::size_t kEncodedSize = Group::kPointSize + 32;

  Bytes<Group::kPointSize> commitment;  ///< enc(A), not yet known to be a point
  typename Group::Scalar response;      ///< z

  [[nodiscard]] static SchnorrProof prove(const TaggedHash& statement,
                                          const typename Group::SecretScalar& secret,
                                          const typename Group::Point& point, Random& random) {
    const auto nonce = Group::SecretScalar::random(random);
    SchnorrProof out;
    out.commitment = *Bytes<Group::kPointSize>::from(Group::encode(*Group::multiply_base(nonce)));
    out.response = (nonce + secret * challenge(statement, point, out.commitment)).reveal();
    return out;
  }

  /// Recomputes A = z·G − e·X and compares encodings, which refuses an A that is the identity, not
  /// canonical or outside the group, and saves its decoding.
  [[nodiscard]] bool verify_vartime(const TaggedHash& statement,
                                    const typename Group::Point& point) const {
    const auto left = Group::multiply_base_vartime(response);
    const auto right = Group::multiply_vartime(-challenge(statement, point, commitment), point);
    if (!left || !right) {
      return false;
    }
    const auto sum = Group::sum(std::array{*left, *right});
    return sum && std::ranges::equal(ByteView(Group::encode(*sum)), commitment.view());
  }

  void write(Writer& writer) const { writer.fixed(commitment).fixed(Group::encode(response)); }
  [[nodiscard]] static SchnorrProof read(Reader& reader) {
    SchnorrProof out;
    out.commitment = reader.template take<Bytes<Group::kPointSize>>();
    const auto response = Group::decode_scalar(reader.fixed(32));
    if (!response) {
      reader.fail();
      return out;
    }
    out.response = *response;
    return out;
  }

 private:
  static typename Group::Scalar challenge(const TaggedHash& statement,
                                          const typename Group::Point& point,
                                          const Bytes<Group::kPointSize>& commitment) {
    TaggedHash hash = statement;
    hash.part(ByteView(Group::encode(point))).part(commitment);
    return Group::challenge(hash);
  }
};

}  // namespace cosigner
