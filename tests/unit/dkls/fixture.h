#pragma once
// Keys and runs for the ECDSA tests. Key generation costs 35 ms a pair and party, so keys are made
// once and shared between the tests of a program.

#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>

#include "crypto/base/hash.h"
#include "crypto/base/wire.h"
#include "crypto/dkls23/ecdsa.h"
#include "crypto/dkls23/key_state.h"
#include "crypto/secp256k1/group.h"
#include "tests/support/protocol_runner.h"
#include "tests/support/seeded_random.h"

namespace cosigner::dkls23::test {

using cosigner::test::Envelope;
using cosigner::test::ProtocolRunner;
using cosigner::test::RunReport;
using secp256k1::EcdsaSignature;
using secp256k1::MessageDigest;
using secp256k1::Point;
using secp256k1::Scalar;
using secp256k1::SecretScalar;

using Key = std::map<ParticipantIndex, KeyOutcome>;

/// Records what a participant would have told its supervisor.
class Watch final : public CheckObserver {
 public:
  void checking(ParticipantIndex peer) override { open.insert(peer), ++count; }
  void checked(ParticipantIndex peer) override { open.erase(peer); }
  std::multiset<ParticipantIndex> open;
  int count = 0;
};

inline Digest digest_of(std::string_view text) {
  return Sha256().update(as_bytes(text)).finish();
}

inline KeygenParameters keygen_parameters(std::uint16_t threshold, std::uint16_t n,
                                          ParticipantIndex self) {
  KeygenParameters out;
  out.scheme = Scheme::kEcdsaSecp256k1;
  out.context = digest_of("a key generation context");
  out.threshold = threshold;
  for (ParticipantIndex i = 1; i <= n; ++i) {
    out.participants.push_back(i);
  }
  out.self = self;
  return out;
}

/// Runs a key generation among n; the runner may be prepared with hooks.
inline RunReport run_keygen(ProtocolRunner& runner, std::uint16_t threshold, std::uint16_t n,
                            Random& random) {
  for (ParticipantIndex i = 1; i <= n; ++i) {
    runner.add(i, cosigner::make_keygen(keygen_parameters(threshold, n, i), random).value());
  }
  return runner.run();
}

inline Key key_of(RunReport& report) {
  Key out;
  for (auto& [index, participant] : report.participants) {
    if (participant.abort) {
      throw std::runtime_error("keygen: " + participant.abort->reason);
    }
    out.emplace(index, std::get<KeyOutcome>(std::move(participant.outcome.value())));
  }
  return out;
}

/// A key of t of n, made once.
inline const Key& shared_key(std::uint16_t threshold, std::uint16_t n) {
  static std::map<std::pair<std::uint16_t, std::uint16_t>, Key> keys;
  const auto found = keys.find({threshold, n});
  if (found != keys.end()) {
    return found->second;
  }
  SeededRandom random(1'000U * threshold + n);
  ProtocolRunner runner;
  RunReport report = run_keygen(runner, threshold, n, random);
  return keys.emplace(std::pair(threshold, n), key_of(report)).first->second;
}

inline SignParameters sign_parameters(const Key& key, ParticipantIndex self,
                                      ParticipantIndex assembler, ByteView message,
                                      bip32::Path path = {}) {
  SignParameters out;
  const KeyOutcome& own = key.at(self);
  out.record = own.record;
  out.secret = as_view(own.secret);
  out.message = to_vector(message);
  out.path = std::move(path);
  out.context = digest_of("a signing context");
  out.self = self;
  out.assembler = assembler;
  return out;
}

using Signers = std::vector<ParticipantIndex>;

inline void add_signers(ProtocolRunner& runner, const Key& key, const Signers& signers,
                        ByteView message, Random& random, const bip32::Path& path = {}) {
  for (const ParticipantIndex i : signers) {
    runner.add(i,
               cosigner::make_sign(sign_parameters(key, i, signers.front(), message, path), random)
                   .value());
  }
}

inline RunReport run_sign(const Key& key, const Signers& signers, ByteView message, Random& random,
                          const bip32::Path& path = {}) {
  ProtocolRunner runner;
  add_signers(runner, key, signers, message, random, path);
  return runner.run();
}

/// The root key.
inline Point root_of(const Key& key) {
  return *Point::decode(key.begin()->second.record.public_key);
}
inline Point child_of(const Key& key, const bip32::Path& path) {
  return bip32::derive(root_of(key), key.begin()->second.record.chain_code, path)->key;
}

/// All subsets of 1..n with t members.
inline std::vector<Signers> subsets(ParticipantIndex n, std::size_t t) {
  std::vector<Signers> out;
  for (unsigned bits = 0; bits < (1U << n); ++bits) {
    Signers set;
    for (ParticipantIndex i = 0; i < n; ++i) {
      if ((bits >> i & 1U) != 0) {
        set.push_back(static_cast<ParticipantIndex>(i + 1));
      }
    }
    if (set.size() == t) {
      out.push_back(set);
    }
  }
  return out;
}

/// One presignature for each signer, from a run of the protocol.
inline std::map<ParticipantIndex, Presignature> presign(const Key& key, const Signers& signers,
                                                        Random& random) {
  ProtocolRunner runner;
  for (const ParticipantIndex i : signers) {
    runner.add(i, make_presign(sign_parameters(key, i, signers.front(), {}), random).value());
  }
  const RunReport report = runner.run();
  std::map<ParticipantIndex, Presignature> out;
  for (const ParticipantIndex i : signers) {
    if (report.at(i).abort) {
      throw std::runtime_error("presign: " + report.at(i).abort->reason);
    }
    out.emplace(i, dynamic_cast<PresignProtocol&>(runner.protocol(i)).take_presignature().value());
  }
  return out;
}

inline RunReport run_presigned(const Key& key, std::map<ParticipantIndex, Presignature> pool,
                               ByteView message, Random& random, const bip32::Path& path = {},
                               const std::function<void(Envelope&)>& hook = {}) {
  ProtocolRunner runner;
  runner.hook = hook;
  const ParticipantIndex assembler = pool.begin()->first;
  for (auto& [i, presignature] : pool) {
    runner.add(i, make_presigned_sign(sign_parameters(key, i, assembler, message, path),
                                      std::move(presignature), random.bytes<Bytes<32>>())
                      .value());
  }
  return runner.run();
}

}  // namespace cosigner::dkls23::test
