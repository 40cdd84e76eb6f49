#pragma once
// How a message becomes bytes and is read back. Each struct lists its fields once, in `fields()`;
// the encoder, the strict decoder and the tests' altering visitor all follow that list, so a field
// cannot be read other than it was written.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/bytes.h"
#include "crypto/base/wire.h"
#include "ipc/names.h"

namespace cosigner::worker {

/// Writes the fields of a message in their order.
class FieldWriter {
 public:
  void u8(std::uint8_t value) { out_.u8(value); }
  void u16(std::uint16_t value) { out_.u16(value); }
  void u32(std::uint32_t value) { out_.u32(value); }
  void u64(std::uint64_t value) { out_.u64(value); }
  template <std::size_t N, class Kind>
  void fixed(const Bytes<N, Kind>& value) {
    out_.fixed(value);
  }
  void text(const std::string& value, std::size_t /*limit*/) { out_.text(value); }
  void text_or_empty(const std::string& value, std::size_t limit) {
    out_.text(std::string_view(value).substr(0, limit));
  }
  void bytes(const ByteVector& value, std::size_t /*limit*/) { out_.bytes(value); }
  void names(const std::vector<std::string>& values, std::size_t /*limit*/) {
    out_.u16(static_cast<std::uint16_t>(values.size()));
    for (const std::string& value : values) {
      out_.text(value);
    }
  }
  template <class T>
  void list(const std::vector<T>& values, std::size_t /*limit*/) {
    out_.u16(static_cast<std::uint16_t>(values.size()));
    for (const T& value : values) {
      T::fields(value, *this);
    }
  }
  Writer& writer() { return out_; }

 private:
  Writer out_;
};

/// Reads them back; bounded, and nothing may be left over.
class FieldReader {
 public:
  explicit FieldReader(ByteView input) : in_(input) {}
  void u8(std::uint8_t& value) { value = in_.u8(); }
  void u16(std::uint16_t& value) { value = in_.u16(); }
  void u32(std::uint32_t& value) { value = in_.u32(); }
  void u64(std::uint64_t& value) { value = in_.u64(); }
  template <std::size_t N, class Kind>
  void fixed(Bytes<N, Kind>& value) {
    value = in_.take<Bytes<N, Kind>>();
  }
  void text(std::string& value, std::size_t limit) {
    value = in_.text(limit);
    if (value.empty()) {
      in_.fail();
    }
  }
  void text_or_empty(std::string& value, std::size_t limit) { value = in_.text(limit); }
  void bytes(ByteVector& value, std::size_t limit) { value = to_vector(in_.bytes(limit)); }
  void names(std::vector<std::string>& values, std::size_t limit) {
    const std::size_t count = in_.count_u16(0, limit);
    for (std::size_t i = 0; i < count && in_.ok(); ++i) {
      values.push_back(in_.text(kMaxNodeName));
    }
  }
  template <class T>
  void list(std::vector<T>& values, std::size_t limit) {
    const std::size_t count = in_.count_u16(0, limit);
    for (std::size_t i = 0; i < count && in_.ok(); ++i) {
      T::fields(values.emplace_back(), *this);
    }
  }
  Reader& reader() { return in_; }

 private:
  Reader in_;
};

template <class T>
[[nodiscard]] ByteVector encode_fields(const T& value) {
  FieldWriter writer;
  T::fields(value, writer);
  return writer.writer().take();
}
template <class T>
[[nodiscard]] std::optional<T> decode_fields(ByteView bytes) {
  FieldReader reader(bytes);
  T value;
  T::fields(value, reader);
  if (!reader.reader().finished()) {
    return std::nullopt;
  }
  return value;
}

/// u8 kind ‖ fields: a message as it stands inside a sealed packet.
template <class T>
[[nodiscard]] ByteVector encode_message(const T& message) {
  FieldWriter writer;
  writer.u8(static_cast<std::uint8_t>(T::kKind));
  T::fields(message, writer);
  return writer.writer().take();
}

}  // namespace cosigner::worker
