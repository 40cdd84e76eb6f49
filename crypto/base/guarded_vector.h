#pragma once
// A secret of any size that is kept while it is not used, in libsodium's guarded memory: pages of
// its own, locked (never written to swap), left out of core dumps, between two pages that nobody
// may touch, read-only once filled, wiped when freed.
//
// Each costs four mappings; the 65,530 that a process may have by default carry 16,000 of them.

#include <sodium.h>

#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "crypto/base/bytes.h"

namespace cosigner {

class GuardedVector {
 public:
  GuardedVector() = default;
  /// Copies `secret`, which the caller wipes. Throws std::bad_alloc where there is no memory;
  /// locking is best effort, as in LockedMemory: RLIMIT_MEMLOCK may forbid it.
  explicit GuardedVector(ByteView secret) : size_(secret.size()) {
    if (secret.empty()) {
      return;
    }
    // sodium_malloc() aborts before sodium_init(), which does nothing from the second time on.
    bytes_.reset(sodium_init() < 0 ? nullptr
                                   : static_cast<std::uint8_t*>(sodium_malloc(secret.size())));
    if (bytes_ == nullptr) {
      throw std::bad_alloc();
    }
    std::memcpy(bytes_.get(), secret.data(), secret.size());
    sodium_mprotect_readonly(bytes_.get());
  }
  GuardedVector(GuardedVector&& other) noexcept
      : bytes_(std::move(other.bytes_)), size_(std::exchange(other.size_, 0)) {}
  GuardedVector& operator=(GuardedVector&& other) noexcept {
    bytes_ = std::move(other.bytes_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] ByteView expose() const { return {bytes_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::uint8_t* bytes) const { sodium_free(bytes); }
  };
  std::unique_ptr<std::uint8_t, Free> bytes_;
  std::size_t size_ = 0;
};

}  // namespace cosigner
