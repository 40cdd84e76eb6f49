// Releases beside one another: the hello's range of versions, with whole engines of other ranges.
#include <catch2/catch.hpp>

#include "tests/support/engine_cluster.h"
#include "tests/support/request_answers.h"
#include "worker/session/message_fields.h"
#include "worker/session/packet.h"

using namespace cosigner;
using namespace cosigner::test;
using namespace cosigner::worker;

namespace {

class OfRelease final : public ProtocolFactory {
 public:
  explicit OfRelease(VersionRange versions) : versions_(versions) {}
  [[nodiscard]] VersionRange versions() const override { return versions_; }

 private:
  VersionRange versions_;
};

constexpr VersionRange kNextRelease{.low = 1, .high = 2};
constexpr VersionRange kLaterRelease{.low = 2, .high = 2};

/// The node's worker ends; the next one is of a release that speaks these.
void install(EngineCluster& cluster, const std::string& node, VersionRange versions) {
  cluster.kill(cluster.node(node));
  cluster.node(node).protocols = std::make_unique<OfRelease>(versions);
}

std::ptrdiff_t times_logged(const EngineCluster& cluster, const std::string& by,
                            const std::string& of) {
  return std::ranges::count_if(cluster.log, [&](const std::string& line) {
    return line.starts_with(by + ": node " + of + " speaks versions 2 to 2 ");
  });
}

}  // namespace

TEST_CASE("version: ranges meet where they have a version in common") {
  constexpr VersionRange kThis{.low = 1, .high = 1};
  CHECK(kThis.meets(kThis));
  CHECK(kThis.meets(kNextRelease));
  CHECK(kNextRelease.meets(kThis));
  CHECK(kNextRelease.meets(kLaterRelease));
  CHECK_FALSE(kThis.meets(kLaterRelease));
  CHECK_FALSE(kLaterRelease.meets(kThis));
}

TEST_CASE("version: a node of 1 and one of 1 to 2 make keys and sign together") {
  EngineCluster cluster(1, 2);
  cluster.node("n2").protocols = std::make_unique<OfRelease>(kNextRelease);
  cluster.make_key("k", 2);
  for (const char* coordinator : {"n1", "n2"}) {
    const auto works = cluster.ask_all(cluster.coordinated_by(coordinator).envelope);
    REQUIRE(cluster.settle(works));
    CHECK(cluster.answer(works[0]).ok());
    CHECK(cluster.answer(works[1]).ok());
  }
  CHECK(cluster.counters(0).hellos_other_version == 0);
  CHECK(cluster.counters(1).hellos_other_version == 0);
}

TEST_CASE("version: a node of 1 and one of 2 say unsupported_version, and say it soon") {
  for (const std::size_t coordinator : {0U, 1U}) {
    EngineCluster cluster(2, 2);
    cluster.make_key("k", 2);
    install(cluster, "n2", kLaterRelease);
    const std::string name = cluster.node(coordinator).name;
    CAPTURE(name);
    for (int i = 0; i < 3; ++i) {
      const auto works = cluster.ask_all(cluster.coordinated_by(name).envelope);
      REQUIRE(cluster.settle(works, 2 * kSecond));
      for (std::size_t node = 0; node < 2; ++node) {
        const Error* error = error_of(cluster.answer(works[node]));
        REQUIRE(error != nullptr);
        INFO(error->message);
        CHECK(error->code == ErrorCode::kUnsupportedVersion);
        CHECK(error->peer == cluster.node(1 - node).name);
        CHECK(error->message.find("2 to 2") != std::string::npos);
        CHECK(error->message.find("1 to 1") != std::string::npos);
        CHECK_FALSE(error->retryable);
        CHECK_FALSE(error->may_have_executed);
      }
    }
    // Whichever hello arrived first was looked at; the answer to it settled the other side.
    CHECK(cluster.counters(0).hellos_other_version + cluster.counters(1).hellos_other_version >= 3);
    if (coordinator == 0) {
      CHECK(times_logged(cluster, "n1", "n2") == 1);  // three requests, one line
    }
  }
}

TEST_CASE("version: two of three sign without the one that has left them behind") {
  EngineCluster cluster(3, 3);
  cluster.make_key("k", 2);
  install(cluster, "n3", kLaterRelease);
  for (const char* coordinator : {"n1", "n2", "n3"}) {
    const auto works = cluster.ask_all(cluster.coordinated_by(coordinator).envelope);
    REQUIRE(cluster.settle({works[0], works[1]}, 5 * kSecond));
    CHECK(cluster.answer(works[0]).ok());
    CHECK(cluster.answer(works[1]).ok());
  }
}

TEST_CASE("version: where the absent may come back, a node of another release is no final word") {
  EngineCluster cluster(6, 3);
  cluster.make_key("k", 2);
  install(cluster, "n3", kLaterRelease);
  cluster.node("n2").cut = true;
  cluster.set_present(cluster.node("n2"), false);
  const auto works = cluster.ask_all(cluster.coordinated_by("n1").envelope);
  REQUIRE(cluster.settle({works[0]}, 60 * kSecond));
  const Error* error = error_of(cluster.answer(works[0]));
  REQUIRE(error != nullptr);
  INFO(error->message);
  CHECK(error->retryable);
  CHECK(error->code != ErrorCode::kUnsupportedVersion);
}

TEST_CASE("version: a key is not made with a node of other versions, and all are told why") {
  EngineCluster cluster(4, 3);
  cluster.node("n3").protocols = std::make_unique<OfRelease>(kLaterRelease);
  const auto works = cluster.ask_all(cluster.sign(cluster.keygen_request("k", 2)).envelope);
  REQUIRE(cluster.settle(works));
  for (const std::uint64_t work : works) {
    const Error* error = error_of(cluster.answer(work));
    REQUIRE(error != nullptr);
    INFO(cluster.work(work).node << ": " << error->message);
    CHECK(error->code == ErrorCode::kUnsupportedVersion);
  }
}

TEST_CASE(
    "version: a coordinator of two versions does not bring together who has one of them each") {
  EngineCluster cluster(7, 4);
  cluster.make_key("k", 3);
  install(cluster, "n2", kNextRelease);
  install(cluster, "n3", kLaterRelease);
  install(cluster, "n4", kNextRelease);
  for (const char* coordinator : {"n1", "n2", "n3", "n4", "n2", "n4"}) {
    CAPTURE(coordinator);
    const auto works = cluster.ask_all(cluster.coordinated_by(coordinator).envelope);
    REQUIRE(cluster.settle({works[1], works[3]}, 5 * kSecond));
    CHECK(cluster.answer(works[1]).ok());
    CHECK(cluster.answer(works[3]).ok());
    cluster.run(kSecond);
  }
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    CHECK(cluster.counters(i).misbehaviours == 0);
  }
}

TEST_CASE("version: three nodes of which only two and two meet say so, and blame nobody") {
  const bool keygen = GENERATE(false, true);
  CAPTURE(keygen);
  EngineCluster cluster(8, 3);
  cluster.make_key("k", 3);
  install(cluster, "n2", kNextRelease);
  install(cluster, "n3", kLaterRelease);
  int made = 0;
  for (const char* coordinator : {"n1", "n2", "n3"}) {
    CAPTURE(coordinator);
    const std::string key = "new" + std::to_string(++made);
    const SignedRequest request = cluster.coordinated_by(coordinator, [&] {
      return keygen ? cluster.keygen_request(key, 3) : cluster.sign_request("k", {1, 2});
    });
    const auto works = cluster.ask_all(request.envelope);
    REQUIRE(cluster.settle(works, 20 * kSecond));
    for (const std::uint64_t work : works) {
      const Error* error = error_of(cluster.answer(work));
      REQUIRE(error != nullptr);
      INFO(cluster.work(work).node << ": " << error->message);
      CHECK(error->code == ErrorCode::kUnsupportedVersion);
      CHECK_FALSE(error->retryable);
      CHECK_FALSE(error->may_have_executed);
    }
  }
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    CHECK(cluster.counters(i).misbehaviours == 0);
  }
}

TEST_CASE("version: what the broker alone says of a node's versions is not believed") {
  EngineCluster cluster(5, 2);
  cluster.make_key("k", 2);
  const std::uint64_t refused = cluster.counters(0).hellos_refused;
  int altered = 0;
  cluster.filter = [&](const std::string& from, const std::string&, ByteVector& packet) {
    if (from == "n2" && packet_kind(packet) == PacketKind::kHello && altered == 0) {
      SignedHello hello = decode_hello_packet(packet).value();
      Hello body = decode_fields<Hello>(hello.body).value();
      body.version_low = 2;
      body.version_high = 2;
      hello.body = encode_fields(body);
      packet = encode_hello_packet(hello);
      ++altered;
    }
    return true;
  };
  const auto works = cluster.ask_all(cluster.coordinated_by("n1").envelope);
  REQUIRE(cluster.settle(works));
  REQUIRE(altered == 1);
  CHECK(cluster.answer(works[0]).ok());
  CHECK(cluster.answer(works[1]).ok());
  CHECK(cluster.counters(0).hellos_refused == refused + 1);
  CHECK(cluster.counters(0).hellos_other_version == 0);
}
