#pragma once
// What a dying worker or gateway leaves in its crash pipe: which signal, where, in the middle of
// what. Places are offsets into modules and nothing else: no register, no stack or heap contents,
// no absolute address, since any of them may be a secret or say where the siblings' memory lies
// (all forks of a zygote share one layout).
//
//   u16 length ‖ u8 version = 1 ‖ u8 kind ‖ u8 signal ‖ u8 fault ‖ u8 main thread ‖ u32 system call
//   ‖ u64 generation ‖ u64 request ‖ session (32) ‖ place ‖ u8 count ‖ places
//   place = u8 length ‖ module ‖ u64 offset
//
// Written by a signal handler, so the encoder allocates nothing and calls nothing. The pipe may
// hold two records: the first goes out before the stack is walked, which a broken stack may end.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/bytes.h"

namespace cosigner::ipc {

enum class CrashKind : std::uint8_t {
  kSignal = 1,
  kOutOfMemory = 2,  ///< an allocation was refused: the memory limit
};

/// What the faulting address says without saying it.
enum class FaultPlace : std::uint8_t {
  kNone = 0,       ///< the signal has no address
  kNull = 1,       ///< within 64 KiB of address 0; the offset says where
  kStack = 2,      ///< close to the stack pointer: the stack was used up
  kModule = 3,     ///< in a program's or library's memory
  kElsewhere = 4,  ///< heap, or nowhere
};

struct CodePlace {
  std::string module;  ///< file name without folder; empty: in no module
  std::uint64_t offset = 0;
  friend bool operator==(const CodePlace&, const CodePlace&) = default;
};

struct CrashRecord {
  CrashKind kind = CrashKind::kSignal;
  std::uint8_t signal = 0;  ///< 0 with kOutOfMemory
  FaultPlace fault = FaultPlace::kNone;
  bool main_thread = true;
  std::uint32_t system_call = 0;  ///< with SIGSYS: the number of the call that was refused
  std::uint64_t generation = 0;
  std::uint64_t request = 0;     ///< the supervisor's number of the last request begun; 0: none
  SessionId session;             ///< the last session that was worked on; all zero: none
  CodePlace fault_at;            ///< with kNull and kModule
  std::vector<CodePlace> stack;  ///< the crashing instruction, then return addresses

  /// "signal 11 (SIGSEGV) at null+0x10 in cosigner-worker+0x1a2b3 < libc.so.6+0x…", for
  /// addr2line -e.
  [[nodiscard]] std::string text() const;
  friend bool operator==(const CrashRecord&, const CrashRecord&) = default;
};

inline constexpr std::size_t kMaxCrashFrames = 32;
inline constexpr std::size_t kMaxModuleName = 31;
inline constexpr std::size_t kMaxCrashRecord = 2048;  ///< below PIPE_BUF: one write is atomic

/// The same as the handler has it: views into memory that outlives the call.
struct RawCrashPlace {
  std::string_view module;
  std::uint64_t offset = 0;
};
struct RawCrash {
  CrashKind kind = CrashKind::kSignal;
  std::uint8_t signal = 0;
  FaultPlace fault = FaultPlace::kNone;
  bool main_thread = true;
  std::uint32_t system_call = 0;
  std::uint64_t generation = 0;
  std::uint64_t request = 0;
  std::span<const std::uint8_t, SessionId::kSize> session;
  RawCrashPlace fault_at;
  std::span<const RawCrashPlace> stack;
};

/// Async-signal-safe. Frames and names beyond the limits are cut off. Returns the size.
std::size_t encode_crash_record(const RawCrash& crash,
                                std::span<std::uint8_t, kMaxCrashRecord> out) noexcept;

/// The last whole record of what was in the pipe; nothing if there is none. A worker may write
/// whatever it likes: names are checked, so that they can go to a log as they are.
[[nodiscard]] std::optional<CrashRecord> decode_crash_records(ByteView bytes);

}  // namespace cosigner::ipc
