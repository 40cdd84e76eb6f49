#pragma once
// Memory for secrets that wait: never written to swap, not part of a core dump. Containers take it
// through std::pmr, usually under a pool resource, since every allocation here is whole pages.

#include <memory_resource>

namespace cosigner {

/// mmap + mlock. Locking is best effort: RLIMIT_MEMLOCK may be smaller than what is asked for, and
/// a secret in swappable memory is better than no signature. What is given back is wiped first.
class LockedMemory final : public std::pmr::memory_resource {
 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void* pointer, std::size_t bytes, std::size_t alignment) override;
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }
};

}  // namespace cosigner
