#pragma once
// Secrets that live as long as the process: libsodium's guarded memory (own pages, mlock, guard
// pages on both sides, a canary, excluded from core dumps, wiped when freed).

#include <sodium.h>

#include <memory>
#include <new>

#include "crypto/base/bytes.h"

namespace cosigner {

/// N secret bytes in guarded memory, read-only once sealed by `protect()`. Move-only.
template <std::size_t N>
class GuardedBytes {
 public:
  static constexpr std::size_t kSize = N;

  GuardedBytes() : bytes_(allocate()) {
    if (bytes_ == nullptr) {
      throw std::bad_alloc();  // RLIMIT_MEMLOCK does not cause this: mlock is best effort there
    }
    sodium_memzero(bytes_.get(), N);
  }

  [[nodiscard]] ByteView expose() const { return ByteView(bytes_.get(), N); }
  /// Only before protect().
  [[nodiscard]] std::span<std::uint8_t> expose_mutable() { return {bytes_.get(), N}; }
  /// From now on a write is a segmentation fault.
  void protect() { sodium_mprotect_readonly(bytes_.get()); }

 private:
  struct Free {
    void operator()(std::uint8_t* bytes) const { sodium_free(bytes); }
  };
  static std::uint8_t* allocate() {
    // sodium_malloc() aborts before sodium_init(), which does nothing from the second time on.
    return sodium_init() < 0 ? nullptr : static_cast<std::uint8_t*>(sodium_malloc(N));
  }
  std::unique_ptr<std::uint8_t, Free> bytes_;
};

}  // namespace cosigner
