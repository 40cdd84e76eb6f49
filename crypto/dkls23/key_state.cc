#include "crypto/dkls23/key_state.h"

#include <algorithm>

#include "crypto/base/hash.h"
#include "crypto/base/wire.h"
#include "crypto/protocol/key_share.h"
#include "crypto/secp256k1/group.h"

namespace cosigner::dkls23 {

namespace {

void append(SecretVector& out, ByteView bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}
void append_u16(SecretVector& out, std::size_t value) {
  out.push_back(static_cast<std::uint8_t>(value >> 8U));
  out.push_back(static_cast<std::uint8_t>(value & 0xffU));
}

/// The parts of an encoding, as views into it.
struct Entry {
  ParticipantIndex peer = 0;
  ByteView state;  ///< empty when erased
};

std::optional<std::vector<Entry>> entries_of(ByteView encoded) {
  Reader reader(encoded);
  std::vector<Entry> out;
  if (reader.u8() != kVersion) {
    return std::nullopt;
  }
  ParticipantIndex previous = 0;
  for (std::size_t count = reader.u16(); count > 0 && reader.ok(); --count) {
    Entry entry;
    entry.peer = reader.u16();
    const std::uint8_t present = reader.u8();
    if (entry.peer <= previous || present > 1) {
      return std::nullopt;
    }
    previous = entry.peer;
    entry.state = reader.fixed(present == 1 ? PairState::kEncodedSize : 0);
    out.push_back(entry);
  }
  return reader.finished() ? std::optional(std::move(out)) : std::nullopt;
}

void write_entry(SecretVector& out, ParticipantIndex peer, ByteView state) {
  append_u16(out, peer);
  out.push_back(state.empty() ? 0 : 1);
  append(out, state);
}

SecretVector encode_state(const PairState& state) {
  SecretVector out;
  out.reserve(PairState::kEncodedSize);
  append(out, state.id);
  append(out, state.sender.delta.expose());
  append(out, state.sender.leaves.expose());
  append(out, state.receiver.leaves.expose());
  append(out, state.zero_seed.expose());
  return out;
}

PairState decode_state(ByteView bytes) {
  Reader reader(bytes);  // its length was checked with the entry
  PairState out;
  out.id = reader.take<Digest>();
  out.sender.delta = *SecretBytes<kColumnBytes>::from(reader.fixed(kColumnBytes));
  out.sender.leaves = *SecretBytes<kLeafBytes>::from(reader.fixed(kLeafBytes));
  out.receiver.leaves = *SecretBytes<kLeafBytes>::from(reader.fixed(kLeafBytes));
  out.zero_seed = *SecretBytes<32>::from(reader.fixed(32));
  return out;
}

/// The key secret with one peer's entry rewritten; an empty state erases.
std::optional<SecretVector> rewrite(ByteView key_secret, ParticipantIndex peer, ByteView state) {
  auto share = KeyShare<Secp256k1Group>::decode(key_secret);
  const auto entries = share ? entries_of(as_view(share->state)) : std::nullopt;
  if (!entries || std::ranges::find(*entries, peer, &Entry::peer) == entries->end()) {
    return std::nullopt;
  }
  SecretVector states;
  states.reserve(share->state.size() + PairState::kEncodedSize);
  states.push_back(kVersion);
  append_u16(states, entries->size());
  for (const Entry& entry : *entries) {
    write_entry(states, entry.peer, entry.peer == peer ? state : entry.state);
  }
  share->state = std::move(states);
  return share->encode();
}

}  // namespace

SecretVector encode_states(const PairStates& states) {
  SecretVector out;
  out.reserve(3 + states.size() * (3 + PairState::kEncodedSize));
  out.push_back(kVersion);
  append_u16(out, states.size());
  for (const auto& [peer, state] : states) {
    const SecretVector encoded = state ? encode_state(*state) : SecretVector();
    write_entry(out, peer, as_view(encoded));
  }
  return out;
}

std::optional<std::map<ParticipantIndex, PairState>> decode_states(
    ByteView encoded, std::span<const ParticipantIndex> wanted) {
  const auto entries = entries_of(encoded);
  if (!entries) {
    return std::nullopt;
  }
  std::map<ParticipantIndex, PairState> out;
  for (const Entry& entry : *entries) {
    if (!entry.state.empty() && std::ranges::binary_search(wanted, entry.peer)) {
      out.emplace(entry.peer, decode_state(entry.state));
    }
  }
  return out;
}

std::optional<SecretVector> erase_pair(ByteView key_secret, ParticipantIndex peer) {
  return rewrite(key_secret, peer, {});
}

std::optional<SecretVector> replace_pair(ByteView key_secret, ParticipantIndex peer,
                                         PairState state) {
  const SecretVector encoded = encode_state(state);
  return rewrite(key_secret, peer, as_view(encoded));
}

std::optional<SecretVector> adopt_pair(ByteView current, ByteView renewed, ParticipantIndex peer) {
  const auto own = KeyShare<Secp256k1Group>::decode(current);
  const auto share = KeyShare<Secp256k1Group>::decode(renewed);
  const auto entries =
      own && share && own->index == share->index ? entries_of(as_view(share->state)) : std::nullopt;
  if (!entries) {
    return std::nullopt;
  }
  const auto found = std::ranges::find(*entries, peer, &Entry::peer);
  if (found == entries->end() || found->state.empty()) {
    return std::nullopt;
  }
  return rewrite(current, peer, found->state);
}

std::vector<std::pair<ParticipantIndex, Digest>> pair_ids(ByteView key_secret) {
  std::vector<std::pair<ParticipantIndex, Digest>> out;
  const auto share = KeyShare<Secp256k1Group>::decode(key_secret);
  const auto entries = share ? entries_of(as_view(share->state)) : std::nullopt;
  for (const Entry& entry : entries.value_or(std::vector<Entry>())) {
    if (!entry.state.empty()) {
      out.emplace_back(entry.peer, Reader(entry.state).take<Digest>());  // the id comes first
    }
  }
  return out;
}

Digest direction_sid(const Digest& sid, ParticipantIndex sender, ParticipantIndex receiver) {
  return TaggedHash(tag::kPair).part(sid).part_u16(sender).part_u16(receiver).finish();
}

Digest pair_id(const Digest& sid, ParticipantIndex a, ParticipantIndex b) {
  return TaggedHash(tag::kPair)
      .part(sid)
      .part("id")
      .part_u16(std::min(a, b))
      .part_u16(std::max(a, b))
      .finish();
}

}  // namespace cosigner::dkls23
