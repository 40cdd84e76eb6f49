#pragma once
// Alters one field of one message that a worker sends with its own keys: for the suites that go
// through every field of every message between workers.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/double_agent.h"
#include "worker/session/packet.h"

namespace cosigner::test {

/// Visits the fields of a message and alters the one asked for, in one of several ways.
class FieldAlterer {
 public:
  static constexpr int kWays = 3;  ///< another value, extreme value, empty or zero
  FieldAlterer(int field, int way) : field_(field), way_(way) {}
  [[nodiscard]] int fields() const { return seen_; }
  [[nodiscard]] bool altered() const { return altered_; }

  void u8(std::uint8_t& value) { number(value); }
  void u16(std::uint16_t& value) { number(value); }
  void u32(std::uint32_t& value) { number(value); }
  void u64(std::uint64_t& value) { number(value); }
  template <std::size_t N, class Kind>
  void fixed(Bytes<N, Kind>& value) {
    if (turn()) {
      const auto before = value;
      if (way_ == 0) {
        value.data[N / 2] ^= 1U;
      } else {
        value.data.fill(way_ == 1 ? 0xff : 0);
      }
      altered_ = value != before;
    }
  }
  void text(std::string& value, std::size_t limit) {
    if (turn()) {
      const std::string before = value;
      value = way_ == 0 ? "n2" : way_ == 1 ? std::string(limit + 1, 'x') : "";
      altered_ = value != before;
    }
  }
  void text_or_empty(std::string& value, std::size_t limit) { text(value, limit); }
  void bytes(ByteVector& value, std::size_t /*limit*/) {
    if (turn()) {
      const ByteVector before = value;
      if (way_ == 0 && !value.empty()) {
        value[value.size() / 2] ^= 1U;
      } else if (way_ == 1) {
        value.push_back(0);
      } else {
        value.clear();
      }
      altered_ = value != before;
    }
  }
  void names(std::vector<std::string>& values, std::size_t /*limit*/) {
    if (turn()) {
      values.push_back("n1");
      altered_ = true;
    }
  }
  template <class T>
  void list(std::vector<T>& values, std::size_t /*limit*/) {
    if (turn()) {
      if (way_ == 0) {
        altered_ = values.size() > 1;
        if (altered_) {
          std::swap(values.front(), values.back());
        }
      } else if (way_ == 1) {
        altered_ = true;
        values.push_back(values.empty() ? T{} : values.front());
      } else {
        altered_ = !values.empty();
        values.clear();
      }
      return;
    }
    for (T& value : values) {
      T::fields(value, *this);
    }
  }

 private:
  template <class N>
  void number(N& value) {
    if (turn()) {
      const N before = value;
      value = way_ == 0   ? static_cast<N>(value + 1)
              : way_ == 1 ? static_cast<N>(~N{0})
                          : static_cast<N>(0);
      altered_ = value != before;
    }
  }
  bool turn() { return seen_++ == field_; }
  int field_;
  int way_;
  int seen_ = 0;
  bool altered_ = false;
};

/// Alters field `field` of the first message of type T; false if there is no such field.
template <class T>
struct OneField {
  int field;
  int way;
  bool done = false;
  bool changed = false;
  bool beyond = false;

  void operator()(const std::string& /*to*/, std::vector<ByteVector>& messages) {
    for (ByteVector& message : messages) {
      if (done || !is<T>(message)) {
        continue;
      }
      done = true;
      T value = decoded<T>(message);
      FieldAlterer alterer(field, way);
      T::fields(value, alterer);
      beyond = field >= alterer.fields();
      changed = alterer.altered();
      if (changed) {
        message = worker::encode_message(value);
      }
    }
  }
};

}  // namespace cosigner::test
