// Crash records: what was written comes back; what no handler writes is refused.

#include "ipc/crash_record.h"

#include <catch2/catch.hpp>

#include "tests/support/crash_record_bytes.h"
#include "tests/support/seeded_random.h"

using namespace cosigner;
using namespace cosigner::ipc;
using cosigner::test::crash_record_bytes;

namespace {

const SessionId kSession = [] {
  SessionId id;
  id.data.fill(0x5e);
  return id;
}();

CrashRecord example() {
  return {.kind = CrashKind::kSignal,
          .signal = 11,
          .fault = FaultPlace::kNull,
          .main_thread = false,
          .system_call = 0,
          .generation = 0x0102030405060708,
          .request = 99,
          .session = kSession,
          .fault_at = {"", 16},
          .stack = {{"cosigner-worker", 0x1a2b}, {"libc.so.6", 0x27fff}, {"", 0}}};
}

ByteVector joined(const ByteVector& a, const ByteVector& b) {
  ByteVector out = a;
  out.insert(out.end(), b.begin(), b.end());
  return out;
}

}  // namespace

TEST_CASE("a crash record comes back as it was written, every field of it") {
  std::vector<CrashRecord> all(12, example());
  all[1].kind = CrashKind::kOutOfMemory;
  all[1].signal = 0;
  all[2].signal = 31;
  all[3].fault = FaultPlace::kModule;
  all[4].main_thread = true;
  all[5].system_call = 59;
  all[6].generation = 1;
  all[7].request = 0;
  all[8].session = SessionId{};
  all[9].fault_at = {"libcrypto.so.3", 1};
  all[10].stack.pop_back();
  all[11].stack[0].offset = 0x1a2c;
  for (std::size_t i = 0; i < all.size(); ++i) {
    INFO(i);
    CHECK(decode_crash_records(crash_record_bytes(all[i])) == all[i]);
    CHECK((i == 0 || crash_record_bytes(all[i]) != crash_record_bytes(all[0])));
  }
}

TEST_CASE("of two crash records the last whole one counts") {
  CrashRecord first = example();
  first.stack.clear();
  const ByteVector early = crash_record_bytes(first);
  const ByteVector late = crash_record_bytes(example());
  CHECK(decode_crash_records(joined(early, late)) == example());
  for (std::size_t size = 0; size < late.size(); ++size) {
    const ByteVector cut(late.begin(), late.begin() + static_cast<std::ptrdiff_t>(size));
    CHECK(decode_crash_records(joined(early, cut)) == first);
    CHECK_FALSE(decode_crash_records(cut));
  }
}

TEST_CASE("what no handler writes is no crash record") {
  const ByteVector good = crash_record_bytes(example());
  // Offsets as in crash_record.h, the length included.
  struct Altered {
    const char* what;
    std::size_t at;
    std::uint8_t value;
  };
  for (const Altered& altered :
       {Altered{"length", 1, 0}, Altered{"version", 2, 2}, Altered{"no kind", 3, 0},
        Altered{"a kind that is none", 3, 3}, Altered{"out of memory by a signal", 3, 2},
        Altered{"no signal", 4, 0}, Altered{"a signal that is none", 4, 65},
        Altered{"a fault place that is none", 5, 5}, Altered{"a thread that is none", 6, 2},
        Altered{"a module's length", 59, 32}, Altered{"more places than there are", 68, 4},
        Altered{"fewer places than there are", 68, 2}, Altered{"too many places", 68, 33},
        Altered{"a line break in a module", 70, '\n'}, Altered{"a slash", 70, '/'},
        Altered{"an escape", 70, 0x1b}, Altered{"no ASCII", 70, 0xc3}}) {
    INFO(altered.what);
    ByteVector bytes = good;
    bytes[altered.at] = altered.value;
    CHECK_FALSE(decode_crash_records(bytes));
  }
  SeededRandom random(7);
  for (int i = 0; i < 20'000; ++i) {
    ByteVector bytes = good;
    for (int flips = 0; flips < 3; ++flips) {
      bytes[random.next_u64() % bytes.size()] ^=
          static_cast<std::uint8_t>(1U << (random.next_u64() % 8));
    }
    if (const auto record = decode_crash_records(bytes)) {
      CHECK(record->stack.size() <= kMaxCrashFrames);
      CHECK(record->text().find_first_of("\n\x1b") == std::string::npos);
    }
  }
}

TEST_CASE("a record that is too long for one write is cut, not refused") {
  CrashRecord record = example();
  record.stack.assign(kMaxCrashFrames + 5, {std::string(kMaxModuleName + 9, 'm'), UINT64_MAX});
  const ByteVector bytes = crash_record_bytes(record);
  CHECK(bytes.size() <= kMaxCrashRecord);
  const auto back = decode_crash_records(bytes);
  REQUIRE(back);
  CHECK(back->stack.size() == kMaxCrashFrames);
  CHECK(back->stack[0].module.size() == kMaxModuleName);
}

TEST_CASE("a crash record in words") {
  CHECK(example().text() ==
        "signal 11 (SIGSEGV) at null+0x10, not on the main thread in cosigner-worker+0x1a2b < "
        "libc.so.6+0x27fff < ?");
  CrashRecord memory{.kind = CrashKind::kOutOfMemory, .session = {}, .fault_at = {}, .stack = {}};
  CHECK(memory.text() == "an allocation was refused");
  CrashRecord refused{.signal = 31, .system_call = 59, .session = {}, .fault_at = {}, .stack = {}};
  CHECK(refused.text() == "signal 31 (SIGSYS), system call 59");
}
