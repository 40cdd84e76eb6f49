// The checks that hold for every scheme, and one switch for each entry point.

#include <algorithm>

#include "crypto/dkls23/ecdsa.h"
#include "crypto/protocol/protocol.h"
#include "crypto/protocol/schemes.h"

namespace cosigner {
namespace {

std::unexpected<Abort> not_available(Scheme scheme) {
  return recoverable("the scheme " + std::string(scheme_name(scheme)) +
                     " is not available: there are " + available_scheme_names());
}

// 2 ≤ t ≤ n ≤ kMaxParticipants.
Result<void> check_threshold(std::size_t threshold, std::size_t participants) {
  if (participants > kMaxParticipants) {
    return recoverable("more participants than " + std::to_string(kMaxParticipants));
  }
  if (threshold < 2 || threshold > participants) {
    return recoverable("the threshold is not between 2 and the number of participants");
  }
  return {};
}

// Ascending without repeats or index 0, and `self` among them.
Result<void> check_indices(std::span<const ParticipantIndex> indices, ParticipantIndex self) {
  ParticipantIndex previous = 0;
  for (const ParticipantIndex index : indices) {
    if (index <= previous) {
      return recoverable("the participants are not sorted, repeat an index or have index 0");
    }
    previous = index;
  }
  if (!std::ranges::binary_search(indices, self)) {
    return recoverable("we are not among the participants");
  }
  return {};
}

Result<void> check(const KeygenParameters& parameters) {
  if (auto checked = check_threshold(parameters.threshold, parameters.participants.size());
      !checked) {
    return checked;
  }
  return check_indices(parameters.participants, parameters.self);
}

}  // namespace

Result<void> check_participation(const PublicKeyRecord& record, ParticipantIndex self,
                                 ParticipantIndex other) {
  if (auto checked = check_threshold(record.threshold, record.public_shares.size()); !checked) {
    return checked;
  }
  const std::vector<ParticipantIndex> indices = participants_of(record);
  if (auto checked = check_indices(indices, self); !checked) {
    return checked;
  }
  if (!std::ranges::binary_search(indices, other)) {
    return recoverable("the assembler or peer is not among the key's participants");
  }
  return {};
}

Result<void> check_sign_parameters(const SignParameters& parameters) {
  const PublicKeyRecord& record = parameters.record;
  if (auto checked = check_participation(record, parameters.self, parameters.assembler); !checked) {
    return checked;
  }
  if (!parameters.path.empty() && record.scheme != Scheme::kEcdsaSecp256k1) {
    return recoverable("only ECDSA keys are derived along a path");
  }
  if (parameters.message.size() > kMaxMessageBytes) {
    return recoverable("the message is longer than " + std::to_string(kMaxMessageBytes) + " bytes");
  }
  return {};
}

Result<std::unique_ptr<Protocol>> make_keygen(const KeygenParameters& parameters, Random& random) {
  if (auto checked = check(parameters); !checked) {
    return std::unexpected(checked.error());
  }
  switch (parameters.scheme) {
    case Scheme::kEd25519:
      return make_ed25519_keygen(parameters, random);
    case Scheme::kEcdsaSecp256k1:
      return dkls23::make_keygen(parameters, random);
    case Scheme::kBip340Secp256k1:
      break;
  }
  return not_available(parameters.scheme);
}

Result<std::unique_ptr<Protocol>> make_sign(SignParameters parameters, Random& random) {
  if (auto checked = check_sign_parameters(parameters); !checked) {
    return std::unexpected(checked.error());
  }
  switch (parameters.record.scheme) {
    case Scheme::kEd25519:
      return make_ed25519_sign(std::move(parameters), random);
    case Scheme::kEcdsaSecp256k1:
      return dkls23::make_sign(std::move(parameters), random);
    case Scheme::kBip340Secp256k1:
      break;
  }
  return not_available(parameters.record.scheme);
}

}  // namespace cosigner
