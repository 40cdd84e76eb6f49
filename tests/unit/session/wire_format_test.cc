// The bytes between two nodes, as this release writes them. Nodes of two releases work together
// only as far as these stay: a change of format that nobody meant fails here.

#include <catch2/catch.hpp>

#include "crypto/identity/certificate.h"
#include "ipc/key_record.h"
#include "worker/session/message_fields.h"
#include "worker/session/packet.h"
#include "worker/session/rendezvous.h"
#include "worker/session/session_messages.h"

using namespace cosigner;
using namespace cosigner::worker;

namespace {

/// `first`, `first` + 1, …: a value in which no two bytes can change places unseen.
template <class B>
B counting(std::uint8_t first) {
  B out;
  for (std::uint8_t& byte : out.data) {
    byte = first++;
  }
  return out;
}

constexpr std::string_view kFrom00 =
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
constexpr std::string_view kFrom20 =
    "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f";
constexpr std::string_view kFrom40 =
    "404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f";
constexpr std::string_view kFrom60 =
    "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f";
constexpr std::string_view kFrom80 =
    "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"
    "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf";

std::string joined(std::initializer_list<std::string_view> parts) {
  std::string out;
  for (const std::string_view part : parts) {
    out += part;
  }
  return out;
}

Hello hello() {
  Hello out;
  out.session = counting<SessionId>(0x00);
  out.attempt = 0x0102;
  out.run = 0x0304050607080910;
  out.node = "node1";
  out.generation = 0x1112131415161718;
  out.key = "main";
  out.epoch = 0x2122232425262728;
  out.record = counting<Digest>(0x20);
  out.nonce = counting<Bytes<32>>(0x40);
  out.payload = {0xaa, 0xbb, 0xcc};
  out.banned = {"node2", "n3"};
  out.pairs = {{2, counting<Bytes<8>>(0x60)}, {3, counting<Bytes<8>>(0x70)}};
  out.presignatures = 0x31323334;
  return out;
}

const std::string kHello = joined({"0101",                // version_low, version_high
                                   kFrom00,               // session
                                   "0102",                // attempt
                                   "0304050607080910",    // run
                                   "000000056e6f646531",  // node
                                   "1112131415161718",    // generation
                                   "000000046d61696e",    // key
                                   "2122232425262728",    // epoch
                                   kFrom20,               // record
                                   kFrom40,               // nonce
                                   "00000003aabbcc",      // payload
                                   "0002000000056e6f646532000000026e33",  // banned
                                   "0002"                                 // pairs
                                   "00026061626364656667"
                                   "00037071727374757677",
                                   "31323334"});  // presignatures

SignedHello signed_hello() {
  return {.certificate = {0xce, 0x57},
          .body = encode_fields(hello()),
          .signature = counting<Ed25519Signature>(0x80)};
}

const std::string kSignedHello =
    joined({"00000002ce57", "000000bf", kHello, kFrom80});  // certificate, body, signature

}  // namespace

#define CHECK_FORMAT(encoded, expected)                                                       \
  do {                                                                                        \
    INFO(                                                                                     \
        "the bytes between two nodes have changed: if that is meant, raise kProtocolHigh "    \
        "(hello.h), keep what kProtocolLow promises, and only then write the new ones here"); \
    CHECK(to_hex(encoded) == (expected));                                                     \
  } while (false)

TEST_CASE("wire format: the versions that these bytes are of") {
  CHECK(kPacketVersion == 1);
  CHECK(kProtocolLow == 1);
  CHECK(kProtocolHigh == 1);
}

TEST_CASE("wire format: hello") {
  const ByteVector packet = encode_hello_packet(signed_hello());
  CHECK_FORMAT(packet, joined({"0101", kSignedHello}));  // packet version, kind
  const auto read = decode_hello_packet(packet);
  REQUIRE(read);
  CHECK(*read == signed_hello());
  const auto body = decode_fields<Hello>(read->body);
  REQUIRE(body);
  CHECK(encode_fields(*body) == read->body);
  // What the signature is over.
  CHECK_FORMAT(hello_digest("demo", "alice", read->body),
               "97ccf6bf7214fb309e0852aebc98a2981eee3800f96068d610cdb38e63c79449");
}

TEST_CASE("wire format: start") {
  Start start{.session = counting<SessionId>(0x00),
              .attempt = 0x0102,
              .hellos = {signed_hello(), signed_hello()},
              .presignature = counting<Digest>(0x20)};
  CHECK_FORMAT(encode_message(start),
               joined({"01",                                // kind
                       kFrom00,                             // session
                       "0102",                              // attempt
                       "0002", kSignedHello, kSignedHello,  // hellos
                       kFrom20}));                          // presignature
}

TEST_CASE("wire format: round") {
  const Round round{.session = counting<SessionId>(0x00),
                    .attempt = 0x0102,
                    .start = counting<Bytes<8>>(0x20),
                    .round = 3,
                    .payload = {0xaa, 0xbb}};
  CHECK_FORMAT(encode_message(round), joined({"02",                // kind
                                              kFrom00,             // session
                                              "0102",              // attempt
                                              "2021222324252627",  // start
                                              "03",                // round
                                              "00000002aabb"}));   // payload
}

TEST_CASE("wire format: commit certificate") {
  const std::vector<Acknowledgement> all{
      {.node = "node1", .generation = 7, .signature = counting<Ed25519Signature>(0x80)},
      {.node = "node2",
       .generation = 0x1112131415161718,
       .signature = counting<Ed25519Signature>(0x80)}};
  const ByteVector certificate = encode_commit_certificate(all);
  const std::string node = "83a46e6f6465a5";  // a map of three, "node", five characters
  const std::string generation = "aa67656e65726174696f6e";
  const std::string signature = "a97369676e6174757265c440";
  const std::string inner =
      joined({"92",                                                      // an array of two
              node, "6e6f646531", generation, "07", signature, kFrom80,  //
              node, "6e6f646532", generation, "cf1112131415161718", signature, kFrom80});
  CHECK_FORMAT(certificate, inner);
  const CommitCertificate message{.session = counting<SessionId>(0x00),
                                  .key = "main",
                                  .epoch = 0x2122232425262728,
                                  .digest = counting<Digest>(0x20),
                                  .certificate = certificate};
  CHECK_FORMAT(encode_message(message), joined({"08",                // kind
                                                kFrom00,             // session
                                                "000000046d61696e",  // key
                                                "2122232425262728",  // epoch
                                                kFrom20,             // digest
                                                "000000d1", inner}));
  const auto read = decode_commit_certificate(certificate);
  REQUIRE(read);
  CHECK(*read == all);
}

TEST_CASE("wire format: a worker's certificate") {
  const Certificate certificate{.cluster = "demo",
                                .node = "node1",
                                .role = CertificateRole::kWorker,
                                .user = "alice",
                                .generation = 0x1112131415161718,
                                .x25519 = counting<X25519PublicKey>(0x00),
                                .ed25519 = counting<Ed25519PublicKey>(0x20),
                                .not_before = 0x2122232425262728,
                                .not_after = 0x3132333435363738,
                                .signature = counting<Ed25519Signature>(0x80)};
  CHECK_FORMAT(encode_certificate(certificate), joined({"01",                  // version
                                                        "0000000464656d6f",    // cluster
                                                        "000000056e6f646531",  // node
                                                        "01",                  // role
                                                        "00000005616c696365",  // user
                                                        "1112131415161718",    // generation
                                                        kFrom00,               // x25519
                                                        kFrom20,               // ed25519
                                                        "2122232425262728",    // not_before
                                                        "3132333435363738",    // not_after
                                                        kFrom80}));            // signature
  CHECK_FORMAT(certificate_digest(certificate),
               "43798f0bb4884ebb2d7a94eb0322a9f0fa23a4fe5c5c116fed98980ded04dac6");
}

TEST_CASE("wire format: sealed packets and greetings") {
  CHECK_FORMAT(sealed_header(0x1112131415161718, 0x2122232425262728, ByteVector{0xce, 0x57}),
               "010211121314151617182122232425262728"
               "00000002ce57");
  const SecretVector contents =
      encode_contents(true, {1, 0x1112131415161718}, {{0xaa}, {0xbb, 0xcc}});
  CHECK_FORMAT(ByteView(contents),
               "01"                                    // an acknowledgement is wanted
               "000200000000000000011112131415161718"  // acknowledged
               "000200000001aa00000002bbcc");          // messages
  CHECK_FORMAT(encode_greeting(true, ByteVector{0xce, 0x57}), "01030100000002ce57");
}

TEST_CASE("wire format: what a protocol binds itself to") {
  const AttemptScope scope{.cluster = "demo",
                           .user = "alice",
                           .key = "main",
                           .epoch = 5,
                           .session = counting<SessionId>(0x00),
                           .attempt = 2};
  const std::vector<Participant> participants{{1, "node1"}, {2, "node2"}, {3, "node3"}};
  CHECK_FORMAT(attempt_context(scope, Scheme::kEcdsaSecp256k1, 2, participants),
               "8b6467efc2403a8a91a816d2cab03a2571b1ca6a7193da091bc93e6df1a387c4");
  CHECK_FORMAT(attempt_context(scope, Scheme::kEd25519, 2, participants,
                               {counting<Ed25519PublicKey>(0x00), counting<Ed25519PublicKey>(0x20),
                                counting<Ed25519PublicKey>(0x40)}),
               "9afb1c5d1e91b3a9fc80e5c140231f6fabadde5247b7582d9d5f790a09e7c64d");
  CHECK_FORMAT(hello_set_digest(scope, {signed_hello(), signed_hello()}),
               "4f2049e1adbf7d91b7fff41d7cd18e3dd946465ff3e97f6722ecba67c5b509f1");
  const CoordinatorOrder order(scope.session, participants);
  CHECK(order.of(0) == "node3");
  CHECK(order.of(1) == "node1");
  CHECK(order.of(2) == "node2");
}
