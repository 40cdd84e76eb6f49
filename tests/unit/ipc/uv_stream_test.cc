#include "ipc/uv_stream.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <stdexcept>
#include <thread>

#include "ipc/seqpacket.h"
#include "ipc/worker_messages.h"
#include "ipc/zygote_messages.h"
#include "tests/support/full.h"

using namespace cosigner;
using namespace cosigner::ipc;

namespace {

struct Loop {
  uv_loop_t loop{};
  Loop() { uv_loop_init(&loop); }
  ~Loop() {
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&loop) == 0);  // no handle is left behind
  }
  void turn() { uv_run(&loop, UV_RUN_NOWAIT); }
  template <class Condition>
  bool until(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) {
        return false;
      }
      turn();
    }
    return true;
  }
};

struct End {
  std::vector<Frame> frames;
  std::optional<CloseReason> closed;
  std::vector<std::string> exceptions;
  std::function<void(Frame&)> on_frame;
  std::unique_ptr<FrameChannel> channel;

  void open(Loop& loop, UniqueFd fd, FrameChannel::Limits limits = {}) {
    auto opened = FrameChannel::open(
        &loop.loop, std::move(fd),
        {.on_frame =
             [this](Frame frame) {
               if (on_frame) {
                 on_frame(frame);
               }
               frames.push_back(std::move(frame));
             },
         .on_close =
             [this](CloseReason reason, std::string_view) {
               CHECK_FALSE(closed);
               closed = reason;
             },
         .on_exception = [this](std::string_view what) { exceptions.emplace_back(what); }},
        limits);
    REQUIRE(opened);
    channel = std::move(*opened);
    channel->set_generation(5);
  }
};

struct Pair {
  Loop loop;
  End a;
  End b;
  UniqueFd raw;  // b's end, when b is not opened
  explicit Pair(bool open_b = true, FrameChannel::Limits limits = {}) {
    auto ends = socket_pair(SOCK_STREAM).value();
    a.open(loop, std::move(ends.first), limits);
    if (open_b) {
      b.open(loop, std::move(ends.second));
    } else {
      raw = std::move(ends.second);
    }
  }
};

Work work_of(std::size_t size) {
  return {.request = size, .envelope = ByteVector(size, 0x77)};
}

}  // namespace

TEST_CASE("frames arrive in order, small ones without a turn of the sender's loop") {
  Pair pair;
  for (std::uint64_t i = 0; i < 100; ++i) {
    CHECK(pair.a.channel->send(Tick{.number = i}) == SendStatus::kSent);
  }
  REQUIRE(pair.loop.until([&] { return pair.b.frames.size() == 100; }));
  for (std::uint64_t i = 0; i < 100; ++i) {
    CHECK(decode<Tick>(pair.b.frames[i])->number == i);
  }
}

TEST_CASE("a patient sender waits for a reader, and for none longer than it said") {
  // A megabyte does not fit a socket's buffer: without patience its frame is queued.
  Pair pair(false);
  std::size_t read = 0;
  {
    pair.a.channel->set_patience(std::chrono::seconds(60));
    std::jthread reader([&] {
      ByteVector buffer(1U << 16);
      while (read < 3'000'000) {
        const ssize_t got = ::read(pair.raw.get(), buffer.data(), buffer.size());
        if (got <= 0) {
          return;
        }
        read += static_cast<std::size_t>(got);
      }
    });
    for (int i = 0; i < 3; ++i) {
      CHECK(pair.a.channel->send(work_of(1'000'000)) == SendStatus::kSent);
    }
  }
  CHECK(read >= 3'000'000);
  CHECK(pair.a.channel->queued_bytes() == 0);
  pair.a.channel->set_patience(std::chrono::milliseconds(20));
  CHECK(pair.a.channel->send(work_of(1'000'000)) == SendStatus::kQueued);
  // Behind a queue nobody waits: a minute would not go unnoticed.
  pair.a.channel->set_patience(std::chrono::seconds(60));
  CHECK(pair.a.channel->send(work_of(10)) == SendStatus::kQueued);
}

TEST_CASE("what the socket does not take is queued, in order, and bounded") {
  Pair pair(true, {.max_queued_bytes = 8U << 20, .max_frame_bytes = kMaxFrameBytes});
  std::size_t taken = 0;
  SendStatus status = SendStatus::kSent;
  while (accepted(status = pair.a.channel->send(work_of(1'000'000 + taken)))) {
    ++taken;
    REQUIRE(taken < 100);
  }
  CHECK(status == SendStatus::kFull);
  CHECK(taken >= 8);
  CHECK(pair.a.channel->queued_bytes() <= 9'100'000);
  REQUIRE(pair.loop.until([&] { return pair.b.frames.size() == taken; }));
  for (std::size_t i = 0; i < taken; ++i) {
    CHECK(decode<Work>(pair.b.frames[i])->envelope.size() == 1'000'000 + i);
  }
  CHECK(pair.a.channel->queued_bytes() == 0);
  CHECK(accepted(pair.a.channel->send(work_of(1))));
  CHECK(pair.a.channel->send(work_of(5U << 20)) == SendStatus::kTooLarge);
}

TEST_CASE("shutdown sends what is queued, then closes both ends") {
  Pair pair;
  for (int i = 0; i < 10; ++i) {
    REQUIRE(accepted(pair.a.channel->send(work_of(500'000))));
  }
  pair.a.channel->shutdown();
  CHECK(pair.a.channel->send(Tick{}) == SendStatus::kClosed);
  REQUIRE(pair.loop.until([&] { return pair.a.closed && pair.b.closed; }));
  CHECK(*pair.a.closed == CloseReason::kLocal);
  CHECK(*pair.b.closed == CloseReason::kEnd);
  CHECK(pair.b.frames.size() == 10);
}

TEST_CASE("frames of another generation are dropped and counted") {
  Pair pair;
  pair.a.channel->set_generation(4);
  REQUIRE(accepted(pair.a.channel->send(Tick{.number = 1})));
  pair.a.channel->set_generation(5);
  REQUIRE(accepted(pair.a.channel->send(Tick{.number = 2})));
  REQUIRE(pair.loop.until([&] { return !pair.b.frames.empty(); }));
  CHECK(decode<Tick>(pair.b.frames[0])->number == 2);
  CHECK(pair.b.channel->stray_frames() == 1);
}

TEST_CASE("a handler that throws is reported, and the channel lives on") {
  Pair pair;
  pair.b.on_frame = [](Frame& frame) {
    if (decode<Tick>(frame)->number == 0) {
      throw std::runtime_error("not today");
    }
  };
  REQUIRE(accepted(pair.a.channel->send(Tick{.number = 0})));
  REQUIRE(accepted(pair.a.channel->send(Tick{.number = 1})));
  REQUIRE(pair.loop.until([&] { return !pair.b.frames.empty(); }));
  REQUIRE(pair.b.exceptions.size() == 1);
  CHECK(pair.b.exceptions[0] == "not today");
  CHECK_FALSE(pair.b.channel->closed());
}

TEST_CASE("garbage closes the channel, and so does an end within a frame") {
  {
    Pair pair(false);
    REQUIRE(::send(pair.raw.get(), "\xff\xff\xff\xff", 4, 0) == 4);
    REQUIRE(pair.loop.until([&] { return pair.a.closed.has_value(); }));
    CHECK(*pair.a.closed == CloseReason::kProtocol);
    CHECK(pair.a.channel->descriptor() == -1);
  }
  {
    Pair pair(false);
    const FrameBytes frame = encode_frame(Tick{}, 5).value();
    REQUIRE(::send(pair.raw.get(), frame.data(), frame.size() - 1, 0) > 0);
    pair.raw.reset();
    REQUIRE(pair.loop.until([&] { return pair.a.closed.has_value(); }));
    CHECK(*pair.a.closed == CloseReason::kProtocol);
  }
}

TEST_CASE("a peer that is gone is an error code, not a signal") {
  Pair pair(false);
  pair.raw.reset();
  CHECK(pair.a.channel->send(Tick{}) == SendStatus::kClosed);
  REQUIRE(pair.loop.until([&] { return pair.a.closed.has_value(); }));
}

TEST_CASE("a channel may be destroyed from within its own handlers") {
  {
    Pair pair;
    pair.b.on_frame = [&](Frame&) { pair.b.channel.reset(); };
    REQUIRE(accepted(pair.a.channel->send(Tick{.number = 0})));
    REQUIRE(accepted(pair.a.channel->send(Tick{.number = 1})));
    REQUIRE(pair.loop.until([&] { return pair.a.closed.has_value(); }));
    CHECK(pair.b.frames.size() == 1);
    CHECK_FALSE(pair.b.closed);  // on_close is not called after destruction
    pair.a.channel.reset();
  }
  {
    Pair pair;
    pair.b.on_frame = [&](Frame&) {
      pair.b.channel.reset();
      throw std::runtime_error("after the end");
    };
    REQUIRE(accepted(pair.a.channel->send(Tick{})));
    REQUIRE(pair.loop.until([&] { return pair.a.closed.has_value(); }));
    CHECK(pair.b.exceptions.empty());
    pair.a.channel.reset();
  }
  {
    Loop loop;
    auto ends = socket_pair(SOCK_STREAM).value();
    std::unique_ptr<FrameChannel> channel;
    bool closed = false;
    channel = FrameChannel::open(&loop.loop, std::move(ends.first),
                                 {.on_frame = {},
                                  .on_close =
                                      [&](CloseReason, std::string_view) {
                                        channel.reset();
                                        closed = true;
                                      },
                                  .on_exception = {}})
                  .value();
    ends.second.reset();
    REQUIRE(loop.until([&] { return closed; }));
  }
}

TEST_CASE("a paused channel keeps what has come, and delivers it when it goes on") {
  Pair pair;
  pair.b.on_frame = [&](Frame&) { pair.b.channel->pause(); };
  for (std::uint64_t i = 0; i < 5; ++i) {
    REQUIRE(accepted(pair.a.channel->send(Tick{.number = i})));
  }
  REQUIRE(pair.loop.until([&] { return pair.b.frames.size() == 1; }));
  for (int i = 0; i < 10; ++i) {
    pair.loop.turn();
  }
  CHECK(pair.b.frames.size() == 1);
  pair.a.channel->shutdown();
  for (std::size_t expected = 2; expected <= 5; ++expected) {
    pair.b.channel->resume();
    REQUIRE(pair.loop.until([&] { return pair.b.frames.size() == expected; }));
  }
  pair.b.channel->resume();
  REQUIRE(pair.loop.until([&] { return pair.b.closed.has_value(); }));
  CHECK(*pair.b.closed == CloseReason::kEnd);
}

TEST_CASE("one hop takes microseconds") {
  Pair pair;
  const int hops = test::rounds(2000, 100'000);
  int left = hops;
  const auto bounce = [&left](End& end) {
    end.on_frame = [&left, &end](Frame&) {
      if (--left > 0) {
        end.channel->send(Tick{});
      }
    };
  };
  bounce(pair.a);
  bounce(pair.b);
  const auto start = std::chrono::steady_clock::now();
  pair.a.channel->send(Tick{});
  REQUIRE(pair.loop.until([&] { return left <= 0; }));
  const auto elapsed = std::chrono::steady_clock::now() - start;
  const double micros = std::chrono::duration<double, std::micro>(elapsed).count() / hops;
  INFO("a hop took " << micros << " µs");
  CHECK(micros < 500);  // generous: other tests share the processor
}

TEST_CASE("seqpacket: one frame a packet, with and without a descriptor") {
  auto ends = socket_pair(SOCK_SEQPACKET | SOCK_NONBLOCK).value();
  CHECK(receive_packet(ends.first.get())->status == ReceiveStatus::kWouldBlock);

  const FrameBytes frame = encode_frame(ForkOrder{.order = 9, .user = "u"}, 1).value();
  auto passed = socket_pair(SOCK_STREAM).value();
  REQUIRE(send_packet(ends.first.get(), frame, passed.first.get()));
  passed.first.reset();
  REQUIRE(send_packet(ends.first.get(), frame));

  auto with = receive_packet(ends.second.get());
  REQUIRE(with);
  REQUIRE(with->status == ReceiveStatus::kPacket);
  CHECK(decode<ForkOrder>(with->packet.frame)->order == 9);
  REQUIRE(with->packet.fd);
  CHECK(::fcntl(with->packet.fd.get(), F_GETFD) == FD_CLOEXEC);
  REQUIRE(::send(with->packet.fd.get(), "x", 1, MSG_NOSIGNAL) == 1);

  CHECK_FALSE(with->packet.second);

  auto without = receive_packet(ends.second.get());
  REQUIRE(without);
  CHECK_FALSE(without->packet.fd);

  auto more = socket_pair(SOCK_STREAM).value();
  REQUIRE(send_packet(ends.first.get(), frame, more.first.get(), more.second.get()));
  auto both = receive_packet(ends.second.get());
  REQUIRE(both);
  REQUIRE(both->packet.second);
  CHECK(::fcntl(both->packet.second.get(), F_GETFD) == FD_CLOEXEC);
  REQUIRE(::send(both->packet.fd.get(), "y", 1, MSG_NOSIGNAL) == 1);  // they kept their order
  char byte = 0;
  CHECK(::recv(both->packet.second.get(), &byte, 1, 0) == 1);

  REQUIRE(::send(ends.first.get(), "junk", 4, 0) == 4);
  CHECK(receive_packet(ends.second.get()).error().code == ErrorCode::kBadRequest);
  // Two frames in one packet, and a packet longer than any.
  FrameBytes two = frame;
  two.insert(two.end(), frame.begin(), frame.end());
  REQUIRE(send_packet(ends.first.get(), two));
  CHECK_FALSE(receive_packet(ends.second.get()));
  const ByteVector huge(kMaxPacketBytes + 1);
  REQUIRE(::send(ends.first.get(), huge.data(), huge.size(), 0) > 0);
  CHECK_FALSE(receive_packet(ends.second.get()));
  CHECK_FALSE(send_packet(ends.first.get(), FrameBytes(kMaxPacketBytes + 1)));

  Expected<void> sent;
  for (int i = 0; i < 100'000 && sent; ++i) {
    sent = send_packet(ends.first.get(), frame);
  }
  REQUIRE_FALSE(sent);
  CHECK(sent.error().code == ErrorCode::kOverloaded);
  CHECK(sent.error().retryable);

  ends.second.reset();
  auto end = receive_packet(ends.first.get());
  REQUIRE(end);
  CHECK(end->status == ReceiveStatus::kEnd);
  CHECK_FALSE(send_packet(ends.first.get(), frame));
}
