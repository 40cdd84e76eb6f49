#include "ipc/frame.h"

#include <catch2/catch.hpp>

#include "ipc/worker_messages.h"
#include "tests/support/full.h"
#include "tests/support/seeded_random.h"

using namespace cosigner;
using namespace cosigner::ipc;

namespace {

FrameBytes frame_of(std::size_t size, std::uint64_t generation) {
  return encode_frame(Work{.request = size, .envelope = ByteVector(size, 0x5a)}, generation)
      .value();
}

}  // namespace

TEST_CASE("a stream of frames comes out whole however it is cut") {
  SeededRandom random(11);
  const int rounds = test::rounds(50, 2000);
  for (int round = 0; round < rounds; ++round) {
    FrameBytes stream;
    std::vector<std::size_t> sizes;
    for (std::uint64_t i = 0; i < 20; ++i) {
      sizes.push_back(random.next_u64() % (i % 7 == 0 ? 70'000 : 300));
      const FrameBytes frame = frame_of(sizes.back(), i);
      stream.insert(stream.end(), frame.begin(), frame.end());
    }
    FrameReader reader;
    std::size_t seen = 0;
    std::size_t at = 0;
    while (at < stream.size()) {
      const std::size_t step = std::min<std::size_t>(
          stream.size() - at, random.next_u64() % 4 == 0 ? 1 : 1 + random.next_u64() % 9000);
      reader.feed(as_view(stream).subspan(at, step));
      at += step;
      for (;;) {
        auto next = reader.next();
        REQUIRE(next);
        if (!*next) {
          break;
        }
        CHECK((*next)->generation == seen);
        const auto work = decode<Work>(**next);
        REQUIRE(work);
        CHECK(work->envelope.size() == sizes.at(seen));
        ++seen;
      }
    }
    CHECK(seen == sizes.size());
    CHECK(reader.pending() == 0);
  }
}

TEST_CASE("every altered header byte of a frame is refused or gives another type or generation") {
  const FrameBytes good = frame_of(3, 7);
  for (std::size_t i = 0; i < 4 + kFrameHeaderBytes; ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      FrameBytes bad = good;
      bad[i] = static_cast<std::uint8_t>(bad[i] ^ (1U << bit));
      const auto frame = parse_frame(as_view(bad));
      if (frame) {
        CHECK((frame->type != MessageType::kWork || frame->generation != 7));
        CHECK((i == 7 || i == 8 || i >= 10));
      }
    }
  }
}

TEST_CASE("a stream that cannot be frames ends in an error that stays") {
  FrameReader too_long;
  too_long.feed(ByteVector{0xff, 0xff, 0xff, 0xff});
  CHECK_FALSE(too_long.next());
  too_long.feed(as_view(frame_of(1, 1)));
  CHECK_FALSE(too_long.next());
  CHECK(too_long.pending() == 4);  // nothing more is kept

  FrameReader too_short;
  too_short.feed(ByteVector{0, 0, 0, 13});
  CHECK_FALSE(too_short.next());

  FrameReader limited(100);
  limited.feed(as_view(frame_of(101, 1)));
  CHECK_FALSE(limited.next());

  SeededRandom random(12);
  for (int i = 0; i < test::rounds(2000, 200'000); ++i) {
    ByteVector garbage(random.next_u64() % 64);
    random.fill(garbage);
    FrameReader reader;
    reader.feed(garbage);
    while (true) {
      const auto next = reader.next();
      if (!next || !*next) {
        break;
      }
    }
  }
}

TEST_CASE("what does not fit a frame is not encoded") {
  CHECK(encode_frame(Work{.request = 1, .envelope = ByteVector(4U << 20)}, 1));
  const auto big = encode_frame(Work{.request = 1, .envelope = ByteVector(5U << 20)}, 1);
  REQUIRE_FALSE(big);
  CHECK(big.error().code == ErrorCode::kOverloaded);
}

TEST_CASE("another version is told apart") {
  FrameBytes frame = frame_of(3, 7);
  frame[5] = 2;
  CHECK(parse_frame(as_view(frame)).error().code == ErrorCode::kUnsupportedVersion);
}

TEST_CASE("a frame decodes as its own message only") {
  const auto frame = parse_frame(as_view(encode_frame(EvictAsk{.ask = 3}, 1).value()));
  REQUIRE(frame);
  CHECK(decode<EvictAsk>(*frame));
  CHECK_FALSE(decode<Tick>(*frame));  // the same fields, another meaning
}
