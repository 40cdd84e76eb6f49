// Every field of every message: left out, of another type, too large, one too many.

#include "ipc/codec.h"

#include <catch2/catch.hpp>
#include <functional>
#include <set>

#include "ipc/frame.h"
#include "tests/support/all_messages.h"
#include "tests/support/seeded_random.h"

using namespace cosigner;
using namespace cosigner::ipc;

namespace {

// A value of each kind that no field of another kind takes.
template <class T>
void fill(T& value, SeededRandom& random) {
  if constexpr (HasFields<T>) {
    std::apply([&](auto&... field) { (fill(field, random), ...); }, value.fields());
  } else if constexpr (std::is_same_v<T, bool>) {
    value = true;
  } else if constexpr (std::is_enum_v<T>) {
    value = EnumRange<T>::kLast;
  } else if constexpr (std::is_integral_v<T>) {
    value = static_cast<T>(random.next_u64() & 0x7f);
  } else if constexpr (std::is_same_v<T, std::string>) {
    value = "text-" + std::to_string(random.next_u64());
  } else if constexpr (codec::IsBytes<T>::value) {
    random.fill(value.span());
  } else if constexpr (std::is_same_v<T, ByteVector> || std::is_same_v<T, SecretVector>) {
    value.resize(17);
    random.fill(value);
  } else {
    value.resize(2);
    for (auto& item : value) {
      fill(item, random);
    }
  }
}

// The encoded fields of a message, one by one.
template <class T>
std::vector<SecretVector> fields_of(const T& message) {
  std::vector<SecretVector> out;
  std::apply(
      [&](const auto&... field) {
        (
            [&] {
              Packer packer;
              codec::put(packer, field);
              out.push_back(packer.take());
            }(),
            ...);
      },
      message.fields());
  return out;
}

SecretVector join(const std::vector<SecretVector>& fields) {
  Packer packer;
  packer.array(fields.size());
  for (const SecretVector& field : fields) {
    packer.raw(as_view(field));
  }
  return packer.take();
}

std::vector<SecretVector> values_of_all_kinds() {
  std::vector<SecretVector> out;
  const auto add = [&](const std::function<void(Packer&)>& write) {
    Packer packer;
    write(packer);
    out.push_back(packer.take());
  };
  add([](Packer& p) { p.null(); });
  add([](Packer& p) { p.boolean(true); });
  add([](Packer& p) { p.unsigned_integer(1); });
  add([](Packer& p) { p.signed_integer(-1); });
  add([](Packer& p) { p.text("x"); });
  add([](Packer& p) { p.bytes(ByteVector(5)); });
  add([](Packer& p) { p.array(0); });
  add([](Packer& p) { p.map(0); });
  const std::uint8_t real[] = {0xca, 0, 0, 0, 0};  // float32 0.0
  add([&](Packer& p) { p.raw(real); });
  const std::uint8_t extension[] = {0xd4, 1, 0};  // fixext1
  add([&](Packer& p) { p.raw(extension); });
  return out;
}

// Does a field of this type take that kind of value?
template <class T>
bool takes(std::size_t kind) {
  if constexpr (std::is_same_v<T, bool>) {
    return kind == 1;
  } else if constexpr (std::is_enum_v<T>) {
    return kind == 2;
  } else if constexpr (std::is_signed_v<T>) {
    return kind == 2 || kind == 3;
  } else if constexpr (std::is_integral_v<T>) {
    return kind == 2;
  } else if constexpr (std::is_same_v<T, std::string>) {
    return kind == 4;
  } else if constexpr (codec::IsBytes<T>::value) {
    return false;  // five bytes are no value of any fixed size
  } else if constexpr (std::is_same_v<T, ByteVector> || std::is_same_v<T, SecretVector>) {
    return kind == 5;
  } else if constexpr (HasFields<T>) {
    return false;
  } else {
    return kind == 6;
  }
}

}  // namespace

TEST_CASE("every message survives a round trip through a frame") {
  SeededRandom random(1);
  each(AllMessages{}, [&]<class Message>(Message message) {
    fill(message, random);
    const auto bytes = encode_frame(message, 77);
    REQUIRE(bytes);
    const auto frame = parse_frame(as_view(*bytes));
    REQUIRE(frame);
    CHECK(frame->type == Message::kType);
    CHECK(frame->generation == 77);
    const auto back = decode<Message>(*frame);
    REQUIRE(back);
    CHECK(encode(*back) == encode(message));
  });
}

TEST_CASE("the list of all messages has every number that a frame may bear") {
  std::set<std::uint16_t> listed;
  each(AllMessages{}, [&]<class Message>(Message /*message*/) {
    CHECK(listed.insert(static_cast<std::uint16_t>(Message::kType)).second);
  });
  for (std::uint32_t number = 0; number <= 0xffff; ++number) {
    const auto type = static_cast<std::uint16_t>(number);
    const auto bytes = make_frame(static_cast<MessageType>(type), 0, {});
    REQUIRE(bytes);
    if (parse_frame(as_view(*bytes)).has_value() != listed.contains(type)) {
      FAIL("number " << number << (listed.contains(type) ? " is refused" : " is not in the list"));
    }
  }
}

TEST_CASE("every truncation and every extra byte of every message is refused") {
  SeededRandom random(2);
  each(AllMessages{}, [&]<class Message>(Message message) {
    fill(message, random);
    SecretVector bytes = encode(message);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      CHECK_FALSE(decode<Message>(as_view(bytes).first(size)));
    }
    bytes.push_back(0xc0);
    CHECK_FALSE(decode<Message>(as_view(bytes)));
  });
}

TEST_CASE("every field of every message: missing, doubled, of another type") {
  SeededRandom random(3);
  const auto kinds = values_of_all_kinds();
  each(AllMessages{}, [&]<class Message>(Message message) {
    fill(message, random);
    const auto fields = fields_of(message);
    REQUIRE(decode<Message>(as_view(join(fields))));
    for (std::size_t i = 0; i < fields.size(); ++i) {
      auto fewer = fields;
      fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(i));
      CHECK_FALSE(decode<Message>(as_view(join(fewer))));
      auto more = fields;
      more.insert(more.begin() + static_cast<std::ptrdiff_t>(i), fields[i]);
      CHECK_FALSE(decode<Message>(as_view(join(more))));
    }
    std::size_t i = 0;
    std::apply(
        [&]<class... Field>(const Field&... /*field*/) {
          (
              [&] {
                for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
                  auto other = fields;
                  other[i] = kinds[kind];
                  CHECK(decode<Message>(as_view(join(other))).has_value() == takes<Field>(kind));
                }
                ++i;
              }(),
              ...);
        },
        message.fields());
  });
}

TEST_CASE("integers outside their type, unknown enumerators, oversized and unprintable values") {
  const auto with = [](auto message, std::size_t i, const std::function<void(Packer&)>& write) {
    auto fields = fields_of(message);
    Packer packer;
    write(packer);
    fields[i] = packer.take();
    return decode<decltype(message)>(as_view(join(fields))).has_value();
  };
  CHECK_FALSE(with(ZygoteReady{}, 0, [](Packer& p) { p.unsigned_integer(1ULL << 31U); }));
  CHECK_FALSE(with(ZygoteReady{}, 0, [](Packer& p) { p.signed_integer(-(1LL << 31) - 1); }));
  CHECK(with(ZygoteReady{}, 0, [](Packer& p) { p.signed_integer(-(1LL << 31)); }));
  CHECK_FALSE(with(WorkerReady{}, 0, [](Packer& p) { p.unsigned_integer(1ULL << 32U); }));
  CHECK(with(WorkerReady{}, 0, [](Packer& p) { p.unsigned_integer((1ULL << 32U) - 1); }));
  CHECK_FALSE(with(Log{}, 0, [](Packer& p) { p.unsigned_integer(0); }));
  CHECK(with(Log{}, 0, [](Packer& p) { p.unsigned_integer(4); }));
  CHECK_FALSE(with(Log{}, 0, [](Packer& p) { p.unsigned_integer(5); }));
  CHECK_FALSE(with(ForkOrder{}, 1, [](Packer& p) { p.unsigned_integer(0); }));
  CHECK_FALSE(with(ForkOrder{}, 1, [](Packer& p) { p.unsigned_integer(3); }));
  CHECK_FALSE(with(WorkerHello{}, 0, [](Packer& p) { p.bytes(ByteVector(31)); }));
  CHECK_FALSE(with(WorkerHello{}, 0, [](Packer& p) { p.bytes(ByteVector(33)); }));
  CHECK(with(Log{}, 1, [](Packer& p) { p.text(std::string(kMaxTextBytes, 'x')); }));
  CHECK_FALSE(with(Log{}, 1, [](Packer& p) {
    // text32 of one byte more than any reader takes
    ByteVector raw = {0xdb, 0, 1, 0, 1};
    raw.resize(5 + kMaxTextBytes + 1, 'x');
    p.raw(raw);
  }));
  const std::uint8_t escape[] = {0xa1, 0x1b};
  CHECK_FALSE(with(Log{}, 1, [&](Packer& p) { p.raw(escape); }));
  CHECK_FALSE(with(GatewayStart{}, 5, [](Packer& p) {
    p.array(kMaxItems + 1);
    for (std::size_t i = 0; i <= kMaxItems; ++i) {
      p.array(2).text("n").bytes(ByteVector(32));
    }
  }));
}

TEST_CASE("a text that no reader would take is cut or cleaned by the writer") {
  Log log;
  log.message = std::string(kMaxTextBytes - 1, 'x') + "\xe2\x82\xac and on";
  const auto cut = decode<Log>(as_view(encode(log)));
  REQUIRE(cut);
  CHECK(cut->message == std::string(kMaxTextBytes - 1, 'x') + "?");
  log.message = "\x1b[2J";
  CHECK(decode<Log>(as_view(encode(log)))->message == "?[2J");
}

TEST_CASE("an announced size costs nothing") {
  // array32 of 2^32−1 elements, nested; map32 likewise; bin32 of 4 GiB.
  for (const std::uint8_t kind : ByteVector{0xdd, 0xdf, 0xc6}) {
    const ByteVector bytes = {kind, 0xff, 0xff, 0xff, 0xff};
    CHECK_FALSE(Tree::parse(bytes));
  }
  CHECK_FALSE(Tree::parse(ByteVector(9, 0x91)));  // nine levels and no end
  ByteVector deep(8, 0x91);
  deep.push_back(0xc0);
  CHECK(Tree::parse(deep));
  deep.insert(deep.begin(), 0x91);
  CHECK_FALSE(Tree::parse(deep));
  CHECK_FALSE(Tree::parse({}));
}

TEST_CASE("loggable text") {
  for (const char* good :
       {"", "plain", "tab\tline\n", "Zürich", "\xe2\x82\xac", "\xf0\x9f\x94\x91"}) {
    CHECK(loggable(good));
    CHECK(make_loggable(good) == good);
  }
  // Escape, DEL, C1, lone continuation, overlong, surrogate, above U+10FFFF, cut off.
  for (const std::string bad : {"\x1b[2J", "\x7f", "\xc2\x9b", "\x80", "\xc0\xaf", "\xe0\x80\xaf",
                                "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\xff"}) {
    CHECK_FALSE(loggable(bad));
    CHECK(loggable(make_loggable(bad)));
  }
  CHECK_FALSE(loggable(std::string_view("\0", 1)));
  Packer packer;
  packer.text(
      "a\x1b"
      "b");
  const auto tree = Tree::parse(packer.view());
  REQUIRE(tree);
  CHECK(tree->root().text() == "a?b");
}
