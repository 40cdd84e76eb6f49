// What stays in memory: nothing secret in blocks given back to the heap, on the stack, or in what
// an ended protocol still holds.

#include <malloc.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <new>

#include "crypto/protocol/key_share.h"
#include "tests/support/canaries.h"
#include "tests/support/seeded_random.h"
#include "tests/unit/dkls/fixture.h"

using namespace cosigner;
using namespace cosigner::dkls23;
using namespace cosigner::dkls23::test;

#ifndef COSIGNER_SANITIZED
namespace {

cosigner::test::Canaries canaries;

/// The blocks allocated while tracking, for searching what is alive. Fixed storage, like the
/// canaries; forgetting a block would make a search miss it, so a full table ends the program.
struct LiveBlocks {
  std::array<void*, 65'536> blocks{};
  std::size_t count = 0;
  bool tracking = false;

  void add(void* block) {
    if (count == blocks.size()) {
      std::abort();
    }
    blocks[count++] = block;
  }
  void remove(void* block) {
    for (std::size_t i = count; i-- > 0;) {
      if (blocks[i] == block) {
        blocks[i] = blocks[--count];
        return;
      }
    }
  }
  void search() const {
    for (std::size_t i = 0; i < count; ++i) {
      canaries.search(blocks[i], malloc_usable_size(blocks[i]));
    }
  }
};
LiveBlocks live;

void release(void* block) {
  if (block != nullptr && canaries.armed) {
    canaries.search(block, malloc_usable_size(block));
  }
  if (live.tracking) {
    live.remove(block);
  }
  std::free(block);  // NOLINT: this is operator delete
}

}  // namespace

void* operator new(std::size_t size) {
  void* block = std::malloc(size);
  if (block == nullptr) {
    throw std::bad_alloc();
  }
  if (live.tracking) {
    live.add(block);
  }
  return block;
}
void operator delete(void* block) noexcept {
  release(block);
}
void operator delete(void* block, std::size_t) noexcept {
  release(block);
}

namespace {

/// Adds every scalar that is drawn (nonces r, φ, and the VOLE's â) to the canaries, as drawn and as
/// reduced.
class CanaryRandom final : public Random {
 public:
  void fill(std::span<std::uint8_t> out) override {
    random_.fill(out);
    if (out.size() == 64) {
      canaries.add(out);
      canaries.add_scalar(SecretScalar::reduce(out).encode().expose());
    }
  }

 private:
  SeededRandom random_{35};
};

void add_key_canaries(const Key& key) {
  for (const ParticipantIndex i : {ParticipantIndex{1}, ParticipantIndex{2}}) {
    const auto share = KeyShare<Secp256k1Group>::decode(as_view(key.at(i).secret));
    canaries.add_scalar(share->share.encode().expose());
    const std::array<ParticipantIndex, 2> both{1, 2};
    const auto states = decode_states(as_view(share->state), both).value();
    const PairState& state = states.begin()->second;
    canaries.add(state.sender.delta.expose());
    // Two leaves of the first group: at least one of them is not the missing one's zeros.
    for (const std::size_t at : {std::size_t{0}, std::size_t{16}}) {
      const ByteView leaf = state.sender.leaves.expose().subspan(at, 16);
      if (std::ranges::any_of(leaf, [](std::uint8_t byte) { return byte != 0; })) {
        canaries.add(leaf);
      }
    }
    canaries.add(state.receiver.leaves.expose());
    canaries.add(state.zero_seed.expose());
  }
}

/// Signs, presigns and signs with it, and fails; all objects are gone when it returns.
void run_everything(const Key& key) {
  CanaryRandom random;
  run_sign(key, {1, 2}, digest_of("wiped"), random);
  run_presigned(key, presign(key, {1, 2}, random), digest_of("wiped"), random);
  ProtocolRunner dead;
  dead.hook = [](Envelope& envelope) {
    if (envelope.round == 1) {
      envelope.payload[100] ^= 1U;
    }
  };
  add_signers(dead, key, {1, 2}, digest_of("burnt"), random);
  dead.run();
}

}  // namespace

TEST_CASE(
    "checklist: wiping: no freed memory holds a share, nonce, Δ, leaf or seed (canary scan)") {
  const Key& key = shared_key(2, 3);
  canaries = {};
  add_key_canaries(key);
  canaries.armed = true;
  {
    // The scan sees what is not wiped: this is the proof that it can fail.
    const auto leak =
        std::make_unique<ByteVector>(canaries.patterns[0].begin(), canaries.patterns[0].end());
  }
  CHECK(canaries.found > 0);
  canaries.found = 0;
  run_everything(key);
  canaries.armed = false;
  CHECK(canaries.count > 40);
  CHECK(canaries.found == 0);
}

TEST_CASE("checklist: wiping: no stack holds a share, nonce, Δ, leaf or seed after a session") {
  // The sessions run on a thread whose stack is ours to search afterwards.
  const Key& key = shared_key(2, 3);
  canaries = {};
  add_key_canaries(key);
  cosigner::test::SearchableStack stack;
  stack.run(
      [](void* argument) -> void* {
        run_everything(*static_cast<const Key*>(argument));
        return nullptr;
      },
      const_cast<Key*>(&key));
  stack.search(canaries);
  CHECK(canaries.found == 0);
  // And the proof that this one can fail.
  stack.run(
      [](void*) -> void* {
        // Deep enough that the thread's own end does not overwrite it.
        [[maybe_unused]] volatile std::uint8_t left[65'536];
        for (std::size_t i = 0; i < 16; ++i) {
          left[i] = canaries.patterns[0][i];
        }
        return nullptr;
      },
      nullptr);
  stack.search(canaries);
  CHECK(canaries.found > 0);
}

TEST_CASE(
    "checklist: wiping: key generation leaves nothing secret on the stack or in freed memory") {
  canaries = {};
  const auto generate = [](void*) -> void* {
    CanaryRandom random;
    ProtocolRunner runner;
    RunReport report = run_keygen(runner, 2, 2, random);
    for (const ParticipantIndex i : {ParticipantIndex{1}, ParticipantIndex{2}}) {
      const auto share = KeyShare<Secp256k1Group>::decode(
          as_view(std::get<KeyOutcome>(*report.at(i).outcome).secret));
      canaries.add_scalar(share->share.encode().expose());
    }
    return nullptr;
  };
  canaries.armed = true;
  cosigner::test::SearchableStack stack;
  stack.run(generate, nullptr);
  canaries.armed = false;
  CHECK(canaries.count > 40);
  CHECK(canaries.found == 0);
  stack.search(canaries);
  CHECK(canaries.found == 0);
}

TEST_CASE("checklist: wiping: a protocol that has failed holds no secret, though it still exists") {
  const Key& key = shared_key(2, 3);
  SeededRandom random(36);
  const Digest digest = digest_of("failed");
  canaries = {};
  add_key_canaries(key);
  live = {};
  live.tracking = true;
  std::vector<std::unique_ptr<Protocol>> protocols;
  protocols.push_back(
      make_renewal({key.at(1).record, as_view(key.at(1).secret), digest, 1, 2}, random).value());
  protocols.push_back(cosigner::make_sign(sign_parameters(key, 1, 1, digest), random).value());
  protocols.push_back(make_presign(sign_parameters(key, 1, 1, {}), random).value());
  live.search();
  CHECK(canaries.found > 0);  // the search sees what is held
  canaries.found = 0;
  for (const auto& protocol : protocols) {
    CHECK_FALSE(protocol->start({}, Digest()));
  }
  live.search();
  live.tracking = false;
  CHECK(canaries.found == 0);
}

TEST_CASE("checklist: wiping: a started signing holds no OT state towards others than its set") {
  const Key& key = shared_key(2, 3);
  SeededRandom random(37);
  const Digest digest = digest_of("outside the set");
  canaries = {};
  {
    const auto share = KeyShare<Secp256k1Group>::decode(as_view(key.at(1).secret));
    const std::array<ParticipantIndex, 1> outside{3};
    const auto states = decode_states(as_view(share->state), outside).value();
    canaries.add(states.at(3).sender.delta.expose());
    canaries.add(states.at(3).receiver.leaves.expose());
    canaries.add(states.at(3).zero_seed.expose());
  }
  live = {};
  live.tracking = true;
  const auto one = cosigner::make_sign(sign_parameters(key, 1, 1, digest), random).value();
  const auto two = cosigner::make_sign(sign_parameters(key, 2, 1, digest), random).value();
  live.search();
  CHECK(canaries.found > 0);
  canaries.found = 0;
  const std::vector<SetMember> set{{1, one->hello()}, {2, two->hello()}};
  CHECK(one->start(set, Digest()));
  live.search();
  live.tracking = false;
  CHECK(canaries.found == 0);
}
#endif
