#include "worker/user/give_back.h"

#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace cosigner::worker {
namespace {

/// For the frames of give_back_dead_stack() and of madvise(2); nothing else is on the stack then,
/// since signals have a stack of their own.
constexpr std::uintptr_t kAlive = 4096;
/// burn_stack() reaches 64 KiB beneath its caller; a handshake or a decoder goes less deep. Nothing
/// else can lie here: the kernel keeps 1 MiB beneath a stack free.
constexpr std::uintptr_t kDead = 256U << 10;

[[gnu::noinline]] void give_back_dead_stack() {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  const std::uintptr_t end = (here - kAlive) / page * page;
  // ENOMEM where the stack has not grown so far; what is there goes all the same.
  (void)::madvise(reinterpret_cast<void*>(end - kDead), kDead, MADV_DONTNEED);
}

}  // namespace

void give_back_memory() {
  ::malloc_trim(0);
  give_back_dead_stack();
}

}  // namespace cosigner::worker
