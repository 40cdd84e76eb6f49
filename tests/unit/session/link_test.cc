// Delivery between two workers: once, in spite of everything, or given up after the window.
#include "worker/session/link.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "tests/support/durations.h"
#include "tests/support/full.h"
#include "tests/support/seeded_random.h"

using namespace cosigner;
using namespace cosigner::worker;

namespace {

using cosigner::test::kMs;

struct End {
  X25519SecretKey secret;
  Certificate certificate;
  std::unique_ptr<Link> link;
  Counters counters;
  std::vector<std::string> got;
};

Certificate certificate_of(const std::string& node, std::uint64_t generation,
                           const X25519SecretKey& secret) {
  Certificate certificate;
  certificate.cluster = "c";
  certificate.node = node;
  certificate.user = "u";
  certificate.generation = generation;
  certificate.x25519 = x25519_public_key(secret);
  return certificate;
}

/// Two ends with a link each; packets are moved by the tests.
struct Pair {
  SeededRandom random{7};
  Jitter jitter{3};
  End a;
  End b;

  Pair() {
    a.secret = random.secret<32>();
    b.secret = random.secret<32>();
    a.certificate = certificate_of("a", 1, a.secret);
    b.certificate = certificate_of("b", 9, b.secret);
    a.link = link(a, b);
    b.link = link(b, a);
  }
  std::unique_ptr<Link> link(const End& own, const End& peer) {
    ChannelMaker maker(own.secret, own.certificate);
    return std::make_unique<Link>(maker.connect(peer.certificate).value(), ipc::Settings{},
                                  own.certificate.generation);
  }
  std::vector<ByteVector> flush(End& end, std::int64_t now_us) {
    std::vector<ByteVector> packets;
    end.link->flush(now_us, ByteVector{1, 2, 3}, jitter, packets);
    return packets;
  }
  std::vector<ByteVector> timer(End& end, std::int64_t now_us) {
    std::vector<ByteVector> packets;
    given_up += end.link->on_timer(now_us, jitter, end.counters, packets);
    return packets;
  }
  /// False if the packet was not accepted.
  static bool receive(End& end, std::int64_t now_us, const ByteVector& packet) {
    const auto sealed = decode_sealed(packet);
    const auto plain = sealed ? end.link->open(*sealed) : std::nullopt;
    const auto contents = plain ? decode_contents(as_view(*plain)) : std::nullopt;
    if (!contents || !end.link->received(now_us, sealed->sequence, *contents)) {
      return false;
    }
    for (const ByteView message : contents->messages) {
      end.got.emplace_back(as_text(message));
    }
    return true;
  }
  std::size_t given_up = 0;
};

ByteVector message(std::string_view text) {
  return to_vector(as_bytes(text));
}

}  // namespace

TEST_CASE("messages of one turn travel in one packet and are acknowledged with the answer",
          "[link]") {
  Pair pair;
  REQUIRE(pair.a.link->queue(message("one"), true));
  REQUIRE(pair.a.link->queue(message("two"), true));
  REQUIRE(pair.a.link->queue(message("three"), false));
  const auto packets = pair.flush(pair.a, 0);
  REQUIRE(packets.size() == 1);
  CHECK_FALSE(decode_sealed(packets[0])->certificate.empty());
  REQUIRE(Pair::receive(pair.b, 0, packets[0]));
  CHECK(pair.b.got == std::vector<std::string>{"one", "two", "three"});
  CHECK(pair.flush(pair.b, 0).empty());  // nothing to say yet: the acknowledgement waits

  SECTION("it rides along") {
    REQUIRE(pair.b.link->queue(message("answer"), false));
    const auto answers = pair.flush(pair.b, 5 * kMs);
    REQUIRE(answers.size() == 1);
    REQUIRE(Pair::receive(pair.a, 6 * kMs, answers[0]));
    CHECK(pair.flush(pair.b, 100 * kMs).empty());
  }
  SECTION("or goes alone after 20 ms") {
    CHECK(pair.b.link->next_deadline() == 20 * kMs);
    CHECK(pair.flush(pair.b, 19 * kMs).empty());
    const auto acks = pair.flush(pair.b, 20 * kMs);
    REQUIRE(acks.size() == 1);
    REQUIRE(Pair::receive(pair.a, 21 * kMs, acks[0]));
  }
  CHECK(pair.a.link->quiet());
  CHECK(pair.timer(pair.a, 60'000 * kMs).empty());
  REQUIRE(pair.a.link->queue(message("four"), true));
  const auto later = pair.flush(pair.a, 0);
  CHECK(decode_sealed(later.at(0))->certificate.empty());  // known by now
}

TEST_CASE("a peer that appears after five seconds gets the message exactly once", "[link]") {
  Pair pair;
  REQUIRE(pair.a.link->queue(message("late"), true));
  const auto first = pair.flush(pair.a, 0);
  REQUIRE(first.size() == 1);
  std::size_t sent = 1;
  for (std::int64_t now = 0; now < 20'000 * kMs; now += kMs) {
    for (const ByteVector& packet : pair.timer(pair.a, now)) {
      CHECK(packet == first[0]);  // the same ciphertext
      ++sent;
      if (now > 5'000 * kMs) {
        Pair::receive(pair.b, now, packet);
      }
    }
    for (const ByteVector& packet : pair.flush(pair.b, now)) {
      Pair::receive(pair.a, now, packet);
    }
  }
  CHECK(pair.b.got == std::vector<std::string>{"late"});
  CHECK(pair.given_up == 0);
  CHECK(sent < 10);
  CHECK(pair.a.link->quiet());
}

TEST_CASE("delivery is given up after ten attempts in six to eight and a half seconds", "[link]") {
  Pair pair;
  REQUIRE(pair.a.link->queue(message("lost"), true));
  std::size_t sent = pair.flush(pair.a, 0).size();
  std::int64_t over = 0;
  for (std::int64_t now = 0; now < 30'000 * kMs; now += kMs) {
    sent += pair.timer(pair.a, now).size();
    over = pair.given_up == 0 ? now : over;
  }
  CHECK(sent == 10);
  CHECK(pair.given_up == 1);
  CHECK(over > 6'000 * kMs);
  CHECK(over < 8'500 * kMs);
  CHECK(pair.a.link->quiet());
}

TEST_CASE("a queue towards a silent peer is bounded", "[link]") {
  Pair pair;
  std::size_t queued = 0;
  while (pair.a.link->queue(message("x"), true)) {
    ++queued;
    (void)pair.flush(pair.a, 0);
  }
  CHECK(queued == Link::kMaxUnacknowledged);
}

TEST_CASE("no altered, repeated or redirected packet is accepted", "[link]") {
  Pair pair;
  REQUIRE(pair.a.link->queue(message("hello there"), true));
  const ByteVector packet = pair.flush(pair.a, 0).at(0);
  for (std::size_t i = 0; i < packet.size(); ++i) {
    ByteVector altered = packet;
    altered[i] ^= 0x40U;
    CAPTURE(i);
    CHECK_FALSE(Pair::receive(pair.b, 0, altered));
  }
  for (std::size_t size = 2; size < packet.size(); ++size) {
    CHECK_FALSE(Pair::receive(
        pair.b, 0, ByteVector(packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(size))));
  }
  CHECK_FALSE(Pair::receive(pair.a, 0, packet));  // back to its sender
  CHECK(Pair::receive(pair.b, 0, packet));
  CHECK_FALSE(Pair::receive(pair.b, 0, packet));
  CHECK(pair.b.got.size() == 1);
}

TEST_CASE("the window accepts every sequence number once, in any order", "[link]") {
  SeededRandom random(11);
  for (int round = 0; round < test::rounds(50, 2000); ++round) {
    ReceivedWindow window;
    std::set<std::uint64_t> seen;
    for (int i = 0; i < 400; ++i) {
      const std::uint64_t sequence = random.next_u64() % 500;
      CHECK(window.accept(sequence) == seen.insert(sequence).second);
    }
  }
}

TEST_CASE("messages are lost, doubled and reordered, and arrive once each", "[link]") {
  // Where a quarter is lost each way, ten attempts in a row come to nothing now and then: 0.44^10,
  // one message in 4,000, and of most of those only the acknowledgements. The sender knows.
  std::size_t sent = 0;
  std::size_t given_up = 0;
  for (std::uint64_t seed = 1; seed <= static_cast<std::uint64_t>(test::rounds(20, 1000)); ++seed) {
    CAPTURE(seed);
    Pair pair;
    SeededRandom random(seed);
    std::multiset<std::string> expected;
    std::vector<std::pair<std::int64_t, ByteVector>> wire;  // to b
    std::vector<std::pair<std::int64_t, ByteVector>> back;
    const auto put = [&](std::vector<std::pair<std::int64_t, ByteVector>>& on, std::int64_t now,
                         std::vector<ByteVector> packets) {
      for (ByteVector& packet : packets) {
        const std::uint64_t copies = random.next_u64() % 4 == 0 ? 0 : 1 + random.next_u64() % 2;
        for (std::uint64_t i = 0; i < copies; ++i) {
          on.emplace_back(now + static_cast<std::int64_t>(random.next_u64() % 50) * kMs, packet);
        }
      }
    };
    const auto take = [&](std::vector<std::pair<std::int64_t, ByteVector>>& on, End& end,
                          std::int64_t now) {
      std::erase_if(on, [&](const auto& entry) {
        if (entry.first > now) {
          return false;
        }
        Pair::receive(end, now, entry.second);
        return true;
      });
    };
    for (std::int64_t now = 0; now < 12'000 * kMs; now += kMs) {
      if (now < 2'000 * kMs && random.next_u64() % 20 == 0) {
        const std::string text = std::to_string(now);
        REQUIRE(pair.a.link->queue(message(text), true));
        expected.insert(text);
      }
      put(wire, now, pair.flush(pair.a, now));
      put(wire, now, pair.timer(pair.a, now));
      put(back, now, pair.flush(pair.b, now));
      take(wire, pair.b, now);
      take(back, pair.a, now);
    }
    const std::multiset<std::string> got(pair.b.got.begin(), pair.b.got.end());
    CHECK(std::ranges::includes(expected, got));  // each once
    CHECK(expected.size() - got.size() <= pair.given_up);
    sent += expected.size();
    given_up += pair.given_up;
  }
  CHECK(given_up * 1000 < sent);
}
