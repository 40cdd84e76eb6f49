// The constant-time test. Secrets are marked as undefined memory; valgrind's memcheck then reports
// every branch and every memory index that depends on one, across libsecp256k1 and OpenSSL as well.
// What becomes public on its way is declassified in the sources, each place with its reason
// (crypto/base/declassify.h); what this program declassifies itself is only what went over the
// wire.
//
//   valgrind --error-exitcode=9 ctime-test PART
//
// PART: base-ot, ot-extension, vole, keygen, sign, presign, renewal; leak is the counter-proof.

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

using namespace cosigner;
using namespace cosigner::dkls23;

namespace {

void mark_secret(ByteView bytes) {
  VALGRIND_MAKE_MEM_UNDEFINED(bytes.data(), bytes.size());
}

void require(bool condition, const char* what) {
  if (!condition) {
    std::fprintf(stderr, "failed: %s\n", what);
    std::exit(1);
  }
}

/// The bytes are still tracked as secret at the end: nothing on the way declassified too much.
void require_tracked(ByteView bytes) {
  std::size_t tracked = 0;
  for (const std::uint8_t& byte : bytes) {
    std::uint8_t bits = 0;
    tracked += VALGRIND_GET_VBITS(&byte, &bits, 1) == 1 && bits != 0 ? 1U : 0U;
  }
  require(tracked == bytes.size(), "a secret is no longer tracked");
}

/// Everything drawn is secret. The key generation's nonces, blinding values and chain-code shares
/// are 32 bytes long and published by code that serves libraries without undefined-memory
/// tracking, so for it draws of 32 bytes stay public; scalars (64), choices (16) and the rest do
/// not.
class SecretRandom final : public Random {
 public:
  explicit SecretRandom(bool all) : all_(all) {}
  void fill(std::span<std::uint8_t> out) override {
    SystemRandom().fill(out);
    if (all_ || out.size() != 32) {
      mark_secret(out);
    }
  }

 private:
  bool all_;
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

/// 2-of-2; with `secret`, all its randomness is tracked.
Key keygen(Random& random) {
  Protocols protocols;
  KeygenParameters parameters;
  parameters.scheme = Scheme::kEcdsaSecp256k1;
  parameters.threshold = 2;
  parameters.participants = {1, 2};
  for (const ParticipantIndex i : parameters.participants) {
    parameters.self = i;
    protocols[i] = std::move(dkls23::make_keygen(parameters, random).value());
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

/// A key from public randomness whose every secret byte is then marked: share, Δ, leaves, seed.
Key marked_key() {
  SystemRandom random;
  Key key = keygen(random);
  for (auto& [index, own] : key) {
    constexpr std::size_t kShare = 3;        // version ‖ index
    constexpr std::size_t kStates = 35;      // then version ‖ u16 count
    constexpr std::size_t kPairHeader = 35;  // index ‖ present ‖ id
    constexpr std::size_t kPairSecret = PairState::kEncodedSize - 32;
    const ByteView bytes = as_view(own.secret);
    require(bytes.size() == kStates + 3 + kPairHeader + kPairSecret, "the secret's layout");
    mark_secret(bytes.subspan(kShare, 32));
    mark_secret(bytes.last(kPairSecret));
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
  SecretRandom random(true);
  const Pair pair = run_setup(random);
  require_tracked(pair.a.sender.delta.expose());
  require_tracked(pair.b.receiver.leaves.expose());
  ByteVector seed(pair.a.zero_seed.expose().begin(), pair.a.zero_seed.expose().end());
  declassify(seed.data(), seed.size());  // to see that this run was a real one
  require(seed != ByteVector(32), "a zero seed came out");
}

void test_ot_extension() {
  SecretRandom random(true);
  const Pair pair = run_setup(random);
  const OtReceived received = ot_extension_receive(Digest{}, pair.b.receiver, random);
  const auto sent = ot_extension_send(Digest{}, pair.a.sender, received.message);
  require(sent.has_value(), "the OT extension checks out");
  require_tracked(received.beta.expose());
  require_tracked(received.columns.expose());
  require_tracked(sent->columns.expose());
}

void test_vole() {
  SecretRandom random(true);
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
  SecretRandom random(false);
  keygen(random);
}

void test_sign() {
  const Key key = marked_key();
  SecretRandom random(true);
  Protocols protocols;
  for (const ParticipantIndex i : kBoth) {
    protocols[i] = std::move(dkls23::make_sign(parameters_of(key, i, true), random).value());
  }
  run(protocols);
  require(protocols.at(1)->take_outcome().has_value(), "a signature came out");
}

void test_presign() {
  const Key key = marked_key();
  SecretRandom random(true);
  Protocols presign;
  for (const ParticipantIndex i : kBoth) {
    presign[i] = std::move(make_presign(parameters_of(key, i, false), random).value());
  }
  run(presign);
  Protocols online;
  for (const ParticipantIndex i : kBoth) {
    auto token = dynamic_cast<PresignProtocol&>(*presign.at(i)).take_presignature();
    require(token.has_value(), "a presignature came out");
    online[i] = std::move(make_presigned_sign(parameters_of(key, i, true), std::move(*token),
                                              random.bytes<Bytes<32>>())
                              .value());
  }
  run(online);
  require(online.at(1)->take_outcome().has_value(), "a signature came out");
}

void test_renewal() {
  const Key key = marked_key();
  SecretRandom random(false);
  Protocols protocols;
  for (const ParticipantIndex i : kBoth) {
    const auto peer = static_cast<ParticipantIndex>(3 - i);
    protocols[i] = std::move(
        make_renewal({key.at(i).record, as_view(key.at(i).secret), Digest{}, i, peer}, random)
            .value());
  }
  run(protocols);
  require(protocols.at(1)->take_outcome().has_value(), "a renewed key came out");
}

void test_leak() {
  SecretRandom random(true);
  const SecretBytes<16> secret = random.secret<16>();
  if ((secret.expose()[0] & 1U) != 0) {
    std::puts("odd");
  }
}

struct Part {
  std::string_view name;
  void (*run)();
};
constexpr Part kParts[] = {{"base-ot", test_base_ot}, {"ot-extension", test_ot_extension},
                           {"vole", test_vole},       {"keygen", test_keygen},
                           {"sign", test_sign},       {"presign", test_presign},
                           {"renewal", test_renewal}, {"leak", test_leak}};

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
