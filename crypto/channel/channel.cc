#include "crypto/channel/channel.h"

#include <stdexcept>

#include "crypto/base/hash.h"
#include "crypto/base/wire.h"

namespace cosigner {
namespace {

// What of a certificate does not change when it is renewed.
void add_end(TaggedHash& hash, const Certificate& end) {
  hash.part(end.node).part_u64(end.generation).part(end.x25519.view()).part(end.ed25519.view());
}

Digest direction(tag::Tag purpose, const Certificate& from, const Certificate& to) {
  TaggedHash hash(purpose);
  hash.part(from.cluster).part(from.user);
  add_end(hash, from);
  add_end(hash, to);
  return hash.finish();
}

AeadKey direction_key(const SecretBytes<32>& shared, const Certificate& from,
                      const Certificate& to) {
  AeadKey out;
  hkdf_sha256(shared.expose(), {}, direction(tag::kChannel, from, to), out.expose_mutable());
  return out;
}

AeadNonce counter_nonce(std::uint64_t sequence) {
  return AeadNonce::from(Writer().u32(0).u64(sequence).view()).value_or(AeadNonce{});
}

ByteVector associated_data(const Digest& prefix, std::uint64_t sequence, ByteView associated) {
  return Writer().fixed(prefix).u64(sequence).bytes(associated).take();
}

}  // namespace

Channel::Sealed Channel::seal(ByteView associated, ByteView plain) {
  if (next_ >= kMaxSequence) {
    throw std::length_error("a channel's sequence numbers are used up");
  }
  Sealed out;
  out.sequence = next_++;
  out.bytes = aead_seal(send_key_, counter_nonce(out.sequence),
                        associated_data(send_prefix_, out.sequence, associated), plain);
  return out;
}

std::optional<SecretVector> Channel::open(std::uint64_t sequence, ByteView associated,
                                          ByteView sealed) const {
  if (sequence >= kMaxSequence) {
    return std::nullopt;
  }
  return aead_open(receive_key_, counter_nonce(sequence),
                   associated_data(receive_prefix_, sequence, associated), sealed);
}

ChannelMaker::ChannelMaker(const X25519SecretKey& secret, const Certificate& own)
    : secret_(secret.duplicate()), own_(own) {}

Checked<Channel> ChannelMaker::connect(const Certificate& peer) {
  if (peer.role != CertificateRole::kWorker || peer.cluster != own_.cluster ||
      peer.user != own_.user) {
    return wrong("a channel joins two workers of one user");
  }
  if (peer.node == own_.node) {
    return wrong("a channel to this node itself");
  }
  const auto last = last_generation_.find(peer.node);
  if (last != last_generation_.end() && peer.generation <= last->second) {
    return wrong("there was a channel to this generation or a later one already");
  }
  const auto shared = x25519(secret_, peer.x25519);
  if (!shared) {
    return wrong("the peer's channel key is of small order");
  }
  last_generation_.insert_or_assign(peer.node, peer.generation);
  Channel out;
  out.send_key_ = direction_key(*shared, own_, peer);
  out.receive_key_ = direction_key(*shared, peer, own_);
  out.send_prefix_ = direction(tag::kChannelAad, own_, peer);
  out.receive_prefix_ = direction(tag::kChannelAad, peer, own_);
  out.peer_node_ = peer.node;
  out.peer_generation_ = peer.generation;
  return out;
}

}  // namespace cosigner
