#include "crypto/frost/share_message.h"

namespace cosigner {

Digest frost_view(const Digest& context, const Digest& binding, std::span<const SetMember> set) {
  TaggedHash hash(tag::kFrostContext);
  hash.part(context).part(binding);
  for (const SetMember& member : set) {
    hash.part_u16(member.index).part(member.hello);
  }
  return hash.finish();
}

}  // namespace cosigner
