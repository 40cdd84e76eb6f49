#pragma once
// A map as a record: every key known, none twice, every value of its type and in its range. The
// getters note the first thing that is wrong and return a default; `finish()` tells. So a decoder
// is a list of fields and one check.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/tree.h"

namespace cosigner::ipc {

class MapReader {
 public:
  static constexpr std::size_t kMaxEntries = 64;

  /// `what` names the record in errors ("request").
  MapReader(Node node, std::string_view what);

  [[nodiscard]] bool has(std::string_view key) const;
  bool boolean(std::string_view key);
  std::uint64_t unsigned_integer(std::string_view key, std::uint64_t low = 0,
                                 std::uint64_t high = UINT64_MAX);
  std::int64_t signed_integer(std::string_view key);
  std::string text(std::string_view key, std::size_t limit = 64U << 10);
  /// Points into the input.
  ByteView bytes(std::string_view key, std::size_t limit = SIZE_MAX);
  template <class B>
  B fixed(std::string_view key) {
    const ByteView view = bytes(key, B::kSize);
    if (!failed() && view.size() != B::kSize) {
      fail("'" + std::string(key) + "' must have " + std::to_string(B::kSize) + " bytes");
    }
    return B::from(view).value_or(B{});
  }
  /// The elements of an array.
  std::vector<Node> array(std::string_view key, std::size_t limit);
  std::vector<std::string> texts(std::string_view key, std::size_t limit, std::size_t text_limit);
  /// A nested map (or anything): nothing if the key is missing.
  std::optional<Node> node(std::string_view key);

  /// Notes an error of the caller's own (a name that is not valid, …).
  void fail(std::string_view reason, ErrorCode code = ErrorCode::kBadRequest);
  [[nodiscard]] bool failed() const { return error_.has_value(); }
  /// The first error, or unknown keys.
  [[nodiscard]] Expected<void> finish() const;
  /// Like finish(), but keys that nobody asked for are allowed: replies of a newer release.
  [[nodiscard]] Expected<void> finish_lenient() const;

 private:
  std::optional<std::size_t> find(std::string_view key) const;
  std::optional<Node> require(std::string_view key);
  Node node_;
  std::string what_;
  std::uint64_t seen_ = 0;  ///< one bit for each entry that was asked for
  std::optional<Error> error_;
};

}  // namespace cosigner::ipc
