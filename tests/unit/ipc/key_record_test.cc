// Key records and commit certificates.

#include "ipc/key_record.h"

#include <functional>

#include "tests/unit/ipc/answer_cluster.h"

using namespace cosigner;
using namespace cosigner::test;

TEST_CASE("key records: round trip, canonical form only, rules") {
  const Cluster cluster;
  const KeyRecord good = cluster.record();
  const ByteVector bytes = encode_key_record(good);
  REQUIRE(decode_key_record(bytes));
  CHECK(*decode_key_record(bytes) == good);
  CHECK(good.index_of("node2") == 2);
  CHECK(good.index_of("node9") == 0);
  CHECK(good.node_of(3) == "node3");
  CHECK(good.node_of(4).empty());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    CHECK_FALSE(decode_key_record(ByteView(bytes).first(i)));
    for (int bit = 0; bit < 8; ++bit) {
      ByteVector bad = bytes;
      bad[i] = static_cast<std::uint8_t>(bad[i] ^ (1U << bit));
      const auto decoded = decode_key_record(bad);
      CHECK((!decoded || !(*decoded == good)));
    }
  }
  // The version as uint8 and not as a small integer: the same meaning, other bytes.
  ByteVector longer = bytes;
  REQUIRE(longer[9] == 1);
  longer.insert(longer.begin() + 9, 0xcc);
  CHECK_FALSE(decode_key_record(longer));

  const std::vector<std::function<void(KeyRecord&)>> alterations = {
      [](KeyRecord& r) { r.cluster = ""; },
      [](KeyRecord& r) { r.user = ""; },
      [](KeyRecord& r) { r.key = "a/b"; },
      [](KeyRecord& r) { r.scheme = Scheme::kEcdsaSecp256k1; },  // 33-byte points
      [](KeyRecord& r) { r.epoch = 0; },
      [](KeyRecord& r) { r.threshold = 1; },
      [](KeyRecord& r) { r.threshold = 4; },
      [](KeyRecord& r) { r.participants[1].first = 1; },
      [](KeyRecord& r) { r.participants[1].second = "node1"; },
      [](KeyRecord& r) { r.participants[1].second = "all"; },
      [](KeyRecord& r) { r.participants.pop_back(); },
      [](KeyRecord& r) { r.public_key.pop_back(); },
      [](KeyRecord& r) { r.public_shares.pop_back(); },
      [](KeyRecord& r) { r.public_shares[0].push_back(1); },
  };
  for (const auto& alter : alterations) {
    KeyRecord bad = good;
    alter(bad);
    CHECK_FALSE(validate_key_record(bad));
    CHECK_FALSE(decode_key_record(encode_key_record(bad)));
  }

  KeyRecord copy;
  copy.participants = good.participants;
  REQUIRE(set_public_part(copy, to_public_key_record(good)));
  CHECK(copy.public_shares == good.public_shares);
  CHECK(copy.threshold == good.threshold);
  copy.participants.pop_back();
  CHECK_FALSE(set_public_part(copy, to_public_key_record(good)));
}

TEST_CASE("acknowledgements: all participants, each once, over this very record") {
  const Cluster cluster;
  const KeyRecord record = cluster.record();
  const ByteVector bytes = encode_key_record(record);
  const auto all = cluster.acknowledge(record);
  const auto verified = [&](const std::vector<Acknowledgement>& some) {
    return verify_acknowledgements(record, bytes, some, cluster.peers);
  };
  REQUIRE(verified(all));
  CHECK(verified({all[2], all[0], all[1]}));
  CHECK_FALSE(verified({}));
  CHECK_FALSE(verified({all[0], all[1]}));
  CHECK_FALSE(verified({all[0], all[1], all[1]}));
  CHECK_FALSE(verified({all[0], all[1], all[2], all[2]}));
  auto bad = all;
  bad[1].generation += 1;
  REQUIRE_FALSE(verified(bad));
  CHECK(verified(bad).error().code == ErrorCode::kPeerMisbehaved);
  CHECK(verified(bad).error().peer == "node2");
  bad = all;
  std::swap(bad[0].signature, bad[1].signature);
  CHECK_FALSE(verified(bad));
  bad = all;
  bad[0].node = "node9";
  CHECK_FALSE(verified(bad));
  CHECK_FALSE(verify_acknowledgements(record, bytes, all, std::span(cluster.peers).first(2)));
  KeyRecord other = record;
  other.transcript.data[0] ^= 1;
  CHECK_FALSE(verify_acknowledgements(other, encode_key_record(other), all, cluster.peers));

  const ByteVector certificate = encode_commit_certificate(all);
  REQUIRE(decode_commit_certificate(certificate));
  CHECK(*decode_commit_certificate(certificate) == all);
  for (std::size_t i = 0; i < certificate.size(); ++i) {
    CHECK_FALSE(decode_commit_certificate(ByteView(certificate).first(i)));
    ByteVector altered = certificate;
    altered[i] ^= 1;
    const auto decoded = decode_commit_certificate(altered);
    CHECK((!decoded || !verified(*decoded)));
  }
}
