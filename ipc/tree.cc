#include "ipc/tree.h"

#include <exception>
#include <msgpack.hpp>
#include <utility>

namespace cosigner::ipc {
namespace {

// First pass, without any allocation but the parser's own stack (at most `depth` deep): an input
// that announces large containers is refused before memory is set aside for them.
class Inspector : public msgpack::null_visitor {
 public:
  explicit Inspector(const TreeLimits& limits) : limits_(limits) {}

  bool visit_float32(float /*value*/) { return refuse("a floating-point number"); }
  bool visit_float64(double /*value*/) { return refuse("a floating-point number"); }
  bool visit_ext(const char* /*value*/, std::uint32_t /*size*/) {
    return refuse("an extension type");
  }
  bool start_array(std::uint32_t count) { return enter(count); }
  bool end_array() { return leave(); }
  bool start_map(std::uint32_t count) { return enter(2 * std::uint64_t{count}); }
  bool end_map() { return leave(); }
  void parse_error(std::size_t /*parsed*/, std::size_t /*error*/) {
    refuse("a byte of no meaning");
  }
  void insufficient_bytes(std::size_t /*parsed*/, std::size_t /*error*/) {
    refuse("an end in the middle of a value");
  }

  [[nodiscard]] const char* problem() const { return problem_; }

 private:
  bool refuse(const char* problem) {
    if (problem_ == nullptr) {
      problem_ = problem;
    }
    return false;
  }
  bool enter(std::uint64_t elements) {
    if (++depth_ > limits_.depth) {
      return refuse("too many levels of containers");
    }
    elements_ += elements;
    return elements_ <= limits_.elements || refuse("too many elements");
  }
  bool leave() {
    --depth_;
    return true;
  }

  const TreeLimits& limits_;
  std::size_t depth_ = 0;
  std::uint64_t elements_ = 0;
  const char* problem_ = nullptr;
};

bool reference_all(msgpack::type::object_type /*type*/, std::size_t /*size*/, void* /*data*/) {
  return true;
}

const msgpack::object& object_of(const void* pointer) {
  return *static_cast<const msgpack::object*>(pointer);
}

// Length of the valid UTF-8 sequence that `text` begins with (RFC 3629: shortest form, no
// surrogates, at most U+10FFFF), 0 if there is none.
std::size_t utf8_sequence(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t first = byte(0);
  if (first < 0x80) {
    return 1;
  }
  std::size_t size = 0;
  std::uint8_t low = 0x80;
  std::uint8_t high = 0xbf;
  if (first >= 0xc2 && first <= 0xdf) {
    size = 2;
  } else if (first >= 0xe0 && first <= 0xef) {
    size = 3;
    low = first == 0xe0 ? 0xa0 : low;
    high = first == 0xed ? 0x9f : high;
  } else if (first >= 0xf0 && first <= 0xf4) {
    size = 4;
    low = first == 0xf0 ? 0x90 : low;
    high = first == 0xf4 ? 0x8f : high;
  }
  if (size == 0 || text.size() < size || byte(1) < low || byte(1) > high) {
    return 0;
  }
  for (std::size_t i = 2; i < size; ++i) {
    if (byte(i) < 0x80 || byte(i) > 0xbf) {
      return 0;
    }
  }
  return size;
}

// Length of the loggable character that `text` begins with, 0 if there is none. C1 controls
// (U+0080 to U+009F, encoded c2 80 to c2 9f) move a terminal's cursor as well as C0 ones do.
std::size_t loggable_character(std::string_view text) {
  const auto first = static_cast<std::uint8_t>(text[0]);
  if (first < 0x20 || first == 0x7f) {
    return first == '\t' || first == '\n' ? 1 : 0;
  }
  const std::size_t size = utf8_sequence(text);
  const bool c1 = size == 2 && first == 0xc2 && static_cast<std::uint8_t>(text[1]) < 0xa0;
  return c1 ? 0 : size;
}

}  // namespace

bool loggable(std::string_view text) {
  while (!text.empty()) {
    const std::size_t size = loggable_character(text);
    if (size == 0) {
      return false;
    }
    text.remove_prefix(size);
  }
  return true;
}

std::string make_loggable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t size = loggable_character(text);
    if (size == 0) {
      out.push_back('?');
      text.remove_prefix(1);
    } else {
      out.append(text.substr(0, size));
      text.remove_prefix(size);
    }
  }
  return out;
}

struct Tree::Storage {
  // Nearly every message has fewer than 40 values of 24 bytes.
  msgpack::zone zone{1024};
  msgpack::object root;
};

Tree::Tree(std::unique_ptr<Storage> storage) : storage_(std::move(storage)) {}
Tree::Tree(Tree&&) noexcept = default;
Tree& Tree::operator=(Tree&&) noexcept = default;
Tree::~Tree() = default;

Expected<Tree> Tree::parse(ByteView input, const TreeLimits& limits) {
  if (input.size() > limits.bytes) {
    return fail(ErrorCode::kBadRequest, "msgpack: longer than the limit");
  }
  try {
    const char* const data = reinterpret_cast<const char*>(input.data());
    Inspector inspector(limits);
    std::size_t used = 0;
    const bool whole = msgpack::parse(data, input.size(), used, inspector);
    if (!whole || inspector.problem() != nullptr) {
      const char* const problem = inspector.problem();
      return fail(ErrorCode::kBadRequest,
                  std::string("msgpack: ") + (problem != nullptr ? problem : "not well formed"));
    }
    if (used != input.size()) {
      return fail(ErrorCode::kBadRequest, "msgpack: bytes left over");
    }
    auto storage = std::make_unique<Storage>();
    used = 0;
    storage->root = msgpack::unpack(storage->zone, data, input.size(), used, &reference_all);
    return Tree(std::move(storage));
  } catch (const std::exception& error) {
    // Out of memory, or a limit of the library's that is tighter than ours.
    return fail(ErrorCode::kBadRequest, std::string("msgpack: ") + error.what());
  }
}

Node Tree::root() const {
  return Node(&storage_->root);
}

NodeKind Node::kind() const {
  switch (object_of(object_).type) {
    case msgpack::type::BOOLEAN:
      return NodeKind::kBool;
    case msgpack::type::POSITIVE_INTEGER:
    case msgpack::type::NEGATIVE_INTEGER:
      return NodeKind::kInteger;
    case msgpack::type::STR:
      return NodeKind::kText;
    case msgpack::type::BIN:
      return NodeKind::kBytes;
    case msgpack::type::ARRAY:
      return NodeKind::kArray;
    case msgpack::type::MAP:
      return NodeKind::kMap;
    default:
      return NodeKind::kNull;
  }
}

std::optional<bool> Node::boolean() const {
  const auto& object = object_of(object_);
  return object.type == msgpack::type::BOOLEAN ? std::optional(object.via.boolean) : std::nullopt;
}

std::optional<std::uint64_t> Node::unsigned_integer(std::uint64_t low, std::uint64_t high) const {
  const auto& object = object_of(object_);
  if (object.type != msgpack::type::POSITIVE_INTEGER || object.via.u64 < low ||
      object.via.u64 > high) {
    return std::nullopt;
  }
  return object.via.u64;
}

std::optional<std::int64_t> Node::signed_integer(std::int64_t low, std::int64_t high) const {
  const auto& object = object_of(object_);
  std::int64_t value = 0;
  if (object.type == msgpack::type::NEGATIVE_INTEGER) {
    value = object.via.i64;
  } else if (object.type == msgpack::type::POSITIVE_INTEGER &&
             std::in_range<std::int64_t>(object.via.u64)) {
    value = static_cast<std::int64_t>(object.via.u64);
  } else {
    return std::nullopt;
  }
  return value >= low && value <= high ? std::optional(value) : std::nullopt;
}

std::optional<std::string_view> Node::text(std::size_t limit) const {
  const auto& object = object_of(object_);
  if (object.type != msgpack::type::STR || object.via.str.size > limit) {
    return std::nullopt;
  }
  const std::string_view view(object.via.str.ptr, object.via.str.size);
  return loggable(view) ? std::optional(view) : std::nullopt;
}

std::optional<ByteView> Node::bytes(std::size_t limit) const {
  const auto& object = object_of(object_);
  if (object.type != msgpack::type::BIN || object.via.bin.size > limit) {
    return std::nullopt;
  }
  return ByteView(reinterpret_cast<const std::uint8_t*>(object.via.bin.ptr), object.via.bin.size);
}

std::size_t Node::size() const {
  const auto& object = object_of(object_);
  if (object.type == msgpack::type::ARRAY) {
    return object.via.array.size;
  }
  return object.type == msgpack::type::MAP ? object.via.map.size : 0;
}

Node Node::at(std::size_t i) const {
  return Node(&object_of(object_).via.array.ptr[i]);
}
Node Node::entry_key(std::size_t i) const {
  return Node(&object_of(object_).via.map.ptr[i].key);
}
Node Node::entry_value(std::size_t i) const {
  return Node(&object_of(object_).via.map.ptr[i].val);
}

}  // namespace cosigner::ipc
