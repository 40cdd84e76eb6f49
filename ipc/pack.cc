#include "ipc/pack.h"

#include <msgpack/pack.hpp>

#include "ipc/tree.h"

namespace cosigner::ipc {
namespace {

// What readers take of one text by default (ipc/tree.h). Only log lines and error messages can be
// longer, and a cut one is better than a refused frame.
constexpr std::size_t kMaxText = 64U << 10;

// What msgpack::packer writes to.
struct Sink {
  SecretVector& out;
  void write(const char* data, std::size_t size) {
    const auto* const bytes = reinterpret_cast<const std::uint8_t*>(data);
    out.insert(out.end(), bytes, bytes + size);
  }
};

}  // namespace

Packer& Packer::null() {
  Sink sink{out_};
  msgpack::packer<Sink>(sink).pack_nil();
  return *this;
}
Packer& Packer::boolean(bool value) {
  Sink sink{out_};
  msgpack::packer<Sink> packer(sink);
  value ? packer.pack_true() : packer.pack_false();
  return *this;
}
Packer& Packer::unsigned_integer(std::uint64_t value) {
  Sink sink{out_};
  msgpack::packer<Sink>(sink).pack_uint64(value);
  return *this;
}
Packer& Packer::signed_integer(std::int64_t value) {
  Sink sink{out_};
  msgpack::packer<Sink>(sink).pack_int64(value);
  return *this;
}
Packer& Packer::text(std::string_view value) {
  value = value.substr(0, kMaxText);
  if (!loggable(value)) {
    return text(make_loggable(value));
  }
  Sink sink{out_};
  const auto size = static_cast<std::uint32_t>(value.size());
  msgpack::packer<Sink>(sink).pack_str(size).pack_str_body(value.data(), size);
  return *this;
}
Packer& Packer::bytes(ByteView value) {
  Sink sink{out_};
  const auto size = static_cast<std::uint32_t>(value.size());
  msgpack::packer<Sink>(sink).pack_bin(size).pack_bin_body(
      reinterpret_cast<const char*>(value.data()), size);
  return *this;
}
Packer& Packer::array(std::size_t count) {
  Sink sink{out_};
  msgpack::packer<Sink>(sink).pack_array(static_cast<std::uint32_t>(count));
  return *this;
}
Packer& Packer::map(std::size_t count) {
  Sink sink{out_};
  msgpack::packer<Sink>(sink).pack_map(static_cast<std::uint32_t>(count));
  return *this;
}
Packer& Packer::raw(ByteView encoded) {
  out_.insert(out_.end(), encoded.begin(), encoded.end());
  return *this;
}

Packer& MapPacker::key(std::string_view key) {
  ++count_;
  return body_.text(key);
}
MapPacker& MapPacker::boolean(std::string_view key, bool value) {
  this->key(key).boolean(value);
  return *this;
}
MapPacker& MapPacker::unsigned_integer(std::string_view key, std::uint64_t value) {
  this->key(key).unsigned_integer(value);
  return *this;
}
MapPacker& MapPacker::signed_integer(std::string_view key, std::int64_t value) {
  this->key(key).signed_integer(value);
  return *this;
}
MapPacker& MapPacker::text(std::string_view key, std::string_view value) {
  this->key(key).text(value);
  return *this;
}
MapPacker& MapPacker::bytes(std::string_view key, ByteView value) {
  this->key(key).bytes(value);
  return *this;
}
MapPacker& MapPacker::null(std::string_view key) {
  this->key(key).null();
  return *this;
}
MapPacker& MapPacker::raw(std::string_view key, ByteView encoded) {
  this->key(key).raw(encoded);
  return *this;
}
ByteVector MapPacker::finish() const {
  return Packer().map(count_).raw(body_.view()).take_public();
}

ByteVector ArrayPacker::finish() const {
  return Packer().array(count_).raw(body_.view()).take_public();
}

}  // namespace cosigner::ipc
