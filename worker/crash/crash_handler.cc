#include "worker/crash/crash_handler.h"

#include <execinfo.h>
#include <link.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <new>
#include <span>
#include <string_view>

#include "ipc/crash_record.h"
#include "ipc/worker_exit.h"
#include "worker/crash/activity.h"
#include "worker/crash/code_place.h"

namespace cosigner::worker {
namespace {

#ifdef COSIGNER_SANITIZED
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif
constexpr int kCrashSignals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS};
constexpr std::size_t kMaxModules = 64;
/// The handler and the unwinder were seen to use less than 8 KiB. Untouched pages cost nothing.
constexpr std::size_t kStackBytes = 64U << 10;
/// Frames of the handler itself that precede the crashing one.
constexpr std::size_t kOwnFrames = 8;
constexpr std::uintptr_t kNullPage = 64U << 10;
constexpr std::uintptr_t kNearStack = 64U << 10;

struct Module {
  std::uintptr_t base = 0;
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  std::array<char, ipc::kMaxModuleName + 1> name{};
};
std::array<Module, kMaxModules> modules;
std::size_t module_count = 0;

alignas(16) std::array<std::uint8_t, kStackBytes> alternate_stack;
int record_pipe = -1;
std::uint64_t crash_generation = 0;
pid_t main_thread_id = 0;
std::atomic_flag crashing = ATOMIC_FLAG_INIT;

int note_module(dl_phdr_info* info, std::size_t, void*) {
  if (module_count == modules.size()) {
    return 1;
  }
  Module& module = modules[module_count];
  module = {.base = info->dlpi_addr, .begin = UINTPTR_MAX, .end = 0, .name = {}};
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& segment = info->dlpi_phdr[i];
    if (segment.p_type == PT_LOAD) {
      module.begin = std::min(module.begin, info->dlpi_addr + segment.p_vaddr);
      module.end = std::max(module.end, info->dlpi_addr + segment.p_vaddr + segment.p_memsz);
    }
  }
  std::array<char, 4096> own{};
  std::string_view path = info->dlpi_name;
  if (path.empty()) {  // the program itself has no name here
    const ssize_t size = ::readlink("/proc/self/exe", own.data(), own.size());
    path = std::string_view(own.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  }
  path.remove_prefix(path.find_last_of('/') + 1);  // npos + 1 is 0
  std::ranges::copy(path.substr(0, ipc::kMaxModuleName), module.name.begin());
  if (module.begin < module.end) {
    ++module_count;
  }
  return 0;
}

const Module* module_of(std::uintptr_t address) {
  for (std::size_t i = 0; i < module_count; ++i) {
    if (address >= modules[i].begin && address < modules[i].end) {
      return &modules[i];
    }
  }
  return nullptr;
}

ipc::RawCrashPlace place_of(std::uintptr_t address) {
  const Module* module = module_of(address);
  if (module == nullptr) {
    return {};
  }
  return {std::string_view(module->name.data()), address - module->base};
}

struct Walk {
  std::array<std::uintptr_t, ipc::kMaxCrashFrames + kOwnFrames> addresses{};
  std::size_t count = 0;
};

_Unwind_Reason_Code note_frame(_Unwind_Context* context, void* argument) {
  auto& walk = *static_cast<Walk*>(argument);
  if (walk.count == walk.addresses.size()) {
    return _URC_END_OF_STACK;
  }
  walk.addresses[walk.count++] = _Unwind_GetIP(context);
  return _URC_NO_REASON;
}

void write_record(const ipc::RawCrash& crash) {
  static std::array<std::uint8_t, ipc::kMaxCrashRecord> buffer;
  const std::size_t size = ipc::encode_crash_record(crash, buffer);
  static_cast<void>(::write(record_pipe, buffer.data(), size) > 0);
}

ipc::RawCrash crash_so_far(ipc::CrashKind kind) {
  return {.kind = kind,
          .main_thread = ::syscall(SYS_gettid) == main_thread_id,
          .generation = crash_generation,
          .request = current_activity.request.load(std::memory_order_relaxed),
          .session = std::span<const std::uint8_t, SessionId::kSize>(current_activity.session.data),
          .fault_at = {},
          .stack = {}};
}

// First what is certain, then the stack, whose walk may end the process. `instruction` 0: the stack
// begins with the caller of this function's caller.
void report(ipc::RawCrash crash, std::uintptr_t instruction) {
  static std::array<ipc::RawCrashPlace, ipc::kMaxCrashFrames> places;
  std::size_t count = 0;
  if (instruction != 0) {
    places[count++] = place_of(instruction);
  }
  crash.stack = std::span(places).first(count);
  write_record(crash);

  static Walk walk;
  _Unwind_Backtrace(note_frame, &walk);
  const auto walked = std::span(walk.addresses).first(walk.count);
  auto from = walked.begin();
  if (const auto own = std::ranges::find(walked, instruction);
      instruction != 0 && own != walked.end()) {
    from = own + 1;  // before it come the handler's frames
  }
  for (; from != walked.end() && count < places.size(); ++from) {
    places[count++] = place_of(*from);
  }
  crash.stack = std::span(places).first(count);
  write_record(crash);
}

struct Registers {
  std::uintptr_t instruction = 0;
  std::uintptr_t stack = 0;
};

Registers registers_of(const ucontext_t& context) {
#if defined(__x86_64__)
  return {static_cast<std::uintptr_t>(context.uc_mcontext.gregs[REG_RIP]),
          static_cast<std::uintptr_t>(context.uc_mcontext.gregs[REG_RSP])};
#elif defined(__aarch64__)
  return {context.uc_mcontext.pc, context.uc_mcontext.sp};
#else
#error "where are this architecture's instruction and stack pointers?"
#endif
}

void describe_fault(ipc::RawCrash& crash, const siginfo_t& info, const Registers& registers) {
  const bool has_address =
      info.si_code > 0 && (info.si_signo == SIGSEGV || info.si_signo == SIGBUS);
  if (!has_address) {
    return;
  }
  const auto address = reinterpret_cast<std::uintptr_t>(info.si_addr);
  if (address < kNullPage) {
    crash.fault = ipc::FaultPlace::kNull;
    crash.fault_at = {{}, address};
  } else if (address + kNearStack > registers.stack && address < registers.stack + kNearStack) {
    crash.fault = ipc::FaultPlace::kStack;
  } else if (module_of(address) != nullptr) {
    crash.fault = ipc::FaultPlace::kModule;
    crash.fault_at = place_of(address);
  } else {
    crash.fault = ipc::FaultPlace::kElsewhere;
  }
}

[[noreturn]] void wait_for_the_end() {
  for (;;) {
    const timespec long_enough{3600, 0};
    ::nanosleep(&long_enough, nullptr);
  }
}

extern "C" void on_crash(int signal, siginfo_t* info, void* context) {
  // All of these signals are blocked here, so a fault in the handler ends the process at once; a
  // second one is therefore another thread's.
  if (crashing.test_and_set()) {
    wait_for_the_end();
  }
  const Registers registers = registers_of(*static_cast<const ucontext_t*>(context));
  ipc::RawCrash crash = crash_so_far(ipc::CrashKind::kSignal);
  crash.signal = static_cast<std::uint8_t>(signal);
  crash.system_call = signal == SIGSYS ? static_cast<std::uint32_t>(info->si_syscall) : 0;
  describe_fault(crash, *info, registers);
  report(crash, registers.instruction);
  // The same death as without a handler: pending until this returns, then the default action.
  ::signal(signal, SIG_DFL);
  ::syscall(SYS_tgkill, ::getpid(), ::syscall(SYS_gettid), signal);
}

[[noreturn]] void on_refused_allocation() {
  if (crashing.test_and_set()) {
    wait_for_the_end();
  }
  report(crash_so_far(ipc::CrashKind::kOutOfMemory), 0);
  ::_exit(ipc::kExitOutOfMemory);
}

}  // namespace

ipc::CodePlace code_place(const void* address) {
  const ipc::RawCrashPlace place = place_of(reinterpret_cast<std::uintptr_t>(address));
  return {std::string(place.module), place.offset};
}

void prepare_crash_handler() {
  module_count = 0;
  ::dl_iterate_phdr(note_module, nullptr);
  std::array<void*, 2> unused{};
  ::backtrace(unused.data(), static_cast<int>(unused.size()));  // loads libgcc_s
}

void install_crash_handler(int pipe, std::uint64_t generation) {
  record_pipe = pipe;
  crash_generation = generation;
  main_thread_id = static_cast<pid_t>(::syscall(SYS_gettid));
  std::set_new_handler(on_refused_allocation);
  if (kSanitized) {
    return;
  }
  const stack_t stack{.ss_sp = alternate_stack.data(), .ss_flags = 0, .ss_size = kStackBytes};
  ::sigaltstack(&stack, nullptr);
  struct sigaction action{};
  action.sa_sigaction = on_crash;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  ::sigemptyset(&action.sa_mask);
  for (const int signal : kCrashSignals) {
    ::sigaddset(&action.sa_mask, signal);
  }
  for (const int signal : kCrashSignals) {
    ::sigaction(signal, &action, nullptr);
  }
}

}  // namespace cosigner::worker
