// What a request may ask for, who may ask it, and the order in which that is checked.

#include <algorithm>
#include <chrono>
#include <functional>

#include "tests/support/owned_envelope.h"
#include "tests/unit/ipc/request_examples.h"

using namespace cosigner;
using namespace cosigner::test;

TEST_CASE("a scheme without a protocol is a bad request that says which there are") {
  const IdentityKey key = key_of(1);
  for (Request request : {sign_example(key), keygen_example(key)}) {
    request.scheme = Scheme::kBip340Secp256k1;
    const auto refused = decode_request(encode_request(request));
    CHECK(code_of(refused) == ErrorCode::kBadRequest);
    CHECK(refused.error().message.ends_with("there are ed25519, ecdsa-secp256k1"));
  }
}

TEST_CASE("a request's static rules") {
  const IdentityKey key = key_of(1);
  const auto refused = [&](Request request, const std::function<void(Request&)>& alter) {
    alter(request);
    const bool invalid = !validate_request(request);
    const bool not_decoded = !decode_request(encode_request(request));
    CHECK(invalid == not_decoded);
    return invalid;
  };
  const Request sign = sign_example(key);
  const Request keygen = keygen_example(key);
  CHECK_FALSE(refused(sign, [](Request&) {}));
  CHECK(refused(sign, [](Request& r) { r.cluster = "Demo"; }));
  CHECK(refused(sign, [](Request& r) { r.cluster = ""; }));
  CHECK(refused(sign, [](Request& r) { r.user = ""; }));
  CHECK(refused(sign, [](Request& r) { r.user = "a b"; }));
  CHECK(refused(sign, [](Request& r) { r.user = std::string(129, 'a'); }));
  CHECK_FALSE(refused(sign, [](Request& r) { r.user = std::string(128, 'a'); }));
  CHECK(refused(sign, [](Request& r) { r.key = std::string(65, 'a'); }));
  CHECK(refused(sign, [](Request& r) { r.expires_at_ms = r.issued_at_ms; }));
  CHECK(refused(sign, [](Request& r) { r.expires_at_ms = r.issued_at_ms + 3'600'001; }));
  CHECK_FALSE(refused(sign, [](Request& r) { r.expires_at_ms = r.issued_at_ms + 3'600'000; }));
  CHECK_FALSE(refused(sign, [](Request& r) { r.message.clear(); }));
  CHECK_FALSE(refused(sign, [](Request& r) { r.message.assign(kMaxMessageBytes, 0); }));
  CHECK(refused(sign, [](Request& r) { r.message.assign(kMaxMessageBytes + 1, 0); }));
  CHECK(refused(sign, [](Request& r) { r.scheme = Scheme::kEcdsaSecp256k1; }));
  CHECK_FALSE(refused(sign, [](Request& r) {
    r.scheme = Scheme::kEcdsaSecp256k1;
    r.message.assign(32, 0);
  }));
  const Request path = path_example(key);
  CHECK_FALSE(refused(path, [](Request&) {}));
  CHECK_FALSE(refused(path, [](Request& r) { r.path.assign(255, bip32::kHardened - 1); }));
  CHECK(refused(path, [](Request& r) { r.path.assign(256, 0); }));
  CHECK(refused(path, [](Request& r) { r.path.back() = bip32::kHardened; }));
  CHECK(refused(path, [](Request& r) { r.scheme = Scheme::kEd25519; }));
  const Request presign = presign_example(key);
  CHECK_FALSE(refused(presign, [](Request&) {}));
  CHECK_FALSE(refused(presign, [](Request& r) { r.count = kMaxPresignCount; }));
  CHECK(refused(presign, [](Request& r) { r.count = kMaxPresignCount + 1; }));
  CHECK(refused(presign, [](Request& r) { r.count = 0; }));
  CHECK(refused(presign, [](Request& r) { r.scheme = Scheme::kEd25519; }));
  CHECK_FALSE(refused(keygen, [](Request&) {}));
  CHECK(refused(keygen, [](Request& r) { r.threshold = 1; }));
  CHECK(refused(keygen, [](Request& r) { r.threshold = 4; }));
  CHECK(refused(keygen, [](Request& r) { r.participants = {"node1"}; }));
  CHECK(refused(keygen, [](Request& r) { r.participants = {"node2", "node1", "node3"}; }));
  CHECK(refused(keygen, [](Request& r) { r.participants = {"node1", "node1", "node3"}; }));
  CHECK(refused(keygen, [](Request& r) { r.participants = {"node1", "none"}; }));
  CHECK(refused(keygen, [](Request& r) { r.participants = {"all", "node1"}; }));
  CHECK(refused(keygen, [](Request& r) {
    r.participants.clear();
    for (char c = 'a'; c <= 'z'; ++c) {
      r.participants.push_back(std::string("a") + c);
      r.participants.push_back(std::string("b") + c);
    }
    std::ranges::sort(r.participants);
  }));
}

TEST_CASE("who may ask for what, and when: the order of the checks") {
  const IdentityKey key = key_of(1);
  const IdentityKey stranger = key_of(2);
  const Request request = sign_example(key);
  const ByteVector good = sign_request(request, key)->envelope;
  const auto code = [&](ByteView envelope, const InitiatorTable& table, std::uint64_t now = kNow,
                        const char* cluster = "demo") {
    const auto result = check_request(envelope, cluster, now, table);
    return result ? std::string("ok") : std::string(error_name(result.error().code));
  };
  CHECK(code(good, table_of(key)) == "ok");
  CHECK(code(good, table_of(key), kNow, "other") == "bad_request");
  CHECK(code(good, table_of(stranger)) == "unauthorized");
  CHECK(code(good, InitiatorTable()) == "unauthorized");
  CHECK(code(good, table_of(key, {"keygen"})) == "denied");
  CHECK(code(good, table_of(key, {})) == "denied");
  CHECK(code(good, table_of(key, {"sign"}, {"bob"})) == "denied");
  CHECK(code(good, table_of(key, {"sign"}, {"al*"})) == "ok");
  CHECK(code(good, table_of(key, {"sign"}, {"bob", "alice"})) == "ok");
  // The clock, after authorisation; the expiry is a step of its own.
  CHECK(code(good, table_of(key), kNow - 60'000) == "ok");
  CHECK(code(good, table_of(key), kNow - 60'001) == "bad_request");
  CHECK(code(good, table_of(stranger), kNow - 60'001) == "unauthorized");
  CHECK(code(good, table_of(key), kNow + 1'000'000) == "ok");
  CHECK(check_expiry(request, kNow + 59'999));
  CHECK(code_of(check_expiry(request, kNow + 60'000)) == ErrorCode::kExpired);

  // Signatures: none, the wrong first, a stranger's beside, twice the same, one that is no good.
  Envelope envelope = envelope_of(good);
  const SessionId session = session_id(envelope.request);
  const RequestSignature own = envelope.signatures[0];
  const RequestSignature foreign{stranger.public_key(), stranger.sign(session)};
  const auto with = [&](std::vector<RequestSignature> signatures) {
    envelope.signatures = std::move(signatures);
    return encode_envelope(envelope);
  };
  const InitiatorTable both(
      {ipc::Initiator{.name = "a", .key = key.public_key(), .operations = {"*"}, .users = {"*"}},
       ipc::Initiator{
           .name = "b", .key = stranger.public_key(), .operations = {"*"}, .users = {"*"}}});
  CHECK(code(with({}), both) == "unauthorized");
  CHECK(code(with({foreign}), both) == "unauthorized");
  CHECK(code(with({foreign, own}), both) == "unauthorized");
  CHECK(code(with({own, foreign}), both) == "ok");
  CHECK(code(with({own, foreign}), table_of(key)) == "unauthorized");
  CHECK(code(with({own, own}), both) == "bad_request");
  CHECK(code(with({own, {stranger.public_key(), own.signature}}), both) == "unauthorized");
  CHECK(code(with(std::vector<RequestSignature>(17, own)), both) == "bad_request");
  CHECK(code_of(view_envelope(good, good.size() - 1)) == ErrorCode::kBadRequest);
  CHECK(code_of(sign_request(request, stranger)) == ErrorCode::kBadRequest);

  CHECK(session_of_refused(good) == session);
  const ByteView request_bytes = view_envelope(good, good.size())->request;
  CHECK(std::ranges::equal(request_bytes, envelope.request));
  const auto offset = request_bytes.data() - good.data();  // it points into what was read
  CHECK((offset > 0 && static_cast<std::size_t>(offset) + request_bytes.size() < good.size()));
  CHECK(session_of_refused(as_bytes("junk")) == session_id(as_bytes("junk")));
}

TEST_CASE("a good request is checked quickly") {
  const IdentityKey key = key_of(1);
  const InitiatorTable table = table_of(key);
  const ByteVector good = sign_request(sign_example(key), key)->envelope;
  const int count = 200;
  double best = 1e9;  // the best of several: other programs share the processor
  for (int round = 0; round < 10; ++round) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < count; ++i) {
      REQUIRE(check_request(good, "demo", kNow, table));
    }
    const auto elapsed = std::chrono::steady_clock::now() - start;
    best = std::min(best, std::chrono::duration<double, std::micro>(elapsed).count() / count);
  }
  INFO("check_request: " << best << " µs");
#ifndef COSIGNER_SANITIZED
  CHECK(best < 400);  // 45 µs measured with -O2, most of it one Ed25519 verification
#endif
}
