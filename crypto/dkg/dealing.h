#pragma once
// Opening what a dealer sent, for its receiver and, after a complaint, for everyone else.

#include "crypto/dkg/polynomial.h"
#include "crypto/dkg/share_box.h"

namespace cosigner {

/// A dealer's share for one receiver, decrypted and checked against the dealer's Feldman vector.
template <ThresholdGroup Group>
struct OpenedDealing {
  typename Group::SecretScalar share;
  SecretVector extra;  ///< the extension's payload
};

/// Nothing when the dealer is at fault: the ciphertext does not open, the share is not below the
/// order or not the one its vector promises, or more follows than `extra_limit` bytes. The same
/// verdict for everyone who holds the same bytes.
template <ThresholdGroup Group>
[[nodiscard]] std::optional<OpenedDealing<Group>> open_dealing(
    const SecretBytes<32>& shared, const ShareRoute& route, ByteView ciphertext,
    std::span<const typename Group::Point> vector, std::size_t extra_limit) {
  const auto plain = open_share(shared, route, ciphertext);
  if (!plain || plain->size() < 32 || plain->size() - 32 > extra_limit) {
    return std::nullopt;
  }
  auto share = Group::decode_secret(as_view(*plain).first(32));
  if (!share || !share_fits_vartime<Group>(*share, vector, route.to)) {
    return std::nullopt;
  }
  return OpenedDealing<Group>{std::move(*share), SecretVector(plain->begin() + 32, plain->end())};
}

}  // namespace cosigner
