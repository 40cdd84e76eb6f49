// Answer envelopes as a client gets them, answers, key records and commit certificates.

#include "ipc/answer.h"
#include "ipc/client_rules.h"
#include "tests/fuzz/require.h"
#include "tests/support/seeded_random.h"

using namespace cosigner;

namespace {

// One set of rules for all inputs: what no node signed must never settle it.
ClientRules& rules() {
  static ClientRules instance = [] {
    ClientExpectation expectation;
    expectation.cluster = "demo";
    SeededRandom random(7);
    for (const char* node : {"node1", "node2", "node3"}) {
      expectation.nodes.push_back({node, IdentityKey::generate(random).public_key()});
    }
    expectation.request.cluster = "demo";
    expectation.request.user = "alice";
    expectation.request.key = "main";
    return ClientRules(expectation);
  }();
  return instance;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input(data, size);
  if (const auto envelope = decode_answer_envelope(input)) {
    const auto again = decode_answer_envelope(encode_answer_envelope(*envelope));
    fuzz::require(again.has_value() && *again == *envelope);
  }
  if (const auto answer = decode_answer(input)) {
    const auto again = decode_answer(encode_answer(*answer));
    fuzz::require(again.has_value() && *again == *answer);
  }
  if (const auto record = decode_key_record(input)) {
    fuzz::require(std::ranges::equal(encode_key_record(*record), input));
  }
  if (const auto all = decode_commit_certificate(input)) {
    const auto again = decode_commit_certificate(encode_commit_certificate(*all));
    fuzz::require(again.has_value() && *again == *all);
  }
  fuzz::require(!rules().feed(input, 1'790'000'000) && !rules().settled());
  return 0;
}
