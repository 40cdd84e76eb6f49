#pragma once
// A request of each kind, and who may ask for what.

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "ipc/request.h"
#include "tests/support/filled_key.h"

namespace cosigner::test {

inline constexpr std::uint64_t kNow = 1'790'000'000'000;

inline Request sign_example(const IdentityKey& key) {
  Request out;
  out.cluster = "demo";
  out.initiator = key.public_key();
  out.operation = Operation::kSign;
  out.user = "alice";
  out.key = "main";
  out.scheme = Scheme::kEd25519;
  out.id.data.fill(0x22);
  out.issued_at_ms = kNow;
  out.expires_at_ms = kNow + 60'000;
  out.message = to_vector(as_bytes("hello"));
  return out;
}

inline Request path_example(const IdentityKey& key) {
  Request out = sign_example(key);
  out.scheme = Scheme::kEcdsaSecp256k1;
  out.message.assign(32, 7);
  out.path = {44, 60, 0, 0, 5};
  return out;
}

inline Request keygen_example(const IdentityKey& key) {
  Request out = sign_example(key);
  out.operation = Operation::kKeygen;
  out.message.clear();
  out.threshold = 2;
  out.participants = {"node1", "node2", "node3"};
  return out;
}

inline Request presign_example(const IdentityKey& key) {
  Request out = sign_example(key);
  out.operation = Operation::kPresign;
  out.scheme = Scheme::kEcdsaSecp256k1;
  out.message.clear();
  out.count = 100;
  return out;
}

inline InitiatorTable table_of(const IdentityKey& key, std::vector<std::string> operations = {"*"},
                               std::vector<std::string> users = {"*"}) {
  return InitiatorTable({ipc::Initiator{.name = "client",
                                        .key = key.public_key(),
                                        .operations = std::move(operations),
                                        .users = std::move(users)}});
}

/// Signs whatever bytes are given as the request.
inline ByteVector envelope_over(ByteView request, const IdentityKey& key) {
  Envelope envelope;
  envelope.request = to_vector(request);
  envelope.signatures.push_back({key.public_key(), key.sign(session_id(request))});
  return encode_envelope(envelope);
}

template <class T>
ErrorCode code_of(const Expected<T>& result) {
  REQUIRE_FALSE(result);
  CHECK_FALSE(result.error().message.empty());
  return result.error().code;
}

}  // namespace cosigner::test
