// Every field of every message of presigning, and of the two that name a presignature, altered by
// the worker that sends it. Whatever it says: signatures are made, none is false, no presignature
// is used twice, and nothing crashes or hangs.
#include "tests/support/double_agent.h"
#include "tests/support/field_alterer.h"
#include "tests/support/presign_cluster.h"
#include "worker/session/presign_messages.h"

using namespace cosigner;
using namespace cosigner::test;
using namespace cosigner::worker;

namespace {

/// One cluster for all alterations: making a key takes longer than any of them. A minute of its
/// time passes in between, after which nobody is distrusted or held off any more.
class Altered {
 public:
  Altered(std::uint64_t seed, std::size_t nodes, std::uint16_t threshold, std::string liar)
      : size_(static_cast<std::uint32_t>(nodes)),
        cluster_(seed, nodes, threshold),
        others_(cluster_, liar),
        agent_(cluster_, std::move(liar),
               [this](const std::string& to, std::vector<ByteVector>& messages) {
                 if (alter_) {
                   alter_(to, messages);
                 }
               }) {
    cluster_.filter = [this](const std::string& from, const std::string& to, ByteVector& packet) {
      return agent_(from, to, packet) && others_(from, to, packet);
    };
  }

  /// `add` puts a message of that kind into a packet, where none is sent by itself. `spared` is a
  /// field that is not replaced by another node's.
  template <class T>
  void every_field(const std::function<void(std::vector<ByteVector>&)>& add = {}, int spared = -1) {
    int seen = 0;
    for (int way = 0; way < FieldAlterer::kWays; ++way) {
      for (int field = 0;; ++field) {
        CAPTURE(static_cast<int>(T::kKind), field, way);
        if (way == FieldAlterer::kAnothers && field == spared) {
          continue;
        }
        OneField<T> one{.field = field, .way = way, .others = &others_};
        alter_ = [&](const std::string& to, std::vector<ByteVector>& messages) {
          if (add && !one.done) {
            add(messages);
          }
          one(to, messages);
        };
        const std::uint32_t made = cluster_.presign(size_);
        CHECK(made <= 2 * size_);
        cluster_.sign_one();
        alter_ = nullptr;
        cluster_.run(65 * kSecond);
        if (one.beyond) {
          break;
        }
        seen += one.changed ? 1 : 0;
      }
    }
    CHECK(seen > 0);
    cluster_.check_single_use();
    CHECK(cluster_.sum(&Counters::exceptions) == 0);
    // And then everything is as it was.
    CHECK(cluster_.presign(size_) == size_);
    cluster_.sign_one();
  }

 private:
  std::uint32_t size_;
  PresignCluster cluster_;
  std::function<void(const std::string&, std::vector<ByteVector>&)> alter_;
  Overheard others_;
  DoubleAgent agent_;
};

}  // namespace

TEST_CASE("every field of the presigning messages of two signers, altered by their sender") {
  Altered two(21, 3, 2, "n1");
  SECTION("propose") {
    two.every_field<PresignPropose>();
  }
  SECTION("accept") {
    two.every_field<PresignAccept>();
  }
  SECTION("ready") {
    two.every_field<PresignReady>();
  }
  SECTION("end") {
    two.every_field<PresignEnd>([](std::vector<ByteVector>& messages) {
      const auto round = std::ranges::find_if(messages, is<PresignRound>);
      if (round != messages.end()) {
        messages.push_back(encode_message(PresignEnd{decoded<PresignRound>(*round).run, 1}));
      }
    });
  }
  SECTION("start") {
    two.every_field<Start>();
  }
}

TEST_CASE("every field of the owner's begin among three signers, altered by it") {
  Altered three(22, 4, 3, "n1");
  three.every_field<PresignBegin>();
}

TEST_CASE("every field of a presigning round, altered by its sender") {
  Altered two(23, 3, 2, "n1");
  // Another's OT message burns the pair, as an altered one does (dkls/fields_test.cc has both); the
  // second ban would leave n1 nobody to presign with.
  constexpr int kPayload = 2;
  two.every_field<PresignRound>({}, kPayload);
}

TEST_CASE("what a hello says about presignatures costs at most those presignatures") {
  // n2 signs hellos that claim to hold some when it has none, and none when it has some.
  PresignCluster cluster(24, 3, 2);
  std::uint32_t claim = 7;
  bool claimed = false;
  cluster.filter = [&](const std::string& from, const std::string&, ByteVector& packet) {
    if (from != "n2" || packet_kind(packet) != PacketKind::kHello) {
      return true;
    }
    SignedHello hello = decode_hello_packet(packet).value();
    Hello body = decode_fields<Hello>(hello.body).value();
    body.presignatures = claim;
    claimed = true;
    hello.body = encode_fields(body);
    hello.signature =
        ed25519_sign(cluster.node("n2").signing_secret, hello_digest("test", "alice", hello.body));
    packet = encode_hello_packet(hello);
    return true;
  };
  for (int i = 0; i < 3; ++i) {
    cluster.sign_one();
  }
  CHECK(cluster.uses.empty());
  claim = 0;
  cluster.presign(12);
  for (int i = 0; i < 4; ++i) {
    cluster.sign_one();
  }
  REQUIRE(claimed);
  cluster.check_single_use();
}
