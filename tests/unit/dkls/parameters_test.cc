// What no entry point of this scheme takes, whichever it is: the checks of make_sign() hold for the
// factories that lead past it.
#include <catch2/catch.hpp>

#include "tests/support/seeded_random.h"
#include "tests/unit/dkls/fixture.h"

using namespace cosigner;
using namespace cosigner::dkls23;
using namespace cosigner::dkls23::test;

TEST_CASE("signing, presigning and renewal refuse the same wrong parameters") {
  const Key& key = shared_key(2, 3);
  SeededRandom random(3);
  const Digest message = digest_of("a message");
  const auto made = [&](SignParameters parameters) {
    SignParameters without_message = parameters;
    without_message.message = {};
    auto presignatures = presign(key, {1, 2}, random);
    const std::array<bool, 4> out{
        cosigner::make_sign(parameters, random).has_value(),
        make_presign(without_message, random).has_value(),
        make_presigned_sign(parameters, std::move(presignatures.at(1)), Bytes<32>()).has_value(),
        make_renewal({.record = parameters.record,
                      .secret = parameters.secret,
                      .context = parameters.context,
                      .self = parameters.self,
                      .peer = parameters.assembler},
                     random)
            .has_value()};
    return out;
  };
  const std::array<bool, 4> all{true, true, true, true};
  const std::array<bool, 4> none{false, false, false, false};
  const SignParameters good = sign_parameters(key, 1, 2, message);
  CHECK(made(good) == all);
  const auto refused = [&](const char* what, auto change) {
    CAPTURE(what);
    SignParameters bad = good;
    change(bad);
    CHECK(made(bad) == none);
  };
  refused("threshold 1", [](auto& p) { p.record.threshold = 1; });
  refused("threshold above n", [](auto& p) { p.record.threshold = 4; });
  refused("another scheme", [](auto& p) { p.record.scheme = Scheme::kEd25519; });
  refused("unsorted shares",
          [](auto& p) { std::swap(p.record.public_shares[0], p.record.public_shares[1]); });
  refused("a repeated index", [](auto& p) { p.record.public_shares[1].first = 1; });
  refused("we are no participant", [](auto& p) { p.self = 9; });
  refused("the other is no participant", [](auto& p) { p.assembler = 9; });
  refused("index 0", [](auto& p) { p.assembler = 0; });
}
