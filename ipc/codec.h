#pragma once
// Encodes and strictly decodes every struct with `fields()` (ipc/message_types.h) as a msgpack
// array in the order of its fields: exact count, exact types, integers within the range of their
// type, known enumerators, bounded sizes, loggable text, nothing left over. Never throws on input.

#include <concepts>
#include <limits>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "crypto/base/secret.h"
#include "ipc/error.h"
#include "ipc/message_parts.h"
#include "ipc/pack.h"
#include "ipc/tree.h"

namespace cosigner::ipc {

inline constexpr std::size_t kMaxTextBytes = 64U << 10;  ///< of one text field
inline constexpr std::size_t kMaxItems = 1U << 14;       ///< of one list

/// The closed range of an enumeration that travels. Specialise for each.
template <class E>
struct EnumRange;
template <>
struct EnumRange<Role> {
  static constexpr Role kFirst = Role::kWorker;
  static constexpr Role kLast = Role::kGateway;
};
template <>
struct EnumRange<KeyState> {
  static constexpr KeyState kFirst = KeyState::kPending;
  static constexpr KeyState kLast = KeyState::kActive;
};
template <>
struct EnumRange<KeyFault> {
  static constexpr KeyFault kFirst = KeyFault::kNone;
  static constexpr KeyFault kLast = KeyFault::kOtState;
};
template <>
struct EnumRange<PairRenewal> {
  static constexpr PairRenewal kFirst = PairRenewal::kNone;
  static constexpr PairRenewal kLast = PairRenewal::kStored;
};
template <>
struct EnumRange<LogLevel> {
  static constexpr LogLevel kFirst = LogLevel::kDebug;
  static constexpr LogLevel kLast = LogLevel::kError;
};

template <class T>
concept HasFields = requires(T& value) { value.fields(); };

namespace codec {

template <class T>
struct IsBytes : std::false_type {};
template <std::size_t N, class Kind>
struct IsBytes<Bytes<N, Kind>> : std::true_type {};
template <class T>
struct IsVector : std::false_type {};
template <class T, class A>
struct IsVector<std::vector<T, A>> : std::true_type {};

template <class T>
void put(Packer& out, const T& value) {
  if constexpr (HasFields<const T>) {
    std::apply(
        [&](const auto&... field) {
          out.array(sizeof...(field));
          (put(out, field), ...);
        },
        value.fields());
  } else if constexpr (std::same_as<T, bool>) {
    out.boolean(value);
  } else if constexpr (std::is_enum_v<T>) {
    out.unsigned_integer(static_cast<std::uint64_t>(value));
  } else if constexpr (std::unsigned_integral<T>) {
    out.unsigned_integer(value);
  } else if constexpr (std::signed_integral<T>) {
    out.signed_integer(value);
  } else if constexpr (std::same_as<T, std::string>) {
    out.text(value);
  } else if constexpr (IsBytes<T>::value) {
    out.bytes(value.view());
  } else if constexpr (std::same_as<T, ByteVector> || std::same_as<T, SecretVector>) {
    out.bytes(ByteView(value.data(), value.size()));
  } else {
    static_assert(IsVector<T>::value, "a field of a type that has no encoding");
    out.array(value.size());
    for (const auto& item : value) {
      put(out, item);
    }
  }
}

/// False for another type, a value out of range, a wrong count.
template <class T>
bool get(Node node, T& value) {
  const auto take = [&value](const auto& found) {
    if (found) {
      value = static_cast<T>(*found);
    }
    return found.has_value();
  };
  if constexpr (HasFields<T>) {
    return std::apply(
        [&](auto&... field) {
          if (node.kind() != NodeKind::kArray || node.size() != sizeof...(field)) {
            return false;
          }
          std::size_t i = 0;
          return (get(node.at(i++), field) && ...);
        },
        value.fields());
  } else if constexpr (std::same_as<T, bool>) {
    return take(node.boolean());
  } else if constexpr (std::is_enum_v<T>) {
    return take(node.unsigned_integer(static_cast<std::uint64_t>(EnumRange<T>::kFirst),
                                      static_cast<std::uint64_t>(EnumRange<T>::kLast)));
  } else if constexpr (std::unsigned_integral<T>) {
    return take(node.unsigned_integer(0, std::numeric_limits<T>::max()));
  } else if constexpr (std::signed_integral<T>) {
    return take(node.signed_integer(std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
  } else if constexpr (std::same_as<T, std::string>) {
    return take(node.text(kMaxTextBytes));
  } else if constexpr (IsBytes<T>::value) {
    const auto found = node.bytes(T::kSize);
    return found && take(T::from(*found));
  } else if constexpr (std::same_as<T, ByteVector> || std::same_as<T, SecretVector>) {
    const auto found = node.bytes();
    if (found) {
      value.assign(found->begin(), found->end());
    }
    return found.has_value();
  } else {
    static_assert(IsVector<T>::value, "a field of a type that has no encoding");
    if (node.kind() != NodeKind::kArray || node.size() > kMaxItems) {
      return false;
    }
    value.resize(node.size());
    for (std::size_t i = 0; i < value.size(); ++i) {
      if (!get(node.at(i), value[i])) {
        return false;
      }
    }
    return true;
  }
}

}  // namespace codec

/// The array of the struct's fields.
template <HasFields T>
[[nodiscard]] SecretVector encode(const T& value) {
  Packer out;
  codec::put(out, value);
  return out.take();
}

template <HasFields T>
[[nodiscard]] Expected<T> decode(ByteView bytes) {
  const Expected<Tree> tree = Tree::parse(bytes);
  if (!tree) {
    return std::unexpected(tree.error());
  }
  T value;
  if (!codec::get(tree->root(), value)) {
    return fail(ErrorCode::kBadRequest, "a field is missing, of another type, or out of range");
  }
  return value;
}

}  // namespace cosigner::ipc
