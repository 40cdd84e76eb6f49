#include "worker/session/peers.h"

#include <algorithm>

namespace cosigner::worker {

namespace {

std::uint64_t seed_of(Random& random) {
  const auto bytes = random.bytes<Bytes<8>>();
  std::uint64_t seed = 0;
  std::memcpy(&seed, bytes.data.data(), sizeof seed);
  return seed;
}

}  // namespace

Peers::Peers(Environment& environment, const ipc::WorkerStart& start,
             const X25519SecretKey& channel_key, Certificate own)
    : environment_(environment),
      own_certificate_(start.certificate),
      maker_(channel_key, own),
      jitter_(seed_of(environment.random)),
      list_(start.peers) {
  for (const ipc::Peer& peer : start.peers) {
    peers_[peer.node].identity = peer.identity;
  }
  for (const std::string& node : start.present) {
    set_present(node, true);
  }
  set_present(environment.node, true);
}

const Peers::Peer* Peers::find(std::string_view node) const {
  const auto found = peers_.find(node);
  return found == peers_.end() ? nullptr : &found->second;
}
Peers::Peer* Peers::find(std::string_view node) {
  const auto found = peers_.find(node);
  return found == peers_.end() ? nullptr : &found->second;
}

bool Peers::known(std::string_view node) const {
  const Peer* peer = find(node);
  return peer != nullptr && peer->listed;
}

std::vector<std::string> Peers::set_list(std::vector<ipc::Peer> list) {
  std::vector<std::string> gone;
  for (auto& [node, peer] : peers_) {
    const auto found = std::ranges::find(list, node, &ipc::Peer::node);
    const bool same = found != list.end() && found->identity == peer.identity;
    if (peer.listed && !same && node != environment_.node) {
      gone.push_back(node);
    }
    if (found == list.end()) {
      peer.listed = peer.present = false;  // the link stays, and its counters: it may come back
    } else if (!same) {
      peer = replaced(std::move(peer), found->identity);
    } else {
      peer.listed = true;
    }
  }
  for (const ipc::Peer& peer : list) {
    peers_.try_emplace(peer.node).first->second.identity = peer.identity;
  }
  list_ = std::move(list);
  return gone;
}

Peers::Peer Peers::replaced(Peer old, const Ed25519PublicKey& identity) {
  Peer next;
  next.identity = identity;
  next.dropped = std::move(old.dropped);
  if (old.certificate) {
    next.dropped.emplace_back(old.identity, old.certificate->generation);
  }
  return next;
}

const Ed25519PublicKey* Peers::identity(std::string_view node) const {
  const Peer* peer = find(node);
  return peer == nullptr ? nullptr : &peer->identity;
}

bool Peers::present(std::string_view node) const {
  const Peer* peer = find(node);
  return peer != nullptr && (peer->present || node == environment_.node);
}
void Peers::set_present(std::string_view node, bool present) {
  if (Peer* peer = find(node)) {
    peer->present = present && peer->listed;
  }
}

bool Peers::suspect(std::string_view node) const {
  const Peer* peer = find(node);
  return peer != nullptr && peer->suspect_until_us > environment_.now_us();
}
void Peers::set_suspect(std::string_view node) {
  if (Peer* peer = find(node)) {
    peer->suspect_until_us = environment_.now_us() + kSuspectUs;
  }
}
void Peers::clear_suspect(std::string_view node) {
  if (Peer* peer = find(node)) {
    peer->suspect_until_us = 0;
  }
}
bool Peers::distrusted(std::string_view node) const {
  const Peer* peer = find(node);
  return peer != nullptr && peer->distrust_until_us > environment_.now_us();
}
void Peers::set_distrusted(std::string_view node) {
  if (Peer* peer = find(node)) {
    peer->distrust_until_us = environment_.now_us() + kDistrustUs;
  }
}

bool Peers::in_time(const Certificate& certificate) const {
  const std::uint64_t now = environment_.wall_ms() / 1000;
  return now <= certificate.not_after + kCertificateSkewSeconds;
}

const Certificate* Peers::certificate(std::string_view node) const {
  const Peer* peer = find(node);
  if (peer == nullptr || !peer->certificate || !in_time(*peer->certificate)) {
    return nullptr;
  }
  return &*peer->certificate;
}

Peers::Learnt Peers::learn(std::string_view node, ByteView bytes) {
  Peer* peer = find(node);
  if (peer == nullptr || !peer->listed || node == environment_.node) {
    ++environment_.counters.certificates_refused;
    return Learnt::kRefused;
  }
  if (peer->certificate && std::ranges::equal(peer->certificate_bytes, bytes)) {
    return in_time(*peer->certificate) ? Learnt::kSame : Learnt::kRefused;
  }
  ++environment_.counters.certificate_verifications;
  Checked<Certificate> opened = open_certificate(bytes,
                                                 ExpectedHolder{.cluster = environment_.cluster,
                                                                .node = node,
                                                                .role = CertificateRole::kWorker,
                                                                .user = environment_.user},
                                                 peer->identity, environment_.wall_ms() / 1000);
  if (!opened) {
    ++environment_.counters.certificates_refused;
    return Learnt::kRefused;
  }
  for (const auto& [identity, generation] : peer->dropped) {
    if (identity == peer->identity && opened->generation <= generation) {
      ++environment_.counters.certificates_refused;
      return Learnt::kRefused;
    }
  }
  if (peer->certificate) {
    const Certificate& before = *peer->certificate;
    if (opened->generation < before.generation) {
      return Learnt::kStale;
    }
    if (opened->generation == before.generation) {
      if (opened->x25519 != before.x25519 || opened->ed25519 != before.ed25519) {
        // One generation never has two sets of keys: its supervisor certified a forgery.
        ++environment_.counters.equivocations;
        if (std::exchange(peer->equivocal_generation, before.generation) != before.generation) {
          environment_.log(LogLevel::kError, std::string(node) +
                                                 " certified two workers with one generation; the "
                                                 "second certificate is refused");
        }
        return Learnt::kEquivocal;
      }
      if (opened->not_after > before.not_after) {
        peer->certificate_bytes = to_vector(bytes);
        peer->certificate = *std::move(opened);
      }
      return Learnt::kSame;
    }
  }
  Checked<Channel> channel = maker_.connect(*opened);
  if (!channel) {
    ++environment_.counters.certificates_refused;
    return Learnt::kRefused;
  }
  peer->link =
      std::make_unique<Link>(*std::move(channel), environment_.settings, environment_.generation);
  peer->certificate_bytes = to_vector(bytes);
  peer->certificate = *std::move(opened);
  peer->suspect_until_us = 0;
  return Learnt::kNewer;
}

bool Peers::queue(std::string_view node, ByteVector message, bool reliable) {
  Peer* peer = find(node);
  if (peer == nullptr || !peer->listed || peer->link == nullptr) {
    return false;
  }
  if (!peer->link->queue(std::move(message), reliable)) {
    ++environment_.counters.queue_full;
    return false;
  }
  return true;
}

void Peers::greet(std::string_view node, bool answer_wanted) {
  Peer* peer = find(node);
  if (peer == nullptr || node == environment_.node ||
      environment_.now_us() < peer->greeted_us + kGreetingUs) {
    return;
  }
  peer->greeted_us = environment_.now_us();
  publish(node, encode_greeting(answer_wanted, own_certificate_));
}

std::uint64_t Peers::publish(std::string_view node, ByteVector packet) {
  const std::uint64_t number = ++environment_.last_packet;
  environment_.effects.emplace_back(
      Publish{.node = std::string(node), .packet = number, .payload = std::move(packet)});
  return number;
}

Link* Peers::link(std::string_view node) {
  Peer* peer = find(node);
  if (peer == nullptr) {
    return nullptr;
  }
  return peer->link.get();
}

void Peers::set_own_certificate(ByteVector certificate) {
  own_certificate_ = std::move(certificate);
  for (auto& [node, peer] : peers_) {
    if (peer.link) {
      peer.link->certificate_changed();
    }
  }
}

void Peers::flush() {
  std::vector<ByteVector> packets;
  for (auto& [node, peer] : peers_) {
    if (!peer.link) {
      continue;
    }
    peer.link->flush(environment_.now_us(), own_certificate_, jitter_, packets);
    for (ByteVector& packet : packets) {
      publish(node, std::move(packet));
    }
    packets.clear();
  }
}

std::vector<std::string> Peers::on_timer() {
  std::vector<std::string> undelivered;
  std::vector<ByteVector> packets;
  for (auto& [node, peer] : peers_) {
    if (!peer.link) {
      continue;
    }
    if (peer.link->on_timer(environment_.now_us(), jitter_, environment_.counters, packets) > 0) {
      undelivered.push_back(node);
    }
    for (ByteVector& packet : packets) {
      publish(node, std::move(packet));
    }
    packets.clear();
  }
  return undelivered;
}

std::optional<std::int64_t> Peers::next_deadline() const {
  std::optional<std::int64_t> next;
  for (const auto& [node, peer] : peers_) {
    const std::optional<std::int64_t> due = peer.link ? peer.link->next_deadline() : std::nullopt;
    if (due && (!next || *due < *next)) {
      next = due;
    }
  }
  return next;
}

bool Peers::quiet() const {
  return std::ranges::all_of(peers_, [](const auto& entry) {
    const Peer& peer = entry.second;
    return !peer.present || !peer.link || peer.link->quiet();
  });
}

}  // namespace cosigner::worker
