// The crash handler in real processes that crash, inside the sandbox: what arrives in the pipe, how
// the process ends, and what the record must not say.

#include "worker/crash/crash_handler.h"

#include <link.h>
#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "ipc/worker_exit.h"
#include "supervisor/process/crash_pipe.h"
#include "worker/crash/activity.h"
#include "worker/sandbox/sandbox.h"

#ifndef COSIGNER_SANITIZED  // sanitizers have handlers of their own

using namespace cosigner;
using namespace cosigner::worker;
using cosigner::ipc::CrashKind;
using cosigner::ipc::CrashRecord;
using cosigner::ipc::FaultPlace;
using cosigner::supervisor::CrashPipe;

namespace {

volatile int* nowhere = nullptr;
volatile int zero = 0;
volatile int many = 1000;
volatile bool for_ever = true;

__attribute__((noinline)) void write_to_null() {
  *(nowhere + 4) = 1;
}

__attribute__((noinline)) int use_up_the_stack(int depth) {
  volatile char page[4096] = {};
  page[depth % 4096] = 1;
  return for_ever ? use_up_the_stack(depth + 1) + page[0] : 0;
}

// Eight bytes that look like a secret, in registers, on the stack, in the heap, and as an address.
constexpr std::uint64_t kSecret = 0x00005ec2e7ab1e5d;

__attribute__((noinline)) void crash_with_secrets() {
  volatile std::uint64_t on_the_stack[64];
  for (auto& word : on_the_stack) {
    word = kSecret;
  }
  auto* const wild = reinterpret_cast<volatile std::uint8_t*>(kSecret);
  *wild = static_cast<std::uint8_t>(on_the_stack[0]);
}

// Writes over the end of the heap's last block, where glibc keeps the size of what is left behind
// it. The next allocation finds that out and aborts, and while there is a second thread it holds
// the allocator's lock as it does so: a handler that allocated would wait for it for ever.
__attribute__((noinline)) void corrupt_the_heap() {
  std::thread([] {
    while (for_ever) {
      std::this_thread::sleep_for(std::chrono::hours(1));
    }
  }).detach();
  constexpr std::size_t kBlock = 100'000;  // too large for the allocator's caches, not for the heap
  std::vector<std::unique_ptr<std::uint8_t[]>> kept;
  kept.reserve(1000);
  while (kept.size() < kept.capacity()) {
    kept.push_back(std::make_unique_for_overwrite<std::uint8_t[]>(kBlock));
    std::uint8_t* const end = kept.back().get() + ::malloc_usable_size(kept.back().get());
    auto* const size = reinterpret_cast<volatile std::size_t*>(end);
    const std::size_t left = *size & ~std::size_t{7};  // the lowest bits are flags
    if (end - sizeof left + left == static_cast<std::uint8_t*>(::sbrk(0))) {
      *size = SIZE_MAX;
    }
  }
}

// On another thread, while this one holds the loader's lock.
int crash_beside(dl_phdr_info* /*module*/, std::size_t /*size*/, void* /*argument*/) {
  std::thread(write_to_null).join();
  return 1;
}

const std::map<std::string, std::function<void()>>& crimes() {
  static const std::map<std::string, std::function<void()>> all = {
      {"null", write_to_null},
      {"abort", [] { std::abort(); }},
      {"divide", [] { zero = many / zero; }},
      {"illegal", [] { __builtin_trap(); }},
      {"stack", [] { use_up_the_stack(0); }},
      {"bus", [] { ::raise(SIGBUS); }},
      {"thread", [] { std::thread(write_to_null).join(); }},
      {"terminate", [] { std::terminate(); }},
      {"secrets", crash_with_secrets},
      {"memory",
       [] {
         static std::vector<std::vector<std::uint8_t>> kept;
         while (for_ever) {
           kept.emplace_back(64U << 20);
         }
       }},
      {"read-only", [] { *const_cast<volatile char*>("text") = 1; }},
      {"heap", corrupt_the_heap},
      {"loader", [] { ::dl_iterate_phdr(crash_beside, nullptr); }},
      {"fine", [] {}},
  };
  return all;
}

/// Seconds after which a child that still lives has failed: its handler waits for something.
constexpr unsigned kLongestLife = 120;

[[noreturn]] void live_and_die(const std::string& crime, int pipe) {
  ::alarm(kLongestLife);
  install_crash_handler(pipe, 42);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  prepare_sandbox();
  if (!enter_sandbox("nats://127.0.0.1:4222")) {
    ::_exit(99);
  }
  current_activity.begin_request(17);
  SessionId session;
  session.data.fill(0xab);
  current_activity.touch_session(session);
  crimes().at(crime)();
  ::_exit(0);
}

struct Death {
  int status = 0;
  std::optional<CrashRecord> record;
};

// A process that does this and nothing else.
Death death_of(const std::string& crime) {
  prepare_crash_handler();
  auto pipe = CrashPipe::open();
  REQUIRE(pipe);
  const ipc::UniqueFd writer = pipe->take_writer();
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    // Nobody above shall handle its signals but the handler under test.
    for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGTERM, SIGALRM}) {
      ::signal(signal, SIG_DFL);
    }
    live_and_die(crime, writer.get());
  }
  Death death;
  REQUIRE(::waitpid(child, &death.status, 0) == child);
  death.record = pipe->read();
  return death;
}

std::uint64_t offset_in_program(const void* address) {
  // The handler's own arithmetic is under test, so this takes another way: the first mapping.
  FILE* maps = std::fopen("/proc/self/maps", "r");
  REQUIRE(maps != nullptr);
  unsigned long base = 0;
  REQUIRE(std::fscanf(maps, "%lx", &base) == 1);
  std::fclose(maps);
  return reinterpret_cast<std::uint64_t>(address) - base;
}

bool lies_in(const ipc::CodePlace& place, const void* function, std::uint64_t size) {
  const std::uint64_t begin = offset_in_program(function);
  return place.module == "test-worker" && place.offset >= begin && place.offset < begin + size;
}
bool begins_in(const CrashRecord& record, const void* function, std::uint64_t size = 256) {
  return !record.stack.empty() && lies_in(record.stack[0], function, size);
}

}  // namespace

TEST_CASE("a crash leaves signal, place, stack, request and session, and dies of the same signal") {
  const Death death = death_of("null");
  CHECK(WIFSIGNALED(death.status));
  CHECK(WTERMSIG(death.status) == SIGSEGV);
  REQUIRE(death.record);
  CHECK(death.record->kind == CrashKind::kSignal);
  CHECK(death.record->signal == SIGSEGV);
  CHECK(death.record->fault == FaultPlace::kNull);
  CHECK(death.record->fault_at.offset == 16);
  CHECK(death.record->main_thread);
  CHECK(death.record->generation == 42);
  CHECK(death.record->request == 17);
  CHECK(death.record->session.data[31] == 0xab);
  CHECK(begins_in(*death.record, reinterpret_cast<const void*>(write_to_null)));
  CHECK(death.record->stack.size() > 4);  // std::function, live_and_die, death_of, …
}

TEST_CASE("every way to crash ends as it would without a handler, and leaves a record") {
  const std::map<std::string, int> signals = {
      {"abort", SIGABRT}, {"divide", SIGFPE},  {"illegal", SIGILL},    {"stack", SIGSEGV},
      {"bus", SIGBUS},    {"thread", SIGSEGV}, {"terminate", SIGABRT}, {"read-only", SIGSEGV}};
  for (const auto& [crime, signal] : signals) {
    INFO(crime);
    const Death death = death_of(crime);
    CHECK(WIFSIGNALED(death.status));
    CHECK(WTERMSIG(death.status) == signal);
    REQUIRE(death.record);
    CHECK(death.record->signal == signal);
    CHECK(death.record->stack.size() > 1);
    CHECK(death.record->main_thread == (crime != "thread"));
  }
  CHECK(death_of("stack").record->fault == FaultPlace::kStack);
  CHECK(death_of("read-only").record->fault == FaultPlace::kModule);
  CHECK(begins_in(*death_of("thread").record, reinterpret_cast<const void*>(write_to_null)));
}

TEST_CASE("a crash with the allocator damaged and locked leaves its record") {
  const Death death = death_of("heap");
  CHECK(WIFSIGNALED(death.status));
  CHECK(WTERMSIG(death.status) == SIGABRT);  // SIGALRM: the handler waited for the lock
  REQUIRE(death.record);
  CHECK(death.record->signal == SIGABRT);
  CHECK(death.record->request == 17);
  CHECK(death.record->main_thread);
  CHECK(std::ranges::any_of(death.record->stack, [](const ipc::CodePlace& place) {
    return lies_in(place, reinterpret_cast<const void*>(corrupt_the_heap), 1024);
  }));
}

TEST_CASE("a crash while another thread holds the loader's lock leaves its record") {
  const Death death = death_of("loader");
  CHECK(WIFSIGNALED(death.status));
  CHECK(WTERMSIG(death.status) == SIGSEGV);  // SIGALRM: the handler waited for the lock
  REQUIRE(death.record);
  CHECK_FALSE(death.record->main_thread);
  CHECK(begins_in(*death.record, reinterpret_cast<const void*>(write_to_null)));
  CHECK(death.record->stack.size() > 1);
}

TEST_CASE("a refused allocation ends the worker with its own status and a record") {
  const Death death = death_of("memory");
  CHECK(WIFEXITED(death.status));
  CHECK(WEXITSTATUS(death.status) == ipc::kExitOutOfMemory);
  REQUIRE(death.record);
  CHECK(death.record->kind == CrashKind::kOutOfMemory);
  CHECK(death.record->request == 17);
  CHECK(death.record->stack.size() > 3);
}

TEST_CASE("no death, no record") {
  const Death death = death_of("fine");
  CHECK(death.status == 0);
  CHECK_FALSE(death.record);
}

TEST_CASE("a crash record holds no secret and no absolute address") {
  const Death death = death_of("secrets");
  CHECK(WTERMSIG(death.status) == SIGSEGV);
  REQUIRE(death.record);
  CHECK(death.record->fault == FaultPlace::kElsewhere);  // the address was the secret
  CHECK(death.record->fault_at == ipc::CodePlace{});
  CHECK(begins_in(*death.record, reinterpret_cast<const void*>(crash_with_secrets)));
  // Offsets stay within their modules, none of which is larger than 64 MiB.
  for (const ipc::CodePlace& place : death.record->stack) {
    CHECK(place.offset < (64U << 20));
    CHECK((place.offset == 0) == place.module.empty());
  }
}

#endif
