#pragma once
// A TOML table as a record: every key known, every value of its type and range. Mistakes are noted
// with their line; reading goes on, so that one run reports all of them.

#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/joined.h"
#include "supervisor/config/config.h"

namespace cosigner::supervisor {

/// Collects the problems of one file.
class Problems {
 public:
  explicit Problems(std::string file) : file_(std::move(file)) {}
  void add(const toml::source_region& where, std::string message, std::string remedy) {
    add_line(where.begin.line, std::move(message), std::move(remedy));
  }
  void add_line(std::uint32_t line, std::string message, std::string remedy) {
    found_.push_back({file_, line, std::move(message), std::move(remedy)});
  }
  [[nodiscard]] std::vector<ConfigProblem>& found() { return found_; }

 private:
  std::string file_;
  std::vector<ConfigProblem> found_;
};

class TomlFields {
 public:
  /// `name` is empty for the root, else the table's name for messages.
  TomlFields(const toml::table& table, std::string name, Problems& problems)
      : table_(table), name_(std::move(name)), problems_(problems) {}

  /// A missing required key is a mistake; a missing optional one leaves `out` as it was.
  void text(std::string_view key, std::string& out, bool required) {
    const toml::node* node = find(key, required, "a string");
    if (node == nullptr) {
      return;
    }
    if (const auto* value = node->as_string()) {
      out = value->get();
      if (out.empty() && required) {
        problems_.add(node->source(), quoted(key) + " is empty", "give it a value");
      }
    } else {
      wrong_type(*node, key, "a string, in quotes");
    }
  }

  void boolean(std::string_view key, bool& out) {
    const toml::node* node = find(key, false, "true or false");
    if (node == nullptr) {
      return;
    }
    if (const auto* value = node->as_boolean()) {
      out = value->get();
    } else {
      wrong_type(*node, key, "true or false, without quotes");
    }
  }

  template <class Integer>
  void number(std::string_view key, Integer& out, std::uint64_t low, std::uint64_t high) {
    const toml::node* node = find(key, false, "a number");
    if (node == nullptr) {
      return;
    }
    const auto* value = node->as_integer();
    if (value == nullptr) {
      wrong_type(*node, key, "a whole number, without quotes");
      return;
    }
    const std::int64_t given = value->get();
    high = std::min<std::uint64_t>(high, std::numeric_limits<Integer>::max());
    if (given < 0 || static_cast<std::uint64_t>(given) < low ||
        static_cast<std::uint64_t>(given) > high) {
      problems_.add(node->source(), quoted(key) + " is " + std::to_string(given),
                    "use a number from " + std::to_string(low) + " to " + std::to_string(high));
      return;
    }
    out = static_cast<Integer>(given);
  }

  void texts(std::string_view key, std::vector<std::string>& out) {
    const toml::node* node = find(key, true, "a list of strings");
    if (node == nullptr) {
      return;
    }
    const auto* list = node->as_array();
    if (list == nullptr || list->empty() || !list->is_homogeneous(toml::node_type::string)) {
      wrong_type(*node, key, "a list of strings with at least one entry, such as [\"*\"]");
      return;
    }
    for (const toml::node& item : *list) {
      out.push_back(item.as_string()->get());
    }
  }

  /// A sub-table, or nothing.
  const toml::table* table(std::string_view key, bool required) {
    const toml::node* node = find(key, required, "a [table]");
    if (node != nullptr && node->as_table() == nullptr) {
      wrong_type(*node, key, "a [" + std::string(key) + "] table");
      return nullptr;
    }
    return node == nullptr ? nullptr : node->as_table();
  }

  /// The elements of [[key]].
  std::vector<const toml::table*> tables(std::string_view key) {
    std::vector<const toml::table*> out;
    const toml::node* node = find(key, true, "at least one [[" + std::string(key) + "]] table");
    if (node == nullptr) {
      return out;
    }
    const auto* list = node->as_array();
    if (list == nullptr) {
      wrong_type(*node, key, "[[" + std::string(key) + "]] tables");
      return out;
    }
    for (const toml::node& item : *list) {
      if (const auto* found = item.as_table()) {
        out.push_back(found);
      } else {
        wrong_type(item, key, "[[" + std::string(key) + "]] tables");
      }
    }
    return out;
  }

  [[nodiscard]] toml::source_region where(std::string_view key) const {
    const toml::node* node = table_.get(key);
    return node == nullptr ? table_.source() : node->source();
  }
  void complain(std::string_view key, std::string message, std::string remedy) {
    problems_.add(where(key), std::move(message), std::move(remedy));
  }

  /// Notes every key that nobody asked for.
  void finish() {
    for (const auto& [key, node] : table_) {
      if (!asked_.contains(key.str())) {
        problems_.add(key.source(), "unknown key " + quoted(key.str()),
                      "remove it or correct its spelling; known here: " + joined(asked_));
      }
    }
  }

 private:
  const toml::node* find(std::string_view key, bool required, std::string_view what) {
    asked_.emplace(key);
    const toml::node* node = table_.get(key);
    if (node == nullptr && required) {
      problems_.add(table_.source(), quoted(key) + " is missing",
                    "add " + std::string(key) + ", " + std::string(what));
    }
    return node;
  }
  void wrong_type(const toml::node& node, std::string_view key, const std::string& expected) {
    problems_.add(node.source(), quoted(key) + " has the wrong type", "use " + expected);
  }
  [[nodiscard]] std::string quoted(std::string_view key) const {
    return "'" + (name_.empty() ? "" : name_ + ".") + std::string(key) + "'";
  }

  const toml::table& table_;
  std::string name_;
  Problems& problems_;
  std::set<std::string, std::less<>> asked_;
};

}  // namespace cosigner::supervisor
