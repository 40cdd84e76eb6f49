#include "ipc/map_reader.h"

namespace cosigner::ipc {

MapReader::MapReader(Node node, std::string_view what) : node_(node), what_(what) {
  static_assert(kMaxEntries == 64, "seen_ has a bit for each entry");
  if (node_.kind() != NodeKind::kMap) {
    fail("not a map");
    return;
  }
  if (node_.size() > kMaxEntries) {
    fail("more than 64 entries");
    return;
  }
  for (std::size_t i = 0; i < node_.size(); ++i) {
    const auto key = node_.entry_key(i).text();
    if (!key) {
      fail("a key that is no text");
      return;
    }
    if (find(*key) != i) {
      fail("'" + std::string(*key) + "' occurs twice");
      return;
    }
  }
}

std::optional<std::size_t> MapReader::find(std::string_view key) const {
  if (node_.kind() != NodeKind::kMap || node_.size() > kMaxEntries) {
    return std::nullopt;
  }
  for (std::size_t i = 0; i < node_.size(); ++i) {
    if (node_.entry_key(i).text() == key) {
      return i;
    }
  }
  return std::nullopt;
}

bool MapReader::has(std::string_view key) const {
  return find(key).has_value();
}

std::optional<Node> MapReader::node(std::string_view key) {
  const auto i = find(key);
  if (!i) {
    return std::nullopt;
  }
  seen_ |= std::uint64_t{1} << *i;
  return node_.entry_value(*i);
}

std::optional<Node> MapReader::require(std::string_view key) {
  if (failed()) {
    return std::nullopt;
  }
  auto found = node(key);
  if (!found) {
    fail("'" + std::string(key) + "' is missing");
  }
  return found;
}

bool MapReader::boolean(std::string_view key) {
  const auto found = require(key);
  if (!found) {
    return false;
  }
  const auto value = found->boolean();
  if (!value) {
    fail("'" + std::string(key) + "' must be true or false");
  }
  return value.value_or(false);
}

std::uint64_t MapReader::unsigned_integer(std::string_view key, std::uint64_t low,
                                          std::uint64_t high) {
  const auto found = require(key);
  if (!found) {
    return 0;
  }
  const auto value = found->unsigned_integer(low, high);
  if (!value) {
    fail("'" + std::string(key) + "' must be an integer from " + std::to_string(low) + " to " +
         std::to_string(high));
  }
  return value.value_or(0);
}

std::int64_t MapReader::signed_integer(std::string_view key) {
  const auto found = require(key);
  if (!found) {
    return 0;
  }
  const auto value = found->signed_integer();
  if (!value) {
    fail("'" + std::string(key) + "' must be an integer");
  }
  return value.value_or(0);
}

std::string MapReader::text(std::string_view key, std::size_t limit) {
  const auto found = require(key);
  if (!found) {
    return {};
  }
  const auto value = found->text(limit);
  if (!value) {
    fail("'" + std::string(key) + "' must be printable text of at most " + std::to_string(limit) +
         " bytes");
    return {};
  }
  return std::string(*value);
}

ByteView MapReader::bytes(std::string_view key, std::size_t limit) {
  const auto found = require(key);
  if (!found) {
    return {};
  }
  const auto value = found->bytes(limit);
  if (!value) {
    fail("'" + std::string(key) + "' must be binary" +
         (limit == SIZE_MAX ? "" : " of at most " + std::to_string(limit) + " bytes"));
  }
  return value.value_or(ByteView{});
}

std::vector<Node> MapReader::array(std::string_view key, std::size_t limit) {
  const auto found = require(key);
  if (!found) {
    return {};
  }
  if (found->kind() != NodeKind::kArray || found->size() > limit) {
    fail("'" + std::string(key) + "' must be an array of at most " + std::to_string(limit));
    return {};
  }
  std::vector<Node> out;
  out.reserve(found->size());
  for (std::size_t i = 0; i < found->size(); ++i) {
    out.push_back(found->at(i));
  }
  return out;
}

std::vector<std::string> MapReader::texts(std::string_view key, std::size_t limit,
                                          std::size_t text_limit) {
  std::vector<std::string> out;
  for (const Node& node : array(key, limit)) {
    const auto value = node.text(text_limit);
    if (!value) {
      fail("'" + std::string(key) + "' must hold texts of at most " + std::to_string(text_limit) +
           " bytes");
      return {};
    }
    out.emplace_back(*value);
  }
  return out;
}

void MapReader::fail(std::string_view reason, ErrorCode code) {
  if (!error_) {
    error_ = cosigner::fail(code, what_ + ": " + std::string(reason)).error();
  }
}

Expected<void> MapReader::finish_lenient() const {
  if (error_) {
    return std::unexpected(*error_);
  }
  return {};
}

Expected<void> MapReader::finish() const {
  if (error_) {
    return std::unexpected(*error_);
  }
  for (std::size_t i = 0; i < node_.size(); ++i) {
    if ((seen_ >> i & 1U) == 0) {
      return cosigner::fail(
          ErrorCode::kBadRequest,
          what_ + ": '" + std::string(node_.entry_key(i).text().value_or("")) + "' is not known");
    }
  }
  return {};
}

}  // namespace cosigner::ipc
