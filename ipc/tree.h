#pragma once
// Strict reading of untrusted msgpack. A Tree checks the whole input once (size, depth, number of
// elements, no floats and no extension types, nothing left over) and hands out Nodes that point
// into the input: no byte of a string is copied, so a secret in the input stays in one place. No
// exception of the library escapes.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "crypto/base/bytes.h"
#include "ipc/error.h"

namespace cosigner::ipc {

struct TreeLimits {
  std::size_t bytes = (4U << 20) + (64U << 10);
  std::size_t depth = 8;            ///< containers within containers
  std::size_t elements = 1U << 17;  ///< of all containers together; a map entry counts as two
};

enum class NodeKind : std::uint8_t { kNull, kBool, kInteger, kText, kBytes, kArray, kMap };

/// One value. Valid as long as its Tree and the Tree's input.
class Node {
 public:
  [[nodiscard]] NodeKind kind() const;
  /// Each getter returns nothing for another type or a value outside its range.
  [[nodiscard]] std::optional<bool> boolean() const;
  [[nodiscard]] std::optional<std::uint64_t> unsigned_integer(
      std::uint64_t low = 0, std::uint64_t high = UINT64_MAX) const;
  [[nodiscard]] std::optional<std::int64_t> signed_integer(std::int64_t low = INT64_MIN,
                                                           std::int64_t high = INT64_MAX) const;
  /// Also refuses what is not fit for a log (see loggable()).
  [[nodiscard]] std::optional<std::string_view> text(std::size_t limit = 64U << 10) const;
  [[nodiscard]] std::optional<ByteView> bytes(std::size_t limit = SIZE_MAX) const;
  /// Number of elements of an array or entries of a map; 0 for anything else.
  [[nodiscard]] std::size_t size() const;
  /// Element of an array. Requires kind() == kArray and i < size().
  [[nodiscard]] Node at(std::size_t i) const;
  /// Entry of a map. Requires kind() == kMap and i < size().
  [[nodiscard]] Node entry_key(std::size_t i) const;
  [[nodiscard]] Node entry_value(std::size_t i) const;

 private:
  friend class Tree;
  explicit Node(const void* object) : object_(object) {}
  const void* object_;
};

class Tree {
 public:
  /// `input` must outlive the Tree. Errors are bad_request with a sentence that says what was
  /// wrong.
  [[nodiscard]] static Expected<Tree> parse(ByteView input, const TreeLimits& limits = {});
  Tree(Tree&&) noexcept;
  Tree& operator=(Tree&&) noexcept;
  ~Tree();

  [[nodiscard]] Node root() const;

 private:
  struct Storage;
  explicit Tree(std::unique_ptr<Storage> storage);
  std::unique_ptr<Storage> storage_;
};

/// Valid UTF-8 without control characters other than tab and newline.
[[nodiscard]] bool loggable(std::string_view text);
/// The same text with '?' for each byte that is not; for what comes from exceptions and peers.
[[nodiscard]] std::string make_loggable(std::string_view text);

}  // namespace cosigner::ipc
