// What an idle worker gives back: the stack that was wiped, and nothing that is in use.

#include "worker/user/give_back.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstdint>

#include "crypto/base/burn_stack.h"

#ifndef COSIGNER_SANITIZED  // their frames are larger and their stacks laid out otherwise
namespace {

/// Resident pages of the `kLook` bytes that end at `end`, which is in the stack; 0 where it has not
/// grown so far.
constexpr std::uintptr_t kLook = 60U << 10;
std::size_t resident_beneath(std::uintptr_t end) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  std::array<unsigned char, kLook / 4096> pages{};
  std::size_t count = 0;
  const std::uintptr_t last = end / page * page;
  if (::mincore(reinterpret_cast<void*>(last - kLook), kLook, pages.data()) != 0) {
    return 0;
  }
  for (const unsigned char state : pages) {
    count += state & 1U;
  }
  return count;
}

/// In a process of its own: the room's other tests may have used any depth. 0: as it should be.
int use_wipe_and_give_back() {
  std::array<volatile std::uint8_t, 4096> in_use;
  for (std::size_t i = 0; i < in_use.size(); ++i) {
    in_use[i] = static_cast<std::uint8_t>(i * 7);
  }
  // Two pages for the frames of what is called from here.
  const auto beneath = reinterpret_cast<std::uintptr_t>(in_use.data()) - 8192;
  cosigner::burn_stack();
  if (resident_beneath(beneath) < kLook / 4096 - 4) {
    return 1;  // nothing to give back: the test shows nothing
  }
  cosigner::worker::give_back_memory();
  if (resident_beneath(beneath) > 0) {
    return 2;
  }
  for (std::size_t i = 0; i < in_use.size(); ++i) {
    if (in_use[i] != static_cast<std::uint8_t>(i * 7)) {
      return 3;
    }
  }
  cosigner::burn_stack();  // and it can be used again
  return 0;
}

}  // namespace

TEST_CASE("a worker at rest gives back the stack that was wiped, and nothing in use") {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::_exit(use_wipe_and_give_back());
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}
#endif
