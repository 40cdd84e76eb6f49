#pragma once
// Secret bytes: move-only, wiped when they go, never compared with operator== and never printed.

#include <sodium.h>

#include <utility>

#include "crypto/base/bytes.h"

namespace cosigner {

/// A fixed-size secret held in place (stack or member). Wiped on destruction and when moved from.
template <std::size_t N>
class SecretBytes {
 public:
  static constexpr std::size_t kSize = N;

  SecretBytes() { bytes_.fill(0); }
  ~SecretBytes() { wipe(); }
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  SecretBytes(SecretBytes&& other) noexcept : bytes_(other.bytes_) { other.wipe(); }
  SecretBytes& operator=(SecretBytes&& other) noexcept {
    if (this != &other) {
      bytes_ = other.bytes_;
      other.wipe();
    }
    return *this;
  }

  /// Copies `view`; nothing unless it has exactly N bytes. The caller wipes the source.
  [[nodiscard]] static std::optional<SecretBytes> from(ByteView view) {
    if (view.size() != N) {
      return std::nullopt;
    }
    SecretBytes out;
    std::memcpy(out.bytes_.data(), view.data(), N);
    return out;
  }

  /// A second owner of the same secret, said aloud.
  [[nodiscard]] SecretBytes duplicate() const {
    SecretBytes out;
    out.bytes_ = bytes_;
    return out;
  }

  [[nodiscard]] ByteView expose() const { return ByteView(bytes_); }
  [[nodiscard]] std::span<std::uint8_t> expose_mutable() { return std::span<std::uint8_t>(bytes_); }
  void wipe() { sodium_memzero(bytes_.data(), N); }

 private:
  std::array<std::uint8_t, N> bytes_;
};

/// Wipes memory before it goes back to the heap; for growing buffers that carry plaintext secrets.
template <class T>
struct WipingAllocator {
  using value_type = T;
  WipingAllocator() = default;
  template <class U>
  WipingAllocator(const WipingAllocator<U>&) {}  // NOLINT(google-explicit-constructor)
  T* allocate(std::size_t count) { return std::allocator<T>().allocate(count); }
  void deallocate(T* pointer, std::size_t count) {
    sodium_memzero(pointer, count * sizeof(T));
    std::allocator<T>().deallocate(pointer, count);
  }
  template <class U>
  bool operator==(const WipingAllocator<U>&) const {
    return true;
  }
};

/// A variable-size secret. Copies are possible, so pass it by reference or move it.
using SecretVector = std::vector<std::uint8_t, WipingAllocator<std::uint8_t>>;

/// Gives the secret's memory back, which wipes it. `secret = {}` would not: it assigns an empty
/// list and keeps the buffer with its contents.
inline void wipe(SecretVector& secret) {
  SecretVector().swap(secret);
}

inline ByteView as_view(const SecretVector& secret) {
  return {secret.data(), secret.size()};
}

}  // namespace cosigner
