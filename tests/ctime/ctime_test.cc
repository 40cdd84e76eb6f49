// The constant-time test. Secrets are marked as undefined memory; valgrind's memcheck then reports
// every branch and every memory index that depends on one, across libsecp256k1 and OpenSSL as well.
// What becomes public on its way is declassified in the sources, each place with its reason
// (crypto/base/declassify.h); what this program declassifies itself is only what went over the
// wire.
//
//   valgrind --error-exitcode=9 ctime-test PART
//
// PART: base-ot, ot-extension, vole, keygen, sign, presign, renewal, frost; leak and lost are the
// counter-proofs: a branch on a secret, which valgrind reports with status 9, and a secret that is
// no longer tracked, which ends this program with status 3.

#include <valgrind/memcheck.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <string_view>

#include "crypto/base/declassify.h"
#include "crypto/dkls23/ecdsa.h"
#include "crypto/dkls23/key_state.h"
#include "crypto/dkls23/pair_setup.h"
#include "crypto/dkls23/vole.h"
#include "crypto/frost/ed25519_suite.h"
#include "crypto/frost/nonce.h"

using namespace cosigner;
using namespace cosigner::dkls23;

namespace {

void mark_secret(ByteView bytes) {
  VALGRIND_MAKE_MEM_UNDEFINED(bytes.data(), bytes.size());
}

void require(bool condition, const char* what) {
  if (!condition) {
    std::fprintf(stderr, "failed: %s\n", what);
    std::exit(3);
  }
}

std::size_t tracked_of(ByteView bytes) {
  std::size_t tracked = 0;
  for (const std::uint8_t& byte : bytes) {
    std::uint8_t bits = 0;
    tracked += VALGRIND_GET_VBITS(&byte, &bits, 1) == 1 && bits != 0 ? 1U : 0U;
  }
  return tracked;
}

/// The bytes are still tracked as secret at the end: nothing on the way declassified too much.
void require_tracked(ByteView bytes) {
  require(tracked_of(bytes) == bytes.size(), "a secret is no longer tracked");
}

/// Everything drawn is secret; what of it is published is declassified where that is decided.
class SecretRandom final : public Random {
 public:
  void fill(std::span<std::uint8_t> out) override {
    SystemRandom().fill(out);
    mark_secret(out);
  }
};

constexpr std::array<ParticipantIndex, 2> kBoth{1, 2};
using Protocols = std::map<ParticipantIndex, std::unique_ptr<Protocol>>;

/// Runs protocols to their end. Payloads are public once sent.
void run(Protocols& protocols) {
  struct Item {
    ParticipantIndex from = 0;
    ParticipantIndex to = 0;
    ProtocolMessage message;
  };
  std::deque<Item> queue;
  std::vector<SetMember> set;
  for (auto& [index, protocol] : protocols) {
    set.push_back({index, protocol->hello()});
  }
  const auto settle = [&](ParticipantIndex index, Result<Messages> out) {
    require(out.has_value(), out ? "" : out.error().reason.c_str());
    for (ProtocolMessage& message : *out) {
      declassify(message.payload.data(), message.payload.size());
      for (const auto& [to, protocol] : protocols) {
        if (to != index && (message.to == 0 || message.to == to)) {
          queue.push_back({index, to, message});
        }
      }
    }
  };
  for (auto& [index, protocol] : protocols) {
    settle(index, protocol->start(set, Digest{}));
  }
  while (!queue.empty()) {
    const Item item = std::move(queue.front());
    queue.pop_front();
    settle(item.to,
           protocols.at(item.to)->receive(item.from, item.message.round, item.message.payload));
  }
}

using Key = std::map<ParticipantIndex, KeyOutcome>;

/// 2-of-2.
Key keygen(Random& random, Scheme scheme = Scheme::kEcdsaSecp256k1) {
  Protocols protocols;
  KeygenParameters parameters;
  parameters.scheme = scheme;
  parameters.threshold = 2;
  parameters.participants = {1, 2};
  for (const ParticipantIndex i : parameters.participants) {
    parameters.self = i;
    protocols[i] = std::move(cosigner::make_keygen(parameters, random).value());
  }
  run(protocols);
  Key key;
  for (auto& [index, protocol] : protocols) {
    std::optional<Outcome> outcome = protocol->take_outcome();
    require(outcome.has_value(), "key generation has an outcome");
    key.emplace(index, std::get<KeyOutcome>(std::move(*outcome)));
  }
  return key;
}

// A key's secret: version ‖ index, the share, and of an ECDSA key of two version ‖ u16 count ‖
// peer ‖ present ‖ id, then the pair's state.
constexpr std::size_t kShareAt = 3;
constexpr std::size_t kPairSecret = PairState::kEncodedSize - 32;

ByteView share_of(const KeyOutcome& own) {
  return as_view(own.secret).subspan(kShareAt, 32);
}
ByteView pair_secret_of(const KeyOutcome& own) {
  require(own.secret.size() == kShareAt + 32 + 3 + 35 + kPairSecret, "the secret's layout");
  return as_view(own.secret).last(kPairSecret);
}

/// A key from public randomness whose every secret byte is then marked: share, Δ, leaves, seed.
Key marked_key() {
  SystemRandom random;
  Key key = keygen(random);
  for (auto& [index, own] : key) {
    mark_secret(share_of(own));
    mark_secret(pair_secret_of(own));
  }
  return key;
}

SignParameters parameters_of(const Key& key, ParticipantIndex self, bool with_message) {
  SignParameters out;
  out.record = key.at(self).record;
  out.secret = as_view(key.at(self).secret);
  out.message = ByteVector(with_message ? 32 : 0, 0x5a);
  out.self = self;
  out.assembler = 1;
  if (with_message) {
    out.path = {44, 60, 0, 0, 5};  // a public tweak meets the secret share
  }
  return out;
}

struct Pair {
  PairState a;
  PairState b;
};

Pair run_setup(Random& random) {
  PairSetup a(Digest{}, 1, 2, random);
  PairSetup b(Digest{}, 2, 1, random);
  Result<SecretVector> answer_a = a.answer(b.first_message(), random);
  Result<SecretVector> answer_b = b.answer(a.first_message(), random);
  require(answer_a && answer_b, "both answers");
  // The seed share stays secret; the rest of an answer goes over the wire.
  declassify(answer_a->data(), kSetupAnswerBytes - 32);
  declassify(answer_b->data(), kSetupAnswerBytes - 32);
  Result<PairState> state_a = a.finish(as_view(*answer_b));
  Result<PairState> state_b = b.finish(as_view(*answer_a));
  require(state_a && state_b, "both states");
  return {std::move(*state_a), std::move(*state_b)};
}

void test_base_ot() {
  SecretRandom random;
  const Pair pair = run_setup(random);
  require_tracked(pair.a.sender.delta.expose());
  require_tracked(pair.b.receiver.leaves.expose());
  ByteVector seed(pair.a.zero_seed.expose().begin(), pair.a.zero_seed.expose().end());
  declassify(seed.data(), seed.size());  // to see that this run was a real one
  require(seed != ByteVector(32), "a zero seed came out");
}

void test_ot_extension() {
  SecretRandom random;
  const Pair pair = run_setup(random);
  const OtReceived received = ot_extension_receive(Digest{}, pair.b.receiver, random);
  const auto sent = ot_extension_send(Digest{}, pair.a.sender, received.message);
  require(sent.has_value(), "the OT extension checks out");
  require_tracked(received.beta.expose());
  require_tracked(received.columns.expose());
  require_tracked(sent->columns.expose());
}

void test_vole() {
  SecretRandom random;
  const Pair pair = run_setup(random);
  const Gadget gadget{Digest{}};
  const VoleReceiver receiver(Digest{}, gadget, pair.b.receiver, random);
  const SecretScalar a0 = SecretScalar::random(random);
  const SecretScalar a1 = SecretScalar::random(random);
  const auto sent = vole_send(Digest{}, gadget, pair.a.sender, receiver.message(), a0, a1, random);
  require(sent.has_value(), "the receiver's message checks out");
  const auto d = receiver.finish(gadget, sent->message);
  require(d.has_value(), "the sender's message checks out");
  require_tracked(receiver.b().encode().expose());
  require_tracked(sent->c[0].encode().expose());
  require_tracked((*d)[0].encode().expose());
  require((sent->c[0] + (*d)[0] - a0 * receiver.b()).is_zero(), "c + d = a·b");
}

void test_keygen() {
  SecretRandom random;
  for (const auto& [index, own] : keygen(random)) {
    require_tracked(share_of(own));
    require_tracked(pair_secret_of(own));
  }
}

void test_sign() {
  const Key key = marked_key();
  SecretRandom random;
  Protocols protocols;
  for (const ParticipantIndex i : kBoth) {
    protocols[i] = std::move(dkls23::make_sign(parameters_of(key, i, true), random).value());
  }
  run(protocols);
  require(protocols.at(1)->take_outcome().has_value(), "a signature came out");
  for (const auto& [index, own] : key) {
    require_tracked(share_of(own));
    require_tracked(pair_secret_of(own));
  }
}

void test_presign() {
  const Key key = marked_key();
  SecretRandom random;
  Protocols presign;
  for (const ParticipantIndex i : kBoth) {
    presign[i] = std::move(make_presign(parameters_of(key, i, false), random).value());
  }
  run(presign);
  Protocols online;
  for (const ParticipantIndex i : kBoth) {
    auto token = dynamic_cast<PresignProtocol&>(*presign.at(i)).take_presignature();
    require(token.has_value(), "a presignature came out");
    // u, v and φ, each a scalar inside it: what signing knows but for the message.
    require(tracked_of({reinterpret_cast<const std::uint8_t*>(&*token), sizeof *token}) >= 3 * 32,
            "a presignature's secrets are still tracked");
    online[i] = std::move(make_presigned_sign(parameters_of(key, i, true), std::move(*token),
                                              random.bytes<Bytes<32>>())
                              .value());
  }
  run(online);
  require(online.at(1)->take_outcome().has_value(), "a signature came out");
}

void test_renewal() {
  const Key key = marked_key();
  SecretRandom random;
  Protocols protocols;
  for (const ParticipantIndex i : kBoth) {
    const auto peer = static_cast<ParticipantIndex>(3 - i);
    protocols[i] = std::move(
        make_renewal({key.at(i).record, as_view(key.at(i).secret), Digest{}, i, peer}, random)
            .value());
  }
  run(protocols);
  for (auto& [index, protocol] : protocols) {
    const std::optional<Outcome> outcome = protocol->take_outcome();
    require(outcome.has_value(), "a renewed key came out");
    require_tracked(share_of(std::get<KeyOutcome>(*outcome)));
    require_tracked(pair_secret_of(std::get<KeyOutcome>(*outcome)));
  }
}

void test_frost() {
  SecretRandom random;
  const Key key = keygen(random, Scheme::kEd25519);
  Protocols protocols;
  for (const ParticipantIndex i : kBoth) {
    require_tracked(share_of(key.at(i)));
    SignParameters parameters = parameters_of(key, i, true);
    parameters.path = {};
    protocols[i] = std::move(cosigner::make_sign(parameters, random).value());
  }
  run(protocols);
  const std::optional<Outcome> outcome = protocols.at(1)->take_outcome();
  require(outcome.has_value(), "a signature came out");
  require(
      verify_signature_vartime(Scheme::kEd25519, key.at(1).record.public_key, ByteVector(32, 0x5a),
                               std::get<SignatureOutcome>(*outcome).signature),
      "the signature verifies");
  // A nonce and the share it was made for, as one signer holds them between the two rounds.
  const auto share = ed25519::SecretScalar::decode(share_of(key.at(1)));
  require(share.has_value(), "the share decodes");
  const auto nonce = FrostNonce<FrostEd25519>::generate(*share, random);
  require(tracked_of({reinterpret_cast<const std::uint8_t*>(&nonce), sizeof nonce}) >= 2 * 32,
          "a nonce is still tracked");
}

void test_leak() {
  SecretRandom random;
  const SecretBytes<16> secret = random.secret<16>();
  if ((secret.expose()[0] & 1U) != 0) {
    std::puts("odd");
  }
}

void test_lost() {
  SecretRandom random;
  const SecretBytes<16> secret = random.secret<16>();
  declassify(secret.expose().data(), 1);
  require_tracked(secret.expose());
}

struct Part {
  std::string_view name;
  void (*run)();
};
constexpr Part kParts[] = {{"base-ot", test_base_ot}, {"ot-extension", test_ot_extension},
                           {"vole", test_vole},       {"keygen", test_keygen},
                           {"sign", test_sign},       {"presign", test_presign},
                           {"renewal", test_renewal}, {"frost", test_frost},
                           {"leak", test_leak},       {"lost", test_lost}};

}  // namespace

int main(int argc, char** argv) {
  if (RUNNING_ON_VALGRIND == 0) {
    std::fprintf(stderr, "run under valgrind: without it nothing is checked\n");
    return 77;
  }
  for (const Part& part : kParts) {
    if (argc == 2 && part.name == argv[1]) {
      part.run();
      std::printf("%s: %lu errors\n", argv[1], static_cast<unsigned long>(VALGRIND_COUNT_ERRORS));
      return 0;
    }
  }
  std::fprintf(stderr, "usage: ctime-test PART\n");
  return 2;
}
