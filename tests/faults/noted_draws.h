#pragma once
// What the workers of cosigner-worker-faults say of their random numbers: every draw of their
// engines, for a test that searches their memory for what it becomes. They do so if the file
// "noted-draws" is in their zygote's directory when that starts; all its forks share its memory.
// The bytes are masked: a worker has this memory as well, and they would be found in it.

#include <array>
#include <cstddef>
#include <cstdint>

namespace cosigner::test {

struct NotedDraw {
  static constexpr std::size_t kLeast = 16;  ///< smaller ones are ids, and too short to search for
  static constexpr std::size_t kMost = 120;  ///< the longest secret is an OT extension's row, 68
  static std::uint8_t mask(std::size_t i) { return static_cast<std::uint8_t>(0x5b + 31 * i); }

  std::uint32_t pid;
  std::uint32_t size;  ///< written last: until then it is 0
  std::array<std::uint8_t, kMost> masked;
};

struct NotedDraws {
  static constexpr const char* kFile = "noted-draws";
  static constexpr std::size_t kEntries = 4096;

  std::uint32_t count;  ///< of all draws; those beyond the entries are not noted
  std::array<NotedDraw, kEntries> draws;
};
static_assert(sizeof(NotedDraw) == 128);

}  // namespace cosigner::test
