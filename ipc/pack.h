#pragma once
// Writing msgpack. The buffer is wiped when it grows and when it goes, since frames carry keys.

#include <cstdint>
#include <memory>
#include <string_view>

#include "crypto/base/bytes.h"
#include "crypto/base/secret.h"

namespace cosigner::ipc {

/// Appends values in the shortest form of each. The caller opens containers with the right counts.
class Packer {
 public:
  Packer& null();
  Packer& boolean(bool value);
  Packer& unsigned_integer(std::uint64_t value);
  Packer& signed_integer(std::int64_t value);
  /// Bytes that are not loggable (ipc/tree.h) are replaced by '?': a reader would refuse them.
  Packer& text(std::string_view value);
  Packer& bytes(ByteView value);
  Packer& array(std::size_t count);
  Packer& map(std::size_t count);
  /// Appends one value that is already encoded.
  Packer& raw(ByteView encoded);

  [[nodiscard]] ByteView view() const { return as_view(out_); }
  [[nodiscard]] SecretVector take() { return std::move(out_); }
  /// For bytes that hold no secret.
  [[nodiscard]] ByteVector take_public() const { return {out_.begin(), out_.end()}; }

 private:
  SecretVector out_;
};

/// A map with text keys whose entries are counted as they are written.
class MapPacker {
 public:
  MapPacker& boolean(std::string_view key, bool value);
  MapPacker& unsigned_integer(std::string_view key, std::uint64_t value);
  MapPacker& signed_integer(std::string_view key, std::int64_t value);
  MapPacker& text(std::string_view key, std::string_view value);
  MapPacker& bytes(std::string_view key, ByteView value);
  MapPacker& null(std::string_view key);
  /// One encoded value: a nested map or array.
  MapPacker& raw(std::string_view key, ByteView encoded);

  [[nodiscard]] ByteVector finish() const;

 private:
  Packer& key(std::string_view key);
  Packer body_;
  std::size_t count_ = 0;
};

/// An array whose elements are counted as they are written.
class ArrayPacker {
 public:
  Packer& next() {
    ++count_;
    return body_;
  }
  [[nodiscard]] ByteVector finish() const;

 private:
  Packer body_;
  std::size_t count_ = 0;
};

}  // namespace cosigner::ipc
