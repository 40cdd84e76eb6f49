// The pairwise protocols against an independent, slow implementation of the same formulas (a Python
// model with its own curve, field and bit arithmetic), which emitted the values below: base OT,
// PPRF, OT extension, random VOLE. Both sides draw from the same stream, SHA256(name ‖ u64 0) ‖
// SHA256(name ‖ u64 1) ‖ …; long values are compared by their SHA-256.

#include <catch2/catch.hpp>

#include "crypto/dkls23/base_ot.h"
#include "crypto/dkls23/pprf.h"
#include "crypto/dkls23/vole.h"
#include "tests/unit/dkls/fixture.h"

using namespace cosigner;
using namespace cosigner::dkls23;

namespace {

class StreamRandom final : public Random {
 public:
  explicit StreamRandom(std::string name) : name_(std::move(name)) {}
  void fill(std::span<std::uint8_t> out) override {
    for (std::uint8_t& byte : out) {
      if (position_ == block_.data.size()) {
        const ByteVector counter = Writer().u64(counter_++).take();
        block_ = Sha256().update(as_bytes(name_)).update(counter).finish();
        position_ = 0;
      }
      byte = block_.data[position_++];
    }
  }

 private:
  std::string name_;
  std::uint64_t counter_ = 0;
  Digest block_;
  std::size_t position_ = 32;
};

struct Vector {
  const char* name;
  const char* base_ot_first;
  const char* base_ot_second;
  const char* pprf;
  const char* delta;
  const char* sender_leaves;
  const char* receiver_leaves;
  const char* ot_message;
  const char* b;
  const char* vole_message;
  const char* c[2];
  const char* d[2];
};

constexpr Vector kVectors[] = {
    {"vector 1",
     "842eb1378cb819b5be0ac6d1446e4816c160baf253ca8efb36b7b9b7437ed9d1",
     "a46ef1d58cf18135825e5b76521048a45d99425b6d3673b8b0efa0cbcd3aeacc",
     "fd51c69f7e145c63aaa89c924548e6327cb94480ad53a388fd9d1e27c5edc58e",
     "8f1757ea4c106504d7fec0e6f8c8395a",
     "c755d1005c572b8f318749964aaf5f93aea96f27753c0046d853b8122b90a7d1",
     "e26ad07cbeded0b5829caa1fbdbed5b4f2b6562d6d0a1c224dda34bdcefd0f88",
     "533b4fad2a357051270be107e085887ecc9be01852b68f6b653ce27cf147f58e",
     "ff1342c36e984ce6d95ce9a4637388d33e8a299651ac940411567bc9726d384b",
     "076e27d379c536dd724e8828becdd59f4dd669475b3b31c9745b44aa46995ec4",
     {"84acd1ea40dbb90ee1e6b4162ae76967bc36f8911c426d5ff7f998378be2c8bf",
      "8968210a13df2a9b0e0aeb5461640c59a863e98da0bb5113bfe70ed089fde219"},
     {"d91218b087430cdc1b6cf21aaf507391468bd85a39fbb03bff40eab73d2ee12f",
      "0cd036835d1a68d46ab845d10f0984ac7df3b9f1bc0d63e51297f698c833db11"}},
    {"vector 2",
     "441a22c72e4eaa07c4ffa472cb9e5bc2c1baa09b2e0c6598eeb81ea338b78de5",
     "b001f17c82b5e9752fc899503f5da6efb8e76efc78dd05e250e2904f0e8b06ac",
     "c98cb32d94142cd89ef0e8a8aefac54aa25cdd029d4f5b8159e1d25264f14ef4",
     "5edd4a49a4c1a8802da03211fbc759f7",
     "8ecd4f3557579d13edf7b2103404759ed5c8f4f04e0e84829a35f34c57eee48d",
     "083ed338498900dea7936b6a0f5fd5d01d1fa06a85a1adfb6c849e063033feec",
     "6d03b4a5f96c6423cf813ad1959a256f1738eac08606a5fc49d792d5cfdc0897",
     "2b0c3d46a8592cbbf2a919c4369fa44752aefc1a7eb1c16c72d5adc680b031e0",
     "a9ddfbe33501f542073c9c1635ef3852f7e5ce5d72f243824ae3197a4897f26b",
     {"59af4adc7c2aedba87cf694d67d32d2bb617aef72438ab5be790b16cbb8a6c8f",
      "4cbe9ee81c0b0ff58ed5511ca8da04efcffa307908cf3b6df8b3159708adbf52"},
     {"345466b449a5cf7cffbd03901cd9544ba3d8d92907ab81c9af6541e9c70cd583",
      "f2b937b76499ca68554ee95c23170d53bafd8d87eab534043d11fde93e93d287"}}};

std::string hash_hex(ByteView bytes) {
  return to_hex(Sha256().update(bytes).finish());
}
std::string hex_of(const SecretScalar& scalar) {
  return to_hex(scalar.reveal().encode());
}

}  // namespace

TEST_CASE("checklist App. F: base OT, PPRF, OT extension and VOLE equal the model, c + d = a·b") {
  for (const Vector& vector : kVectors) {
    INFO(vector.name);
    StreamRandom random(vector.name);
    const Digest sid = Sha256().update(as_bytes("sid of " + std::string(vector.name))).finish();

    const BaseOtChooser chooser(sid, random);
    CHECK(hash_hex(chooser.message()) == vector.base_ot_first);
    const auto sent = base_ot_send(sid, chooser.message(), random);
    REQUIRE(sent);
    CHECK(hash_hex(sent->reply) == vector.base_ot_second);
    const auto keys = chooser.finish(sent->reply);
    REQUIRE(keys);

    const PprfBuilt built = pprf_build(sid, sent->keys);
    CHECK(hash_hex(built.message) == vector.pprf);
    CHECK(hash_hex(built.state.leaves.expose()) == vector.receiver_leaves);
    const auto state = pprf_evaluate(sid, chooser.choices(), *keys, built.message);
    REQUIRE(state);
    CHECK(to_hex(state->delta.expose()) == vector.delta);
    CHECK(hash_hex(state->leaves.expose()) == vector.sender_leaves);

    const Gadget gadget(sid);
    const VoleReceiver receiver(sid, gadget, built.state, random);
    CHECK(hash_hex(receiver.message()) == vector.ot_message);
    CHECK(hex_of(receiver.b()) == vector.b);
    const SecretScalar a0 = SecretScalar::random(random);
    const SecretScalar a1 = SecretScalar::random(random);
    const auto answer = vole_send(sid, gadget, *state, receiver.message(), a0, a1, random);
    REQUIRE(answer);
    CHECK(hash_hex(answer->message) == vector.vole_message);
    const auto d = receiver.finish(gadget, answer->message);
    REQUIRE(d);
    for (std::size_t i = 0; i < 2; ++i) {
      CHECK(hex_of(answer->c[i]) == vector.c[i]);
      CHECK(hex_of((*d)[i]) == vector.d[i]);
      CHECK((answer->c[i] + (*d)[i]).reveal() == ((i == 0 ? a0 : a1) * receiver.b()).reveal());
    }
  }
}
