#pragma once
// Looks for known secrets in all the memory of a process: heap, stacks, static data, guarded pages.
// The patterns are kept masked, and what is read goes through one buffer that the search leaves
// out, so that a process can be made to search itself.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "crypto/base/bytes.h"
#include "ipc/unique_fd.h"

namespace cosigner::test {

class MemoryScan {
 public:
  /// 16 bytes are enough: 2^27 places of a process hold a random pattern with probability 2^-101.
  static constexpr std::size_t kPattern = 16;

  MemoryScan()
      : buffer_(static_cast<std::uint8_t*>(
            ::mmap(nullptr, kBuffer, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {
    if (buffer_ == MAP_FAILED) {
      throw std::runtime_error("mmap");
    }
  }
  ~MemoryScan() { ::munmap(buffer_, kBuffer); }
  MemoryScan(const MemoryScan&) = delete;
  MemoryScan& operator=(const MemoryScan&) = delete;

  /// The first 16 bytes of `secret`, under a name that the findings carry.
  void add(const std::string& name, ByteView secret) {
    if (secret.size() < kPattern) {
      throw std::logic_error("too short to be told from chance");
    }
    Pattern pattern{name, {}};
    for (std::size_t i = 0; i < kPattern; ++i) {
      pattern.masked[i] = static_cast<std::uint8_t>(secret[i] ^ mask(i));
    }
    by_start_[start_of(pattern.masked)].push_back(patterns_.size());
    patterns_.push_back(std::move(pattern));
  }
  /// A scalar in both forms it has in memory: big-endian, and as words with the lowest byte first.
  void add_scalar(const std::string& name, ByteView big_endian) {
    add(name, big_endian);
    std::array<std::uint8_t, 32> little;
    std::reverse_copy(big_endian.begin(), big_endian.end(), little.begin());
    add(name, little);
    ::explicit_bzero(little.data(), little.size());
  }
  [[nodiscard]] std::size_t patterns() const { return patterns_.size(); }

  /// How often each name was found; nothing if the kernel does not let us look (not root).
  [[nodiscard]] std::optional<std::map<std::string, std::size_t>> search(pid_t pid) {
    const std::string process = "/proc/" + std::to_string(pid);
    const ipc::UniqueFd memory(::open((process + "/mem").c_str(), O_RDONLY | O_CLOEXEC));
    std::ifstream maps(process + "/maps");
    if (!memory || !maps) {
      return std::nullopt;
    }
    struct Range {
      std::uintptr_t begin;
      std::uintptr_t end;
      std::string line;
    };
    std::vector<Range> ranges;
    for (std::string line; std::getline(maps, line);) {
      std::uintptr_t begin = 0;
      std::uintptr_t end = 0;
      std::uint64_t inode = 0;
      std::array<char, 5> rights{};
      if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %" SCNu64, &begin, &end,
                      rights.data(), &inode) != 4) {
        throw std::runtime_error("/proc/PID/maps has another form");
      }
      // A file's pages that nobody could write hold no secret.
      if (rights[1] == 'w' || inode == 0) {
        ranges.push_back({begin, end, line});
      }
    }
    std::map<std::string, std::size_t> found;
    bytes_ = 0;
    findings_.clear();
    const auto own = reinterpret_cast<std::uintptr_t>(buffer_);
    for (const Range& range : ranges) {
      std::size_t kept = 0;  // the end of one piece is searched with the next
      for (std::uintptr_t at = range.begin; at < range.end;) {
        if (pid == ::getpid() && at >= own && at < own + kBuffer) {
          kept = 0;
          at = own + kBuffer;
          continue;
        }
        std::size_t want = std::min<std::size_t>(range.end - at, kBuffer - kept);
        if (pid == ::getpid() && at < own) {
          want = std::min<std::size_t>(want, own - at);
        }
        const ssize_t got = ::pread(memory.get(), buffer_ + kept, want, static_cast<off_t>(at));
        if (got <= 0) {
          break;  // [vvar] and the like
        }
        bytes_ += static_cast<std::size_t>(got);
        const std::size_t size = kept + static_cast<std::size_t>(got);
        look(size, found, at - kept, range.line);
        kept = std::min(size, kPattern - 1);
        std::copy(buffer_ + size - kept, buffer_ + size, buffer_);
        at += static_cast<std::uintptr_t>(got);
      }
    }
    ::explicit_bzero(buffer_, kBuffer);
    return found;
  }
  struct Finding {
    std::string name;
    std::uintptr_t address;
    std::string range;  ///< its line in /proc/PID/maps
  };
  /// Of the last search.
  [[nodiscard]] const std::vector<Finding>& findings() const { return findings_; }
  /// A line for each, for the message of a test that fails.
  [[nodiscard]] std::string places() const {
    std::string out;
    for (const Finding& finding : findings_) {
      std::array<char, 32> hex{};
      std::snprintf(hex.data(), hex.size(), "%" PRIxPTR, finding.address);
      out += finding.name + " at " + hex.data() + " in " + finding.range + "\n";
    }
    return out;
  }
  /// Of the last search.
  [[nodiscard]] std::size_t bytes_searched() const { return bytes_; }

 private:
  static constexpr std::size_t kBuffer = 1U << 20U;
  struct Pattern {
    std::string name;
    std::array<std::uint8_t, kPattern> masked;
  };
  static std::uint8_t mask(std::size_t i) { return static_cast<std::uint8_t>(0xa7 + 29 * i); }
  static std::size_t start_of(const std::array<std::uint8_t, kPattern>& masked) {
    return static_cast<std::size_t>(masked[0] ^ mask(0)) << 8U | (masked[1] ^ mask(1));
  }
  void look(std::size_t size, std::map<std::string, std::size_t>& found, std::uintptr_t address,
            const std::string& range) {
    for (std::size_t at = 0; at + kPattern <= size; ++at) {
      for (const std::size_t candidate :
           by_start_[static_cast<std::size_t>(buffer_[at]) << 8U | buffer_[at + 1]]) {
        const Pattern& pattern = patterns_[candidate];
        std::size_t i = 2;
        while (i < kPattern && (buffer_[at + i] ^ mask(i)) == pattern.masked[i]) {
          ++i;
        }
        if (i == kPattern) {
          ++found[pattern.name];
          findings_.push_back({pattern.name, address + at, range});
        }
      }
    }
  }

  std::vector<Pattern> patterns_;
  std::vector<std::vector<std::size_t>> by_start_ =
      std::vector<std::vector<std::size_t>>(65'536);  ///< by the first two bytes
  std::uint8_t* buffer_;
  std::size_t bytes_ = 0;
  std::vector<Finding> findings_;
};

}  // namespace cosigner::test
