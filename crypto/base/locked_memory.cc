#include "crypto/base/locked_memory.h"

#include <sodium.h>
#include <sys/mman.h>
#include <unistd.h>

#include <new>

namespace cosigner {
namespace {

std::size_t whole_pages(std::size_t bytes) {
  static const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}

}  // namespace

void* LockedMemory::do_allocate(std::size_t bytes, std::size_t /*alignment*/) {
  const std::size_t size = whole_pages(bytes);
  void* pointer = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pointer == MAP_FAILED) {
    throw std::bad_alloc();
  }
  (void)::mlock(pointer, size);
  (void)::madvise(pointer, size, MADV_DONTDUMP);
  return pointer;
}

void LockedMemory::do_deallocate(void* pointer, std::size_t bytes, std::size_t /*alignment*/) {
  sodium_memzero(pointer, bytes);
  (void)::munmap(pointer, whole_pages(bytes));
}

}  // namespace cosigner
