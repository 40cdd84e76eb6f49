#pragma once
// What a FROST ciphersuite adds to its group (RFC 9591 §6): the context string in its hashes, the
// challenge, the signature's form, and the parity rule of BIP-340 (which Ed25519 answers with
// "never").

#include <concepts>

#include "crypto/protocol/group.h"

namespace cosigner {

template <class S>
concept FrostSuite =
    ThresholdGroup<typename S::Group> &&
    requires(const typename S::Group::Scalar& scalar, const typename S::Group::SecretScalar& secret,
             const SecretBytes<32>& randomness, const Bytes<S::Group::kPointSize>& point,
             ByteView bytes) {
      // H3(randomness ‖ enc(share)): a nonce.
      { S::nonce(randomness, secret) } -> std::same_as<typename S::Group::SecretScalar>;
      // H4 and H5.
      { S::hash_message(bytes) } -> std::convertible_to<ByteView>;
      { S::hash_commitments(bytes) } -> std::convertible_to<ByteView>;
      // H1(prefix ‖ enc(id)).
      { S::binding_factor(bytes, bytes) } -> std::same_as<typename S::Group::Scalar>;
      // H2 over (enc(R), enc(P), message).
      { S::challenge(bytes, bytes, bytes) } -> std::same_as<typename S::Group::Scalar>;
      // Whether this encoded point counts as its negative (BIP-340: its y is odd), and the encoding
      // of whichever of the two it counts as.
      { S::negated(point) } -> std::same_as<bool>;
      { S::evened(point) } -> std::same_as<Bytes<S::Group::kPointSize>>;
      // The signature of (enc(R), z), and the stock verifier over (enc(P), message, signature).
      { S::encode_signature(bytes, scalar) } -> std::same_as<ByteVector>;
      { S::verify_vartime(bytes, bytes, bytes) } -> std::same_as<bool>;
    };

}  // namespace cosigner
