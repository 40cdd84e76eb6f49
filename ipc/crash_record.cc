#include "ipc/crash_record.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "crypto/base/wire.h"

namespace cosigner::ipc {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kLastSignal = 64;

/// Like crypto/base/wire.h's Writer, into memory that is there already.
class FixedWriter {
 public:
  explicit FixedWriter(std::span<std::uint8_t> out) noexcept : out_(out) {}
  void integer(std::uint64_t value, unsigned bytes) noexcept {
    for (unsigned i = bytes; i-- > 0 && used_ < out_.size();) {
      out_[used_++] = static_cast<std::uint8_t>(value >> (8 * i));
    }
  }
  void bytes(const void* data, std::size_t size) noexcept {
    const std::size_t take = std::min(size, out_.size() - used_);
    std::memcpy(out_.data() + used_, data, take);
    used_ += take;
  }
  void place(const RawCrashPlace& place) noexcept {
    const std::size_t size = std::min(place.module.size(), kMaxModuleName);
    integer(size, 1);
    bytes(place.module.data(), size);
    integer(place.offset, 8);
  }
  [[nodiscard]] std::size_t used() const noexcept { return used_; }

 private:
  std::span<std::uint8_t> out_;
  std::size_t used_ = 0;
};

bool is_module_name(std::string_view name) {
  return std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-' || c == '+';
  });
}

CodePlace read_place(Reader& reader) {
  CodePlace place;
  const std::size_t size = reader.u8();
  if (size > kMaxModuleName) {
    reader.fail();
  }
  place.module = std::string(as_text(reader.fixed(size)));
  place.offset = reader.u64();
  if (!is_module_name(place.module)) {
    reader.fail();
  }
  return place;
}

std::optional<CrashRecord> read_record(ByteView bytes) {
  Reader reader(bytes);
  CrashRecord record;
  if (reader.u8() != kVersion) {
    return std::nullopt;
  }
  const std::uint8_t kind = reader.u8();
  record.kind = static_cast<CrashKind>(kind);
  record.signal = reader.u8();
  const std::uint8_t fault = reader.u8();
  record.fault = static_cast<FaultPlace>(fault);
  const std::uint8_t main_thread = reader.u8();
  record.main_thread = main_thread == 1;
  record.system_call = reader.u32();
  record.generation = reader.u64();
  record.request = reader.u64();
  record.session = reader.take<SessionId>();
  record.fault_at = read_place(reader);
  const std::size_t count = reader.u8();
  const bool known = kind >= 1 && kind <= 2 && fault <= 4 && main_thread <= 1 &&
                     count <= kMaxCrashFrames && record.signal <= kLastSignal &&
                     (record.kind == CrashKind::kSignal) == (record.signal != 0);
  for (std::size_t i = 0; known && reader.ok() && i < count; ++i) {
    record.stack.push_back(read_place(reader));
  }
  if (!known || !reader.finished()) {
    return std::nullopt;
  }
  return record;
}

std::string place_text(std::string_view module, std::uint64_t offset) {
  char digits[16];
  const auto end = std::to_chars(digits, digits + sizeof digits, offset, 16).ptr;
  return std::string(module) + "+0x" + std::string(digits, end);
}
std::string place_text(const CodePlace& place) {
  return place.module.empty() ? "?" : place_text(place.module, place.offset);
}

}  // namespace

std::size_t encode_crash_record(const RawCrash& crash,
                                std::span<std::uint8_t, kMaxCrashRecord> out) noexcept {
  static_assert(kMaxCrashRecord >= 2 + 62 + (kMaxCrashFrames + 1) * (1 + kMaxModuleName + 8));
  constexpr std::size_t kLength = 2;
  FixedWriter writer(out.subspan(kLength));
  writer.integer(kVersion, 1);
  writer.integer(static_cast<std::uint8_t>(crash.kind), 1);
  writer.integer(crash.signal, 1);
  writer.integer(static_cast<std::uint8_t>(crash.fault), 1);
  writer.integer(crash.main_thread ? 1 : 0, 1);
  writer.integer(crash.system_call, 4);
  writer.integer(crash.generation, 8);
  writer.integer(crash.request, 8);
  writer.bytes(crash.session.data(), crash.session.size());
  writer.place(crash.fault_at);
  const auto stack = crash.stack.first(std::min(crash.stack.size(), kMaxCrashFrames));
  writer.integer(stack.size(), 1);
  for (const RawCrashPlace& place : stack) {
    writer.place(place);
  }
  FixedWriter(out).integer(writer.used(), kLength);
  return kLength + writer.used();
}

std::optional<CrashRecord> decode_crash_records(ByteView bytes) {
  std::optional<CrashRecord> last;
  Reader reader(bytes);
  while (reader.remaining() > 0) {
    const ByteView one = reader.fixed(reader.u16());
    if (!reader.ok()) {
      break;  // cut off: the one before it counts
    }
    if (auto record = read_record(one)) {
      last = std::move(record);
    }
  }
  return last;
}

std::string CrashRecord::text() const {
  std::string out;
  if (kind == CrashKind::kOutOfMemory) {
    out = "an allocation was refused";
  } else {
    const char* name = ::sigabbrev_np(signal);
    out = "signal " + std::to_string(signal);
    out += name == nullptr ? "" : " (SIG" + std::string(name) + ")";
  }
  if (system_call != 0) {
    out += ", system call " + std::to_string(system_call);
  }
  switch (fault) {
    case FaultPlace::kNone:
      break;
    case FaultPlace::kNull:
      out += " at " + place_text("null", fault_at.offset);
      break;
    case FaultPlace::kStack:
      out += " at the end of the stack";
      break;
    case FaultPlace::kModule:
      out += " at " + place_text(fault_at);
      break;
    case FaultPlace::kElsewhere:
      out += " at an address in no module";
      break;
  }
  if (!main_thread) {
    out += ", not on the main thread";
  }
  for (std::size_t i = 0; i < stack.size(); ++i) {
    out += (i == 0 ? " in " : " < ") + place_text(stack[i]);
  }
  return out;
}

}  // namespace cosigner::ipc
