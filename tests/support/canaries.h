#pragma once
// Looks for secrets where none may be left: in memory given back to the heap, on a stack.

#include <pthread.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "crypto/base/bytes.h"

namespace cosigner::test {

/// Patterns that must not be found. Fixed storage: a search may run inside operator delete.
struct Canaries {
  static constexpr std::size_t kMax = 512;
  std::array<std::array<std::uint8_t, 16>, kMax> patterns{};
  std::array<bool, 65'536> starts{};  ///< by the first two bytes: most places need one look
  std::size_t count = 0;
  std::size_t found = 0;
  bool armed = false;

  void add(ByteView bytes) {
    for (std::size_t at = 0; at + 16 <= bytes.size() && at < 32 && count < kMax; at += 16) {
      starts[bytes[at] << 8U | bytes[at + 1]] = true;
      std::memcpy(patterns[count++].data(), bytes.data() + at, 16);
    }
  }
  /// As limbs in memory: 8-byte words, least significant byte first.
  void add_scalar(ByteView big_endian) {
    add(big_endian);
    std::array<std::uint8_t, 32> little;
    std::reverse_copy(big_endian.begin(), big_endian.end(), little.begin());
    add(little);
  }
  void search(const void* block, std::size_t size) {
    const auto* bytes = static_cast<const std::uint8_t*>(block);
    for (std::size_t at = 0; at + 16 <= size; ++at) {
      for (std::size_t i = 0; starts[bytes[at] << 8U | bytes[at + 1]] && i < count; ++i) {
        found += std::memcmp(bytes + at, patterns[i].data(), 16) == 0 ? 1U : 0U;
      }
    }
  }
};

/// A thread's stack that outlives the thread and can be searched.
class SearchableStack {
 public:
  SearchableStack() : bytes_(2U << 20U) {
    pthread_attr_init(&attributes_);
    if (pthread_attr_setstack(&attributes_, bytes_.data(), bytes_.size()) != 0) {
      throw std::runtime_error("no thread can have this stack");
    }
  }
  ~SearchableStack() { pthread_attr_destroy(&attributes_); }
  SearchableStack(const SearchableStack&) = delete;
  SearchableStack& operator=(const SearchableStack&) = delete;

  void run(void* (*body)(void*), void* argument) {
    pthread_t thread{};
    if (pthread_create(&thread, &attributes_, body, argument) != 0) {
      throw std::runtime_error("no thread");
    }
    pthread_join(thread, nullptr);
  }
  void search(Canaries& canaries) const { canaries.search(bytes_.data(), bytes_.size()); }

 private:
  std::vector<std::uint8_t> bytes_;
  pthread_attr_t attributes_{};
};

}  // namespace cosigner::test
