#pragma once
// Messages described field by field, and everything that can be done to a field. The suites over
// these tables live in frost_abort_test.cc, dkg_abort_test.cc and tests/unit/dkls/fields_test.cc.

#include <string>
#include <vector>

#include "crypto/base/bytes.h"
#include "tests/support/ed25519_encodings.h"

namespace cosigner::test {

enum class FieldKind { kPoint, kScalar, kBytes, kCount, kAgreementKey };

/// Whom an honest receiver may name when the field is altered in transit.
enum class Blame {
  kSender,  ///< the alteration contradicts the sender's own words
  kNobody,  ///< two participants disagree, and either may be lying
};

struct Field {
  std::string name;
  std::size_t offset;
  std::size_t size;
  FieldKind kind;
  Blame when_replaced;  ///< by something that parses; what does not parse is the sender's fault
};

struct FieldMutation {
  std::string name;
  ByteVector payload;
  Blame blame;
};

inline ByteVector replaced(const ByteVector& payload, const Field& field, ByteView value) {
  ByteVector out = payload;
  std::copy(value.begin(), value.end(), out.begin() + static_cast<std::ptrdiff_t>(field.offset));
  return out;
}
inline ByteView slice(const ByteVector& payload, const Field& field) {
  return ByteView(payload).subspan(field.offset, field.size);
}

/// Every alteration of one field: `others` are payloads of the same form (another sender's, another
/// session's) whose value of this field is put in its place.
inline std::vector<FieldMutation> mutations_of(
    const ByteVector& payload, const Field& field,
    const std::vector<std::pair<std::string, ByteVector>>& others,
    const BadEncodings& encodings = kEd25519Encodings) {
  std::vector<FieldMutation> out;
  const auto at = [&](std::size_t offset) {
    return payload.begin() + static_cast<std::ptrdiff_t>(offset);
  };
  out.push_back(
      {"cut off before it", ByteVector(payload.begin(), at(field.offset)), Blame::kSender});
  out.push_back({"cut off inside it",
                 ByteVector(payload.begin(), at(field.offset + field.size / 2)), Blame::kSender});
  ByteVector shorter = payload;
  shorter.erase(shorter.begin() + static_cast<std::ptrdiff_t>(field.offset));
  out.push_back({"one byte short", std::move(shorter), Blame::kSender});
  ByteVector longer = payload;
  longer.insert(longer.begin() + static_cast<std::ptrdiff_t>(field.offset + field.size), 0);
  out.push_back({"one byte long", std::move(longer), Blame::kSender});
  switch (field.kind) {
    case FieldKind::kPoint:
      for (const BadEncoding& bad : encodings.points) {
        out.push_back({"point: " + std::string(bad.name),
                       replaced(payload, field, *from_hex(bad.hex)), Blame::kSender});
      }
      break;
    case FieldKind::kScalar:
      for (const BadEncoding& bad : encodings.scalars) {
        out.push_back({"scalar: " + std::string(bad.name),
                       replaced(payload, field, *from_hex(bad.hex)), Blame::kSender});
      }
      out.push_back(
          {"scalar: zero", replaced(payload, field, ByteVector(32, 0)), field.when_replaced});
      break;
    case FieldKind::kAgreementKey:  // X25519: the small-order u-coordinates of RFC 7748's group
      for (const std::string_view bad :
           {"0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"}) {
        out.push_back({"agreement key: " + std::string(bad),
                       replaced(payload, field, *from_hex(bad)), Blame::kSender});
      }
      break;
    case FieldKind::kBytes:
      for (const std::size_t bit : {std::size_t{0}, field.size * 8 - 1}) {
        ByteVector flipped = payload;
        flipped[field.offset + bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
        out.push_back({"bit " + std::to_string(bit), std::move(flipped), field.when_replaced});
      }
      out.push_back(
          {"zeros", replaced(payload, field, ByteVector(field.size, 0)), field.when_replaced});
      break;
    case FieldKind::kCount:
      for (const int delta : {-1, 1, 128}) {
        ByteVector changed = payload;
        std::uint8_t& last = changed[field.offset + field.size - 1];
        last = static_cast<std::uint8_t>(last + delta);
        out.push_back({"count " + std::to_string(delta), std::move(changed), Blame::kSender});
      }
      out.push_back(
          {"count zero", replaced(payload, field, ByteVector(field.size, 0)), Blame::kSender});
      break;
  }
  if (field.kind != FieldKind::kCount) {
    for (const auto& [name, other] : others) {
      if (!std::ranges::equal(slice(payload, field), slice(other, field))) {
        out.push_back({"replaced by " + name, replaced(payload, field, slice(other, field)),
                       field.when_replaced});
      }
    }
  }
  // A field that is zero already is not altered by zeros.
  std::erase_if(out, [&](const FieldMutation& mutation) { return mutation.payload == payload; });
  return out;
}

}  // namespace cosigner::test
