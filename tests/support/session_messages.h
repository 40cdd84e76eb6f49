#pragma once
// Every message between the workers of two nodes, once, and visitors of their fields: for what is
// done to each of them (malformed_test.cc, the fuzz target, its seeds).

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/all_messages.h"
#include "worker/session/message_fields.h"
#include "worker/session/presign_messages.h"
#include "worker/session/session_messages.h"

namespace cosigner::test {

/// malformed_test.cc shows that no kind is missing.
using AllSessionMessages =
    ipc::MessageList<worker::Start, worker::Round, worker::SignatureResult, worker::AttemptAbort,
                     worker::Advance, worker::Decline, worker::Acknowledge,
                     worker::CommitCertificate, worker::Refusal, worker::PairNotice,
                     worker::PresignPropose, worker::PresignAccept, worker::PresignBegin,
                     worker::PresignRound, worker::PresignReady, worker::PresignEnd>;

/// Gives every field a value of its own: nothing is empty, every list has two entries.
class FieldFiller {
 public:
  void u8(std::uint8_t& value) { value = next(); }
  void u16(std::uint16_t& value) { value = next(); }
  void u32(std::uint32_t& value) { value = next(); }
  void u64(std::uint64_t& value) { value = next(); }
  template <std::size_t N, class Kind>
  void fixed(Bytes<N, Kind>& value) {
    std::ranges::generate(value.data, [this] { return next(); });
  }
  void text(std::string& value, std::size_t /*limit*/) { value = "n" + std::to_string(next()); }
  void text_or_empty(std::string& value, std::size_t limit) { text(value, limit); }
  void bytes(ByteVector& value, std::size_t /*limit*/) { value = {next(), next(), next()}; }
  void names(std::vector<std::string>& values, std::size_t limit) {
    values.resize(2);
    for (std::string& value : values) {
      text(value, limit);
    }
  }
  template <class T>
  void list(std::vector<T>& values, std::size_t /*limit*/) {
    values.resize(2);
    for (T& value : values) {
      T::fields(value, *this);
    }
  }

 private:
  std::uint8_t next() { return ++last_; }
  std::uint8_t last_ = 0;
};

template <class T>
[[nodiscard]] T filled() {
  T out;
  FieldFiller filler;
  T::fields(out, filler);
  return out;
}

/// Gives one field among those that have a length of their own (texts, byte strings, lists and what
/// is in lists) another length. The n-th of them; beyond() if there are not so many.
class FieldStretcher {
 public:
  enum class Length { kNone, kLimit, kAboveLimit };

  FieldStretcher(int field, Length length) : field_(field), length_(length) {}
  [[nodiscard]] bool beyond() const { return field_ >= seen_; }
  /// Whether the field may be empty.
  [[nodiscard]] bool may_be_empty() const { return may_be_empty_; }

  void u8(std::uint8_t& /*value*/) {}
  void u16(std::uint16_t& /*value*/) {}
  void u32(std::uint32_t& /*value*/) {}
  void u64(std::uint64_t& /*value*/) {}
  template <std::size_t N, class Kind>
  void fixed(Bytes<N, Kind>& /*value*/) {}
  void text(std::string& value, std::size_t limit) {
    if (turn(false)) {
      value.resize(size(limit), 'n');
    }
  }
  void text_or_empty(std::string& value, std::size_t limit) {
    if (turn(true)) {
      value.resize(size(limit), 'n');
    }
  }
  void bytes(ByteVector& value, std::size_t limit) {
    if (turn(true)) {
      value.resize(size(limit), 7);
    }
  }
  void names(std::vector<std::string>& values, std::size_t limit) {
    if (turn(true)) {
      values.resize(size(limit), "n");
      return;
    }
    for (std::string& value : values) {
      text_or_empty(value, kMaxNodeName);
    }
  }
  template <class T>
  void list(std::vector<T>& values, std::size_t limit) {
    if (turn(true)) {
      values.resize(size(limit), filled<T>());
      return;
    }
    for (T& value : values) {
      T::fields(value, *this);
    }
  }

 private:
  bool turn(bool may_be_empty) {
    if (seen_++ != field_) {
      return false;
    }
    may_be_empty_ = may_be_empty;
    return true;
  }
  [[nodiscard]] std::size_t size(std::size_t limit) const {
    return length_ == Length::kNone ? 0 : limit + (length_ == Length::kAboveLimit ? 1 : 0);
  }
  int field_;
  Length length_;
  int seen_ = 0;
  bool may_be_empty_ = false;
};

/// Writes a message's fields as they are: FieldWriter keeps to the limits, a liar need not.
class UnboundedWriter : public worker::FieldWriter {
 public:
  void text_or_empty(const std::string& value, std::size_t limit) { text(value, limit); }
  template <class T>
  void list(const std::vector<T>& values, std::size_t /*limit*/) {
    u16(static_cast<std::uint16_t>(values.size()));
    for (const T& value : values) {
      T::fields(value, *this);
    }
  }
};

template <class T>
[[nodiscard]] ByteVector encode_unbounded(const T& message) {
  UnboundedWriter writer;
  T::fields(message, writer);
  return writer.writer().take();
}

}  // namespace cosigner::test
