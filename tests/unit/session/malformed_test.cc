// What a worker's packets hold, not as any worker writes it: every message between workers, and the
// hello, cut anywhere, with a byte too many, with texts, byte strings and lists above their limits.
// No such bytes are read as a message; each one received is counted, once, and changes nothing.

#include <catch2/catch.hpp>

#include "tests/support/engine_cluster.h"
#include "tests/support/impostor.h"
#include "tests/support/session_messages.h"
#include "worker/session/packet.h"

using namespace cosigner;
using namespace cosigner::test;
using namespace cosigner::worker;

namespace {

/// The switch has no default: a kind that is added must be named here (-Wswitch), and then listed.
bool is_a_kind(MessageKind kind) {
  switch (kind) {
    case MessageKind::kStart:
    case MessageKind::kRound:
    case MessageKind::kResult:
    case MessageKind::kAbort:
    case MessageKind::kAdvance:
    case MessageKind::kDecline:
    case MessageKind::kAcknowledge:
    case MessageKind::kCertificate:
    case MessageKind::kRefusal:
    case MessageKind::kPairNotice:
    case MessageKind::kPresignPropose:
    case MessageKind::kPresignAccept:
    case MessageKind::kPresignBegin:
    case MessageKind::kPresignRound:
    case MessageKind::kPresignReady:
    case MessageKind::kPresignEnd:
      return true;
  }
  return false;
}

/// One CHECK for each of thousands of cuts would be most of the time.
template <class T>
void check_cuts_and_extra_bytes(const ByteVector& whole) {
  REQUIRE(decode_fields<T>(whole));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    if (decode_fields<T>(ByteView(whole).first(size))) {
      FAIL_CHECK("the first " << size << " of " << whole.size() << " bytes are read as a message");
    }
  }
  for (const std::uint8_t extra : ByteVector{0x00, 0x01, 0xff}) {
    ByteVector longer = whole;
    longer.push_back(extra);
    CHECK_FALSE(decode_fields<T>(longer));
  }
}

/// Every field that has a length is read at its limit, as it was written, and refused one above it.
/// Returns how many there are.
template <class T>
int check_limits() {
  using Length = FieldStretcher::Length;
  for (int field = 0;; ++field) {
    CAPTURE(field);
    for (const Length length : {Length::kNone, Length::kLimit, Length::kAboveLimit}) {
      T value = filled<T>();
      FieldStretcher stretcher(field, length);
      T::fields(value, stretcher);
      if (stretcher.beyond()) {
        return field;
      }
      const bool valid =
          length == Length::kLimit || (length == Length::kNone && stretcher.may_be_empty());
      const ByteVector bytes = encode_unbounded(value);
      const std::optional<T> read = decode_fields<T>(bytes);
      CAPTURE(static_cast<int>(length));
      CHECK(read.has_value() == valid);
      const bool same = !read || encode_fields(*read) == bytes;
      CHECK(same);
    }
  }
}

/// Any length or count that claims more than there is.
template <class T>
void check_lengths_beyond_the_end() {
  const ByteVector whole = encode_fields(filled<T>());
  for (std::size_t at = 0; at + 2 <= whole.size(); ++at) {
    ByteVector claims = whole;
    claims[at] = claims[at + 1] = 0xff;
    // Where that is no length it is a value, and the message is read as it stands.
    if (const std::optional<T> read = decode_fields<T>(claims)) {
      const bool same = encode_fields(*read) == claims;
      CHECK(same);
    }
  }
}

/// What one peer's packets move, beside `messages_malformed`.
std::uint64_t otherwise_dropped(const Counters& counters) {
  return counters.packets_malformed + counters.packets_duplicate + counters.packets_unopened +
         counters.packets_unknown + counters.packets_other_worker + counters.stale_generation +
         counters.messages_stray + counters.messages_late + counters.messages_early +
         counters.messages_refused + counters.presign_refused + counters.misbehaviours +
         counters.exceptions;
}

}  // namespace

TEST_CASE("every kind of message between workers is in the list", "[malformed]") {
  std::vector<int> listed;
  ipc::each(AllSessionMessages{},
            [&]<class T>(const T& /*message*/) { listed.push_back(static_cast<int>(T::kKind)); });
  std::vector<int> kinds;
  for (int kind = 0; kind < 256; ++kind) {
    if (is_a_kind(static_cast<MessageKind>(kind))) {
      kinds.push_back(kind);
    }
  }
  CHECK(listed == kinds);
}

TEST_CASE("no message between workers is read from a part of its bytes, or with bytes left over",
          "[malformed]") {
  ipc::each(AllSessionMessages{}, []<class T>(const T& /*message*/) {
    CAPTURE(static_cast<int>(T::kKind));
    check_cuts_and_extra_bytes<T>(encode_fields(filled<T>()));
    check_lengths_beyond_the_end<T>();
  });
  check_cuts_and_extra_bytes<Hello>(encode_fields(filled<Hello>()));
  check_lengths_beyond_the_end<Hello>();
  check_cuts_and_extra_bytes<SignedHello>(encode_fields(filled<SignedHello>()));
  check_lengths_beyond_the_end<SignedHello>();
}

TEST_CASE("no field of a message between workers is read above its limit", "[malformed]") {
  int fields = 0;
  ipc::each(AllSessionMessages{}, [&]<class T>(const T& /*message*/) {
    CAPTURE(static_cast<int>(T::kKind));
    fields += check_limits<T>();
  });
  CHECK(fields > 25);
  CHECK(check_limits<Hello>() == 7);  // node, key, payload, banned with two names, pairs
  CHECK(check_limits<SignedHello>() == 2);
}

TEST_CASE("a packet is read whole, or not at all", "[malformed]") {
  const auto refused_beyond = [](const ByteVector& packet, auto&& decode) {
    REQUIRE(decode(packet));
    ByteVector longer = packet;
    longer.push_back(0);
    CHECK_FALSE(decode(longer));
    for (std::size_t size = 2; size < packet.size(); ++size) {
      CHECK_FALSE(decode(ByteView(packet).first(size)));
    }
  };
  refused_beyond(encode_hello_packet(filled<SignedHello>()),
                 [](ByteView packet) { return decode_hello_packet(packet).has_value(); });
  const auto greeting = [](ByteView packet) { return decode_greeting(packet).has_value(); };
  refused_beyond(encode_greeting(true, ByteVector(kMaxCertificateBytes, 1)), greeting);
  CHECK_FALSE(greeting(encode_greeting(true, ByteVector(kMaxCertificateBytes + 1, 1))));
  ByteVector wish = encode_greeting(true, {});
  wish.at(2) = 2;
  CHECK_FALSE(greeting(wish));

  // Of a sealed one everything but the ciphertext, whose end is the packet's.
  const ByteVector header = sealed_header(1, 2, ByteVector(kMaxCertificateBytes, 1));
  ByteVector sealed = header;
  sealed.resize(header.size() + 8);
  CHECK(decode_sealed(sealed));
  for (std::size_t size = 2; size < sealed.size(); ++size) {
    CHECK_FALSE(decode_sealed(ByteView(sealed).first(size)));
  }
  sealed = sealed_header(1, 2, ByteVector(kMaxCertificateBytes + 1, 1));
  sealed.resize(sealed.size() + 8);
  CHECK_FALSE(decode_sealed(sealed));

  CHECK_FALSE(packet_kind({}));
  CHECK_FALSE(packet_kind(ByteVector{kPacketVersion}));
  CHECK_FALSE(packet_kind(ByteVector{kPacketVersion, 4}));
  CHECK_FALSE(packet_kind(ByteVector{kPacketVersion + 1, 1}));
}

TEST_CASE("what a sealed packet holds is read whole, or not at all", "[malformed]") {
  const auto read = [](ByteView plain) { return decode_contents(plain).has_value(); };
  const SecretVector whole = encode_contents(true, {1, 2}, {{7}, {8, 9}});
  CHECK(read(whole));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CHECK_FALSE(read(ByteView(whole).first(size)));
  }
  SecretVector longer = whole;
  longer.push_back(0);
  CHECK_FALSE(read(longer));
  SecretVector flag = whole;
  flag[0] = 2;
  CHECK_FALSE(read(flag));

  const auto acknowledging = [&](std::size_t count) {
    return read(encode_contents(false, std::vector<std::uint64_t>(count, 1), {}));
  };
  CHECK(acknowledging(kMaxAcksPerPacket));
  CHECK_FALSE(acknowledging(kMaxAcksPerPacket + 1));
  const auto of_messages = [&](std::size_t count, std::size_t size) {
    return read(encode_contents(false, {}, std::vector<ByteVector>(count, ByteVector(size, 7))));
  };
  CHECK(of_messages(kMaxMessagesPerPacket, 1));
  CHECK_FALSE(of_messages(kMaxMessagesPerPacket + 1, 1));
  CHECK_FALSE(of_messages(1, 0));  // without a kind
  CHECK(of_messages(1, kMaxRoundPayload + (64U << 10)));
  CHECK_FALSE(of_messages(1, kMaxRoundPayload + (64U << 10) + 1));
}

TEST_CASE("every malformed message is counted once and changes nothing", "[malformed]") {
  EngineCluster cluster(17, 3);
  cluster.make_key("k", 2);
  cluster.filter = [](const std::string& from, const std::string&, ByteVector&) {
    return from != "n3";
  };
  Impostor liar(cluster, "n3", "n1");
  const Counters& counters = cluster.counters(0);
  const auto check_counted = [&](const ByteVector& message) {
    const std::uint64_t malformed = counters.messages_malformed;
    const std::uint64_t otherwise = otherwise_dropped(counters);
    liar.say({message});
    CHECK(counters.messages_malformed == malformed + 1);
    CHECK(otherwise_dropped(counters) == otherwise);
  };
  ipc::each(AllSessionMessages{}, [&]<class T>(const T& /*message*/) {
    CAPTURE(static_cast<int>(T::kKind));
    const ByteVector whole = encode_message(filled<T>());
    check_counted({whole.begin(), whole.end() - 1});
    check_counted({whole[0]});
    ByteVector longer = whole;
    longer.push_back(0);
    check_counted(longer);
    // Whole it is a stranger's, but a message.
    const std::uint64_t malformed = counters.messages_malformed;
    liar.say({whole});
    CHECK(counters.messages_malformed == malformed);
  });
  check_counted({0});
  check_counted({99, 1, 2, 3});
  // One among others costs the others nothing.
  const std::uint64_t malformed = counters.messages_malformed;
  const std::uint64_t stray = counters.messages_stray;
  const ByteVector advance = encode_message(filled<Advance>());
  liar.say({advance, {99}, advance});
  CHECK(counters.messages_malformed == malformed + 1);
  CHECK(counters.messages_stray == stray + 2);

  const auto works = cluster.ask_all(cluster.coordinated_by("n1", 0).envelope);
  REQUIRE(cluster.settle(works));
  for (const std::size_t i : {0U, 1U}) {
    CHECK(cluster.answer(works[i]).ok());
  }
}
