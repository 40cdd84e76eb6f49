// What ECDSA adds to cosignerctl: hashes, forms of a signature, keys for addresses.

#include <catch2/catch.hpp>

#include "crypto/secp256k1/ecdsa.h"
#include "supervisor/ctl/key_points.h"
#include "supervisor/ctl/message_hash.h"
#include "supervisor/ctl/signature_format.h"

namespace cosigner::ctl {
namespace {

constexpr Scheme kEcdsa = Scheme::kEcdsaSecp256k1;

std::string hashed(MessageHash hash, std::string_view message) {
  return to_hex(hash_message(hash, as_bytes(message)));
}

/// r = 0x8001…01, s = 0x0101…01 (low), recovery id 1.
ByteVector example_signature() {
  ByteVector out(65, 0x01);
  out[0] = 0x80;  // r needs a leading zero in DER
  out[64] = 1;
  return out;
}

std::string written(Scheme scheme, const ByteVector& signature, const std::string& format,
                    const std::string& encoding) {
  const auto parsed = parse_signature_format(format, encoding);
  REQUIRE(parsed);
  const auto out = write_signature(scheme, signature, *parsed);
  REQUIRE(out);
  return *out;
}

ExitStatus refused(const std::string& format, const std::string& encoding) {
  const auto parsed = parse_signature_format(format, encoding);
  REQUIRE_FALSE(parsed);
  return parsed.error().status;
}

Outcome<ByteVector> to_sign(Scheme scheme, std::size_t size, bool is_digest,
                            std::optional<MessageHash> hash) {
  return message_to_sign({.source = {}, .is_digest = is_digest, .hash = hash}, scheme,
                         ByteVector(size, 0x61));
}

}  // namespace

TEST_CASE("message hashes agree with published vectors") {
  // FIPS 180-4; Ethereum's empty-code hash and the Keccak team's "abc"; Bitcoin's hash of "hello".
  CHECK(hashed(MessageHash::kSha256, "abc") ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(hashed(MessageHash::kKeccak256, "") ==
        "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
  CHECK(hashed(MessageHash::kKeccak256, "abc") ==
        "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45");
  CHECK(hashed(MessageHash::kKeccak256, "Transfer(address,address,uint256)") ==
        "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");
  CHECK(hashed(MessageHash::kSha256d, "hello") ==
        "9595c9df90075148eb06860365df33584b75bff782a510c6cd4883a419833d50");
  CHECK(message_hash_from_name("keccak256") == MessageHash::kKeccak256);
  CHECK(message_hash_from_name("sha256d") == MessageHash::kSha256d);
  CHECK(message_hash_from_name("sha256") == MessageHash::kSha256);
  CHECK_FALSE(message_hash_from_name("sha3"));
}

TEST_CASE("ECDSA signs a digest, given as one or made, Ed25519 signs what it is given") {
  CHECK(to_sign(kEcdsa, 32, true, std::nullopt).value() == ByteVector(32, 0x61));
  CHECK(to_sign(kEcdsa, 32, false, MessageHash::kSha256d).value() ==
        to_vector(hash_message(MessageHash::kSha256d, ByteVector(32, 0x61))));
  CHECK(to_sign(kEcdsa, 3, false, MessageHash::kSha256).value() ==
        to_vector(hash_message(MessageHash::kSha256, as_bytes("aaa"))));
  for (const std::size_t size : {0U, 31U, 33U, 64U}) {
    CHECK(to_sign(kEcdsa, size, true, std::nullopt).error().status == ExitStatus::kUsage);
  }
  // A message that happens to be as long as a digest is no digest.
  for (const std::size_t size : {0U, 31U, 32U, 33U, 64U}) {
    CHECK(to_sign(kEcdsa, size, false, std::nullopt).error().status == ExitStatus::kUsage);
  }
  CHECK(to_sign(kEcdsa, 32, true, MessageHash::kSha256).error().status == ExitStatus::kUsage);
  CHECK(to_sign(Scheme::kEd25519, 7, false, std::nullopt).value() == ByteVector(7, 0x61));
  CHECK(to_sign(Scheme::kEd25519, 32, true, std::nullopt).error().status == ExitStatus::kUsage);
  CHECK(to_sign(Scheme::kEd25519, 32, false, MessageHash::kSha256).error().status ==
        ExitStatus::kUsage);
}

TEST_CASE("an ECDSA signature goes out as der, raw or rsv, in bytes or text") {
  const ByteVector whole = example_signature();
  const std::string hex = to_hex(whole);
  const std::string raw = hex.substr(0, 128);
  const std::string der =
      "3045022100" + raw.substr(0, 64) + "0220" + raw.substr(64);  // r ≥ 2^255: a zero before it
  CHECK(written(kEcdsa, whole, "", "") == hex + "\n");
  CHECK(written(kEcdsa, whole, "hex", "") == hex + "\n");
  CHECK(written(kEcdsa, whole, "rsv", "hex") == hex + "\n");
  CHECK(written(kEcdsa, whole, "rsv", "") == as_text(whole));
  CHECK(written(kEcdsa, whole, "", "binary") == as_text(whole));
  CHECK(written(kEcdsa, whole, "raw", "") == as_text(ByteView(whole).first(64)));
  CHECK(written(kEcdsa, whole, "raw", "hex") == raw + "\n");
  CHECK(written(kEcdsa, whole, "der", "hex") == der + "\n");
  CHECK(written(kEcdsa, whole, "der", "binary") == as_text(*from_hex(der)));
  CHECK(write_signature(kEcdsa, ByteVector(64), {}).error().status == ExitStatus::kRefused);
}

TEST_CASE("an Ed25519 signature has one form") {
  const ByteVector signature(64, 0xab);
  CHECK(written(Scheme::kEd25519, signature, "raw", "") == as_text(signature));
  CHECK(written(Scheme::kEd25519, signature, "raw", "hex") == to_hex(signature) + "\n");
  CHECK(written(Scheme::kEd25519, signature, "base64", "") ==
        written(Scheme::kEd25519, signature, "raw", "base64"));
  CHECK(written(Scheme::kEd25519, ByteVector{0xde, 0xad, 0xbe, 0xef}, "base64", "") ==
        "3q2+7w==\n");
  for (const char* form : {"der", "rsv"}) {
    CHECK(check_signature_format(*parse_signature_format(form, ""), Scheme::kEd25519)
              .error()
              .status == ExitStatus::kUsage);
  }
}

TEST_CASE("formats and encodings that make no sense are wrong usage") {
  CHECK(refused("hex", "binary") == ExitStatus::kUsage);
  CHECK(refused("base64", "hex") == ExitStatus::kUsage);
  CHECK(refused("binary", "") == ExitStatus::kUsage);
  CHECK(refused("pem", "") == ExitStatus::kUsage);
  CHECK(refused("raw", "base32") == ExitStatus::kUsage);
  CHECK(parse_signature_format("hex", "hex"));
}

TEST_CASE("keys: an ECDSA key is shown compressed, uncompressed and along a path") {
  // BIP-32's first vector: m/0H/1/2H has this key and chain code, and its child 2 this key.
  const std::string key = "0357bfe1e341d01c69fe5654309956cbea516822fba8a601743a012a7896ee8dc2";
  const std::string chain = "04466b9cc8e161e966409ca52986c584f07e9dc81f735db683c3ff6ec7b1503f";
  const std::string child = "02e8445082a72f29b75ca48748a914df60622a609cacfce8ed0e35804560741d29";
  Json reply = Json::parse(R"({"keys":[{"key":"e","scheme":"ed25519","public_key":"00"},)"
                           R"({"key":"b","scheme":"ecdsa-secp256k1","public_key":")" +
                           key + R"(","chain_code":")" + chain + R"("}]})");
  Json plain = reply;
  REQUIRE(add_points(plain, std::nullopt));
  CHECK_FALSE(plain["keys"][0].contains("public_key_uncompressed"));
  CHECK(plain["keys"][1]["public_key_uncompressed"].get<std::string>().starts_with("04" +
                                                                                   key.substr(2)));
  CHECK_FALSE(plain["keys"][1].contains("derived_public_key"));
  REQUIRE(add_points(reply, *parse_path_option("m/2")));
  CHECK(reply["keys"][1]["path"] == "m/2");
  CHECK(reply["keys"][1]["derived_public_key"] == child);
  CHECK(reply["keys"][1]["derived_public_key_uncompressed"].get<std::string>().starts_with(
      "04" + child.substr(2)));
  const std::string text = view_points(reply);
  CHECK(text.find("m/2   " + child) != std::string::npos);
  CHECK(text.find("m     " + key) != std::string::npos);
  CHECK(view_points(Json::parse(R"({"keys":[{"key":"e"}]})")).empty());

  for (const char* path : {"", "44/60", "m/0'", "m/2147483648", "m//1"}) {
    CHECK(parse_path_option(path).error().status == ExitStatus::kUsage);
  }
  // A node of another release, or one that says nonsense, is an error and no crash.
  for (const char* strange : {R"({"keys":[{"scheme":"ecdsa-secp256k1"}]})",
                              R"({"keys":[{"scheme":"ecdsa-secp256k1","public_key":7}]})",
                              R"({"keys":[{"scheme":"ecdsa-secp256k1","public_key":"02"}]})"}) {
    Json bad = Json::parse(strange);
    CHECK(add_points(bad, std::nullopt).error().status == ExitStatus::kRefused);
  }
  for (const char* harmless : {"{}", "[]", "3", R"({"keys":3})", R"({"keys":[1,{}]})"}) {
    Json other = Json::parse(harmless);
    CHECK(add_points(other, bip32::Path{1}));
    CHECK(view_points(other).empty());
  }
}

}  // namespace cosigner::ctl
