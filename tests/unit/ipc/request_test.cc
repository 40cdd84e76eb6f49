// Requests: their bytes, and what one altered byte does.

#include "ipc/request.h"

#include <functional>

#include "crypto/base/hash.h"
#include "ipc/names.h"
#include "ipc/pack.h"
#include "tests/support/owned_envelope.h"
#include "tests/unit/ipc/request_examples.h"

using namespace cosigner;
using namespace cosigner::test;

TEST_CASE("a request goes round, and the README's example holds byte for byte") {
  const IdentityKey key = key_of(0x11);
  for (const Request& request : {sign_example(key), keygen_example(key), path_example(key)}) {
    const ByteVector bytes = encode_request(request);
    REQUIRE(decode_request(bytes));
    CHECK(*decode_request(bytes) == request);
    const auto signed_request = sign_request(request, key);
    REQUIRE(signed_request);
    const InitiatorTable initiators = table_of(key);  // outlives `checked`, which points into it
    const auto checked = check_request(signed_request->envelope, "demo", kNow, initiators);
    REQUIRE(checked);
    CHECK(checked->request == request);
    CHECK(checked->session == signed_request->session);
    CHECK(checked->initiator->name == "client");
  }
  const auto example = sign_request(sign_example(key), key);
  CHECK(to_hex(key.public_key()) ==
        "d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c9778737");
  CHECK(to_hex(encode_request(sign_example(key))) ==
        "8ba776657273696f6e01a7636c7573746572a464656d6fa9696e69746961746f72c420d04ab232742bb4ab3a13"
        "68bd4615e4e6d0224ab71a016baf8520a332c9778737a26f70a47369676ea475736572a5616c696365a36b6579"
        "a46d61696ea6736368656d65a765643235353139a26964c41022222222222222222222222222222222a9697373"
        "7565645f6174cf000001a0c4506c00aa657870697265735f6174cf000001a0c4515660a76d657373616765c405"
        "68656c6c6f");
  CHECK(to_hex(example->session) ==
        "4040cf2f321646f7df1b57112839aace45dd003258f20557566ff3d35686e21d");
  CHECK(to_hex(key.sign(example->session)) ==
        "0973663ea78e1f0e5eac336b34c2f2c712a5ec4f31a824794a825a0cf7312cccdb79d1a1100209367bcaf95740"
        "bb4afdd5c2dae1da2ad1a866adaa425811580a");
  CHECK(to_hex(example->envelope) ==
        "82a772657175657374c4b98ba776657273696f6e01a7636c7573746572a464656d6fa9696e69746961746f72c4"
        "20d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c9778737a26f70a47369676ea4757365"
        "72a5616c696365a36b6579a46d61696ea6736368656d65a765643235353139a26964c410222222222222222222"
        "22222222222222a96973737565645f6174cf000001a0c4506c00aa657870697265735f6174cf000001a0c45156"
        "60a76d657373616765c40568656c6c6faa7369676e61747572657391c460d04ab232742bb4ab3a1368bd4615e4"
        "e6d0224ab71a016baf8520a332c97787370973663ea78e1f0e5eac336b34c2f2c712a5ec4f31a824794a825a0c"
        "f7312cccdb79d1a1100209367bcaf95740bb4afdd5c2dae1da2ad1a866adaa425811580a");
  CHECK(to_hex(TaggedHash(tag::kUserSubject).part("demo").part("alice").finish()) ==
        "468e224c65c8b066d192e70b90b4c83d19dc2128c7f8e5cb6814d8587cd7ecfb");
  CHECK(user_subject_token("demo", "alice") == "i2hcetdfzcygnums44fzbngihum5yiji");
}

TEST_CASE("every altered byte of an envelope is a typed error") {
  const IdentityKey key = key_of(1);
  const InitiatorTable table = table_of(key);
  for (const Request& request : {sign_example(key), keygen_example(key), path_example(key)}) {
    const ByteVector good = sign_request(request, key)->envelope;
    REQUIRE(check_request(good, "demo", kNow, table));
    for (std::size_t i = 0; i < good.size(); ++i) {
      for (int bit = 0; bit < 8; ++bit) {
        ByteVector bad = good;
        bad[i] = static_cast<std::uint8_t>(bad[i] ^ (1U << bit));
        const ErrorCode code = code_of(check_request(bad, "demo", kNow, table));
        CHECK((code == ErrorCode::kBadRequest || code == ErrorCode::kUnauthorized ||
               code == ErrorCode::kUnsupportedVersion));
      }
      CHECK(code_of(check_request(ByteView(good).first(i), "demo", kNow, table)) ==
            ErrorCode::kBadRequest);
    }
    ByteVector longer = good;
    longer.push_back(0xc0);
    CHECK(code_of(check_request(longer, "demo", kNow, table)) == ErrorCode::kBadRequest);
  }
}

TEST_CASE("every field that is altered after signing is unauthorized") {
  const IdentityKey key = key_of(1);
  const InitiatorTable table = table_of(key);
  const std::vector<std::function<void(Request&)>> alterations = {
      [](Request& r) { r.user = "bob"; },
      [](Request& r) { r.key = "other"; },
      [](Request& r) { r.scheme = Scheme::kEcdsaSecp256k1; },
      [](Request& r) { r.id.data[0] ^= 1; },
      [](Request& r) { r.issued_at_ms -= 1; },
      [](Request& r) { r.expires_at_ms += 1; },
      [](Request& r) { r.threshold = 3; },
      [](Request& r) { r.participants[0] = "node0"; },
      [](Request& r) { r.participants.pop_back(); },
      [](Request& r) {
        r.operation = Operation::kSign;
        r.message = {1};
      },
  };
  const Request good = keygen_example(key);
  const auto signed_request = sign_request(good, key);
  const auto envelope = envelope_of(signed_request->envelope);
  for (const auto& alter : alterations) {
    Request bad = good;
    alter(bad);
    Envelope other = envelope;
    other.request = encode_request(bad);
    CHECK(code_of(check_request(encode_envelope(other), "demo", kNow, table)) ==
          ErrorCode::kUnauthorized);
  }
}

TEST_CASE("the path is signed: altered, lengthened, shortened or left out, it is unauthorized") {
  const IdentityKey key = key_of(1);
  const InitiatorTable table = table_of(key);
  const Request good = path_example(key);
  const auto envelope = envelope_of(sign_request(good, key)->envelope);
  for (const bip32::Path& path :
       {bip32::Path{44, 60, 0, 0, 6}, bip32::Path{44, 60, 0, 0}, bip32::Path{44, 60, 0, 0, 5, 0},
        bip32::Path{60, 44, 0, 0, 5}, bip32::Path{}}) {
    Request bad = good;
    bad.path = path;
    Envelope other = envelope;
    other.request = encode_request(bad);
    CHECK(code_of(check_request(encode_envelope(other), "demo", kNow, table)) ==
          ErrorCode::kUnauthorized);
  }
}

TEST_CASE("a request for presignatures: every field is signed, and who may ask is the policy's") {
  const IdentityKey key = key_of(1);
  const Request good = presign_example(key);
  CHECK(decode_request(encode_request(good)) == good);
  const auto signed_request = sign_request(good, key);
  const auto envelope = envelope_of(signed_request->envelope);
  const std::vector<std::function<void(Request&)>> alterations = {
      [](Request& r) { r.count = 101; },
      [](Request& r) { r.key = "other"; },
      [](Request& r) { r.user = "bob"; },
      [](Request& r) {
        r.operation = Operation::kSign;
        r.message.assign(32, 1);
      },
  };
  for (const auto& alter : alterations) {
    Request bad = good;
    alter(bad);
    Envelope other = envelope;
    other.request = encode_request(bad);
    CHECK(code_of(check_request(encode_envelope(other), "demo", kNow, table_of(key))) ==
          ErrorCode::kUnauthorized);
  }
  CHECK(check_request(signed_request->envelope, "demo", kNow, table_of(key, {"presign"})));
  CHECK(code_of(check_request(signed_request->envelope, "demo", kNow, table_of(key, {"sign"}))) ==
        ErrorCode::kDenied);
}

TEST_CASE("unknown, repeated, missing and foreign fields, other versions and operations") {
  const IdentityKey key = key_of(1);
  const InitiatorTable table = table_of(key);
  const auto entries = [&](const std::function<void(ipc::MapPacker&)>& write) {
    ipc::MapPacker out;
    write(out);
    return out.finish();
  };
  const auto common = [&](ipc::MapPacker& out, std::uint64_t version, const char* op,
                          const char* scheme) {
    out.unsigned_integer("version", version)
        .text("cluster", "demo")
        .bytes("initiator", key.public_key())
        .text("op", op)
        .text("user", "alice")
        .text("key", "main")
        .text("scheme", scheme)
        .bytes("id", ByteVector(16))
        .unsigned_integer("issued_at", kNow)
        .unsigned_integer("expires_at", kNow + 1000);
  };
  const auto code = [&](const std::function<void(ipc::MapPacker&)>& write) {
    const auto result = check_request(envelope_over(entries(write), key), "demo", kNow, table);
    return result ? std::string("ok") : std::string(error_name(result.error().code));
  };
  CHECK(code([&](auto& m) {
          common(m, 1, "sign", "ed25519");
          m.bytes("message", {});
        }) == "ok");
  CHECK(code([&](auto& m) {
          common(m, 2, "sign", "ed25519");
          m.bytes("message", {});
        }) == "unsupported_version");
  CHECK(code([&](auto& m) {
          common(m, 1, "burn", "ed25519");
          m.bytes("message", {});
        }) == "bad_request");
  CHECK(code([&](auto& m) {
          common(m, 1, "sign", "rsa");
          m.bytes("message", {});
        }) == "bad_request");
  CHECK(code([&](auto& m) { common(m, 1, "sign", "ed25519"); }) == "bad_request");
  CHECK(code([&](auto& m) {
          common(m, 1, "sign", "ed25519");
          m.text("message", "text, not binary");
        }) == "bad_request");
  CHECK(code([&](auto& m) {
          common(m, 1, "sign", "ed25519");
          m.bytes("message", {}).unsigned_integer("threshold", 2);  // a keygen field
        }) == "bad_request");
  CHECK(code([&](auto& m) {
          common(m, 1, "sign", "ed25519");
          m.bytes("message", {}).text("note", "hi");
        }) == "bad_request");
  for (const auto& [path, verdict] :
       std::vector<std::pair<std::string, std::string>>{{"m", "ok"},
                                                        {"m/0", "ok"},
                                                        {"m/2147483647/0", "ok"},
                                                        {"", "bad_request"},
                                                        {"0/1", "bad_request"},
                                                        {"m/", "bad_request"},
                                                        {"m/01", "bad_request"},
                                                        {"m/0'", "bad_request"},
                                                        {"m/2147483648", "bad_request"},
                                                        {"m/-1", "bad_request"}}) {
    INFO(path);
    CHECK(code([&, &text = path](auto& m) {
            common(m, 1, "sign", "ecdsa-secp256k1");
            m.bytes("message", ByteVector(32)).text("path", text);
          }) == verdict);
  }
  CHECK(
      code([&](auto& m) {
        common(m, 1, "keygen", "ecdsa-secp256k1");
        ipc::ArrayPacker nodes;
        nodes.next().text("node1");
        nodes.next().text("node2");
        m.unsigned_integer("threshold", 2).raw("participants", nodes.finish()).text("path", "m/0");
      }) == "bad_request");
  CHECK(code([&](auto& m) {
          common(m, 1, "sign", "ed25519");
          m.bytes("message", {}).bytes("message", {});
        }) == "bad_request");
  CHECK(code([&](auto& m) { m.null("version"); }) == "bad_request");
}
