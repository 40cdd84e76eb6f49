#include "worker/session/page_memory.h"

#include <sys/mman.h>

#include <new>

namespace cosigner::worker {
namespace {

class PageMemory final : public std::pmr::memory_resource {
 private:
  void* do_allocate(std::size_t bytes, std::size_t /*alignment*/) override {
    void* const pointer =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pointer == MAP_FAILED) {
      throw std::bad_alloc();
    }
    return pointer;
  }
  void do_deallocate(void* pointer, std::size_t bytes, std::size_t /*alignment*/) override {
    (void)::munmap(pointer, bytes);  // the kernel takes whole pages, as it gave them
  }
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }
};

}  // namespace

std::pmr::memory_resource& page_memory() {
  static PageMemory pages;
  return pages;
}

}  // namespace cosigner::worker
