#pragma once
// Alters one field of one message that a worker sends with its own keys: for the suites that go
// through every field of every message between workers.

#include <algorithm>
#include <any>
#include <concepts>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/double_agent.h"
#include "worker/session/message_fields.h"

namespace cosigner::test {

/// Visits the fields of a message and alters the one asked for, in one of several ways.
class FieldAlterer {
 public:
  static constexpr int kAnothers = 3;  ///< the value of another node's message: see take_from()
  static constexpr int kWays = 4;      ///< another value, extreme value, empty or zero; another's
  FieldAlterer(int field, int way) : field_(field), way_(way) {}
  /// Another node's message of that kind. Where it says the same, or has no such field because a
  /// list is shorter there, nothing is altered.
  template <class T>
  void take_from(T other) {
    FieldAlterer reader(field_, kRead);
    T::fields(other, reader);
    taken_ = std::move(reader.taken_);
  }
  [[nodiscard]] int fields() const { return seen_; }
  [[nodiscard]] bool altered() const { return altered_; }

  void u8(std::uint8_t& value) { number(value); }
  void u16(std::uint16_t& value) { number(value); }
  void u32(std::uint32_t& value) { number(value); }
  void u64(std::uint64_t& value) { number(value); }
  template <std::size_t N, class Kind>
  void fixed(Bytes<N, Kind>& value) {
    if (turn() && !another(value)) {
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
    if (turn() && !another(value)) {
      const std::string before = value;
      value = way_ == 0 ? "n2" : way_ == 1 ? std::string(limit + 1, 'x') : "";
      altered_ = value != before;
    }
  }
  void text_or_empty(std::string& value, std::size_t limit) { text(value, limit); }
  void bytes(ByteVector& value, std::size_t /*limit*/) {
    if (turn() && !another(value)) {
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
    if (turn() && !another(values)) {
      values.push_back("n1");
      altered_ = true;
    }
  }
  template <class T>
  void list(std::vector<T>& values, std::size_t /*limit*/) {
    if (turn()) {
      if (another(values)) {
        return;
      }
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
  static constexpr int kRead = -1;

  /// Reads the field from another's message, or puts what was read there in its place.
  template <class V>
  bool another(V& value) {
    if (way_ == kRead) {
      taken_ = value;
    } else if (way_ == kAnothers) {
      if (const V* other = std::any_cast<V>(&taken_)) {
        altered_ = differ(*other, value);
        value = *other;
      }
    }
    return way_ == kRead || way_ == kAnothers;
  }
  template <class V>
  static bool differ(const V& a, const V& b) {
    return a != b;
  }
  template <class T>
  static bool differ(const std::vector<T>& a, const std::vector<T>& b) {
    if constexpr (std::equality_comparable<T>) {
      return a != b;
    } else {
      return a.size() != b.size() ||
             !std::ranges::equal(a, b, {}, worker::encode_fields<T>, worker::encode_fields<T>);
    }
  }
  template <class N>
  void number(N& value) {
    if (turn() && !another(value)) {
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
  std::any taken_;
};

/// The last message of each kind that any node but one has sent. For EngineCluster::filter, beside
/// the agent that plays that one.
class Overheard {
 public:
  Overheard(EngineCluster& cluster, const std::string& but) {
    for (std::size_t i = 0; i < cluster.size(); ++i) {
      if (const std::string& name = cluster.node(i).name; name != but) {
        agents_.push_back(std::make_unique<DoubleAgent>(
            cluster, name, [this](const std::string&, std::vector<ByteVector>& messages) {
              for (const ByteVector& message : messages) {
                last_[message.at(0)] = message;
              }
            }));
      }
    }
  }
  Overheard(const Overheard&) = delete;
  Overheard& operator=(const Overheard&) = delete;

  bool operator()(const std::string& from, const std::string& to, ByteVector& packet) {
    for (const auto& agent : agents_) {
      (*agent)(from, to, packet);
    }
    return true;
  }
  template <class T>
  [[nodiscard]] std::optional<T> last() const {
    const auto found = last_.find(static_cast<std::uint8_t>(T::kKind));
    return found == last_.end() ? std::nullopt : std::optional(decoded<T>(found->second));
  }

 private:
  std::vector<std::unique_ptr<DoubleAgent>> agents_;
  std::map<std::uint8_t, ByteVector> last_;
};

/// Alters field `field` of the first message of type T; false if there is no such field.
template <class T>
struct OneField {
  int field;
  int way;
  const Overheard* others = nullptr;
  std::optional<T> another = {};  ///< for kAnothers; what was overheard if empty
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
      if (!another && others != nullptr) {
        another = others->template last<T>();
      }
      if (another) {
        alterer.take_from(*another);
      }
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
