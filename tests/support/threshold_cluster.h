#pragma once
// Key generation and signing with all participants in memory, for the tests of every scheme.

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/protocol_runner.h"

namespace cosigner::test {

using Configure = std::function<void(ProtocolRunner&)>;

inline std::vector<ParticipantIndex> first_indices(std::size_t count) {
  std::vector<ParticipantIndex> out;
  for (std::size_t k = 1; k <= count; ++k) {
    out.push_back(static_cast<ParticipantIndex>(k));
  }
  return out;
}

/// All subsets of `size` out of `from`, in lexical order.
inline std::vector<std::vector<ParticipantIndex>> subsets(const std::vector<ParticipantIndex>& from,
                                                          std::size_t size) {
  std::vector<std::vector<ParticipantIndex>> out;
  std::vector<bool> chosen(from.size(), false);
  std::fill(chosen.begin(), chosen.begin() + static_cast<std::ptrdiff_t>(size), true);
  do {
    auto& subset = out.emplace_back();
    for (std::size_t k = 0; k < from.size(); ++k) {
      if (chosen[k]) {
        subset.push_back(from[k]);
      }
    }
  } while (std::prev_permutation(chosen.begin(), chosen.end()));
  return out;
}

inline KeygenParameters keygen_parameters(Scheme scheme, std::uint16_t threshold,
                                          std::vector<ParticipantIndex> participants,
                                          ParticipantIndex self) {
  KeygenParameters out;
  out.scheme = scheme;
  out.context.data.fill(0xc0);
  out.threshold = threshold;
  out.participants = std::move(participants);
  out.self = self;
  return out;
}

/// Runs a key generation; `random_of` gives each participant its generator (which must outlive the
/// run).
inline RunReport run_keygen(Scheme scheme, std::uint16_t threshold,
                            const std::vector<ParticipantIndex>& participants,
                            const std::function<Random&(ParticipantIndex)>& random_of,
                            const Configure& configure = {}) {
  ProtocolRunner runner;
  for (const ParticipantIndex index : participants) {
    auto made =
        make_keygen(keygen_parameters(scheme, threshold, participants, index), random_of(index));
    if (!made) {
      throw std::runtime_error(made.error().reason);
    }
    runner.add(index, std::move(*made));
  }
  if (configure) {
    configure(runner);
  }
  return runner.run();
}

inline RunReport run_keygen(Scheme scheme, std::uint16_t threshold,
                            const std::vector<ParticipantIndex>& participants, Random& random,
                            const Configure& configure = {}) {
  return run_keygen(
      scheme, threshold, participants, [&](ParticipantIndex) -> Random& { return random; },
      configure);
}

inline SignParameters sign_parameters(const KeyOutcome& key, ByteVector message,
                                      ParticipantIndex self, ParticipantIndex assembler) {
  SignParameters out;
  out.record = key.record;
  out.secret = as_view(key.secret);
  out.message = std::move(message);
  out.context.data.fill(0x5c);
  out.self = self;
  out.assembler = assembler;
  return out;
}

/// Signs with the shares of a finished key generation.
inline RunReport run_sign(const RunReport& keys, const std::vector<ParticipantIndex>& signers,
                          const ByteVector& message, ParticipantIndex assembler, Random& random,
                          const Configure& configure = {}) {
  ProtocolRunner runner;
  for (const ParticipantIndex index : signers) {
    auto made = make_sign(sign_parameters(keys.key(index), message, index, assembler), random);
    if (!made) {
      throw std::runtime_error(made.error().reason);
    }
    runner.add(index, std::move(*made));
  }
  if (configure) {
    configure(runner);
  }
  return runner.run();
}

}  // namespace cosigner::test
