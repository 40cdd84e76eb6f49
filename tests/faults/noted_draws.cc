#include "tests/faults/noted_draws.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "crypto/base/random.h"
#include "worker/fault_point.h"

namespace cosigner::worker {
namespace {

using test::NotedDraw;
using test::NotedDraws;

NotedDraws* noted = nullptr;

// Before main(), as for the orders of fault points.
[[gnu::constructor]] void map_draws(int argc, char** argv) {
  if (argc != 2 || std::strcmp(argv[1], "--zygote") != 0) {
    return;
  }
  const int file = ::open(NotedDraws::kFile, O_RDWR | O_CLOEXEC);
  if (file < 0) {
    return;  // nobody has asked for them
  }
  void* const memory =
      ::mmap(nullptr, sizeof(NotedDraws), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  ::close(file);
  if (memory == MAP_FAILED) {
    std::abort();
  }
  noted = static_cast<NotedDraws*>(memory);
}

class NotingRandom final : public Random {
 public:
  explicit NotingRandom(Random& inner) : inner_(inner) {}

  void fill(std::span<std::uint8_t> out) override {
    inner_.fill(out);
    if (out.size() < NotedDraw::kLeast || out.size() > NotedDraw::kMost) {
      return;
    }
    const std::uint32_t slot = std::atomic_ref(noted->count).fetch_add(1);
    if (slot >= NotedDraws::kEntries) {
      return;
    }
    NotedDraw& draw = noted->draws[slot];
    draw.pid = static_cast<std::uint32_t>(::getpid());
    // Byte by byte: a copy in a vector register could get to the stack, and be found there.
    volatile std::uint8_t* const masked = draw.masked.data();
    for (std::size_t i = 0; i < out.size(); ++i) {
      masked[i] = static_cast<std::uint8_t>(out[i] ^ NotedDraw::mask(i));
    }
    std::atomic_ref(draw.size).store(static_cast<std::uint32_t>(out.size()));
  }

 private:
  Random& inner_;
};

}  // namespace

Random& noting_random(Random& random) {
  if (noted == nullptr) {
    return random;
  }
  static NotingRandom noting(random);
  return noting;
}

}  // namespace cosigner::worker
