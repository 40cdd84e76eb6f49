#pragma once
// The schemes behind make_keygen() and make_sign(): one factory of each kind for a
// scheme, defined beside the scheme's code and called from the switches in dispatch.cc.
// All of them may assume that the scheme-independent parameters have been checked.

#include <memory>

#include "crypto/protocol/protocol.h"

namespace cosigner {

// crypto/protocol/dispatch.cc: the checks that hold for every scheme, for entry points of one
// scheme that make_sign() does not lead to
/// The record's threshold and indices; `self` and `other` among its participants.
[[nodiscard]] Result<void> check_participation(const PublicKeyRecord& record, ParticipantIndex self,
                                               ParticipantIndex other);
[[nodiscard]] Result<void> check_sign_parameters(const SignParameters& parameters);

// crypto/protocol/ed25519.cc
[[nodiscard]] Result<std::unique_ptr<Protocol>> make_ed25519_keygen(
    const KeygenParameters& parameters, Random& random);
[[nodiscard]] Result<std::unique_ptr<Protocol>> make_ed25519_sign(SignParameters parameters,
                                                                  Random& random);

}  // namespace cosigner
