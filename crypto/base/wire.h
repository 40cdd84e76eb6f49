#pragma once
// The one checked reader and the one writer for our own binary encodings: big-endian integers,
// fixed-size fields, and length-prefixed byte strings. A parser is a chain of gets that ends in
// `finished()`: nothing may be left over.

#include <cstdint>
#include <string>
#include <string_view>

#include "crypto/base/bytes.h"

namespace cosigner {

class Writer {
 public:
  Writer& u8(std::uint8_t value) { return integer(value, 1); }
  Writer& u16(std::uint16_t value) { return integer(value, 2); }
  Writer& u32(std::uint32_t value) { return integer(value, 4); }
  Writer& u64(std::uint64_t value) { return integer(value, 8); }
  /// Bytes whose length both sides know.
  Writer& fixed(ByteView bytes) {
    out_.insert(out_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  /// u32 length ‖ bytes.
  Writer& bytes(ByteView view) { return u32(static_cast<std::uint32_t>(view.size())).fixed(view); }
  Writer& text(std::string_view view) { return bytes(as_bytes(view)); }

  [[nodiscard]] const ByteVector& view() const { return out_; }
  [[nodiscard]] ByteVector take() { return std::move(out_); }

 private:
  Writer& integer(std::uint64_t value, unsigned size) {
    for (unsigned i = size; i-- > 0;) {
      out_.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    }
    return *this;
  }
  ByteVector out_;
};

/// After the first failed get every later one fails too, so a chain needs one check at its end.
/// Views returned point into the input.
class Reader {
 public:
  explicit Reader(ByteView input) : input_(input) {}

  std::uint8_t u8() { return static_cast<std::uint8_t>(integer(1)); }
  std::uint16_t u16() { return static_cast<std::uint16_t>(integer(2)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(integer(4)); }
  std::uint64_t u64() { return integer(8); }
  ByteView fixed(std::size_t size) {
    if (failed_ || size > input_.size()) {
      failed_ = true;
      return {};
    }
    const ByteView out = input_.first(size);
    input_ = input_.subspan(size);
    return out;
  }
  template <class B>
  B take() {
    return B::from(fixed(B::kSize)).value_or(B{});
  }
  /// u32 length ‖ bytes, at most `limit` bytes.
  ByteView bytes(std::size_t limit) {
    const std::uint32_t size = u32();
    if (size > limit) {
      failed_ = true;
      return {};
    }
    return fixed(size);
  }
  std::string text(std::size_t limit) { return std::string(as_text(bytes(limit))); }
  /// A count that must lie in [low, high]; anything else fails the chain and returns 0.
  std::size_t count_u16(std::size_t low, std::size_t high) {
    const std::size_t value = u16();
    if (value < low || value > high) {
      failed_ = true;
      return 0;
    }
    return value;
  }
  void fail() { failed_ = true; }

  [[nodiscard]] bool ok() const { return !failed_; }
  [[nodiscard]] std::size_t remaining() const { return failed_ ? 0 : input_.size(); }
  /// True when every get succeeded and nothing is left over.
  [[nodiscard]] bool finished() const { return !failed_ && input_.empty(); }

 private:
  std::uint64_t integer(std::size_t size) {
    std::uint64_t value = 0;
    for (const std::uint8_t byte : fixed(size)) {
      value = value << 8U | byte;
    }
    return value;
  }
  ByteView input_;
  bool failed_ = false;
};

}  // namespace cosigner
