#pragma once
// A crash record as a crash handler would have written it, from what decodes to it.

#include <array>
#include <span>
#include <vector>

#include "ipc/crash_record.h"

namespace cosigner::test {

inline ByteVector crash_record_bytes(const ipc::CrashRecord& record) {
  std::vector<ipc::RawCrashPlace> stack;
  for (const ipc::CodePlace& place : record.stack) {
    stack.push_back({place.module, place.offset});
  }
  const ipc::RawCrash raw{
      .kind = record.kind,
      .signal = record.signal,
      .fault = record.fault,
      .main_thread = record.main_thread,
      .system_call = record.system_call,
      .generation = record.generation,
      .request = record.request,
      .session = std::span<const std::uint8_t, SessionId::kSize>(record.session.data),
      .fault_at = {record.fault_at.module, record.fault_at.offset},
      .stack = stack};
  std::array<std::uint8_t, ipc::kMaxCrashRecord> buffer{};
  const std::size_t size = ipc::encode_crash_record(raw, buffer);
  return {buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(size)};
}

}  // namespace cosigner::test
