#pragma once
// The session engine of one user's worker: a pure state machine. Everything that happens comes in
// through a method, everything it wants done goes out as an Effect; it has no socket, clock, file,
// randomness or log of its own. A cluster of engines therefore runs in one process under a seeded
// scheduler (tests/unit/simulation).

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "crypto/base/random.h"
#include "crypto/base/secret.h"
#include "ipc/child_messages.h"
#include "ipc/metrics_messages.h"
#include "ipc/pair_messages.h"
#include "ipc/store_messages.h"
#include "ipc/worker_messages.h"
#include "worker/session/counters.h"

namespace cosigner::worker {

/// Both clocks, read once per turn of the loop by whoever calls.
struct Now {
  std::int64_t monotonic_us = 0;
  std::int64_t wall_ms = 0;  ///< since 1970
};

/// The private halves of the keys in WorkerHello, made after the fork; they never leave the
/// process.
struct WorkerKeys {
  SecretBytes<32> channel;  ///< X25519
  SecretBytes<64> signing;  ///< Ed25519 (libsodium's 64-byte form)
};

/// Publish `payload` to the same user's worker on `node`. A 503 comes back as
/// on_no_responders(node, packet).
struct Publish {
  std::string node;
  std::uint64_t packet = 0;
  ByteVector payload;
};

/// What the engine wants done, in order. All but Publish are frames for the supervisor.
using Effect =
    std::variant<Publish, ipc::Answer, ipc::StorePending, ipc::StoreActivate, ipc::StoreDiscard,
                 ipc::StoreRefusal, ipc::StoreResult, ipc::ResultLookup, ipc::Burn,
                 ipc::StoreRenewed, ipc::LiftBan, ipc::Wake, ipc::RenewAsk, ipc::PresignatureStock,
                 ipc::PresignatureUsed, ipc::Log>;

class ProtocolFactory;  // protocol_factory.h
class CheckNotices;     // check_notices.h

class SessionEngine {
 public:
  /// `start` brings identity, certificate, peers, initiators, keys and settings. `protocols` is for
  /// tests that inject faults; all references must outlive the engine. Throws
  /// std::invalid_argument if the supervisor's `start` contradicts itself (own certificate
  /// unreadable or another worker's, this node not among the peers, sealing key not 32 bytes).
  SessionEngine(ipc::WorkerStart start, WorkerKeys keys, Random& random, CheckNotices& checks,
                Now now, ProtocolFactory* protocols = nullptr);
  ~SessionEngine();
  SessionEngine(const SessionEngine&) = delete;
  SessionEngine& operator=(const SessionEngine&) = delete;

  void on_work(Now now, const ipc::Work& work);
  /// `from` is what the subject says; the payload must prove it (certificate, signature or seal).
  void on_packet(Now now, std::string_view from, ByteView payload);
  void on_no_responders(Now now, std::string_view node, std::uint64_t packet);
  /// The broker's connection did not take a Publish. No more than a lost packet: it is counted, and
  /// sent again in its time.
  void on_publish_refused();
  void on_presence(Now now, std::string_view node, bool present);
  void on_stored(Now now, const ipc::Stored& stored);
  void on_result_found(Now now, const ipc::ResultFound& found);
  void on_renewed(Now now, const ipc::Renewed& renewed);
  void on_renew_pair(Now now, const ipc::RenewPair& order);
  /// Opens and checks what the store holds; changes nothing here.
  [[nodiscard]] ipc::KeyVerified verify(const ipc::VerifyKey& ask) const;
  /// New peers, initiators and settings. Sessions that run go on under the timings they began with;
  /// a peer that is gone counts as absent, and nothing it sends is taken any more.
  void on_reconfigured(Now now, ipc::Reconfigured change);
  void on_tick(Now now);
  /// Call when next_deadline() has passed (calling early does no harm).
  void on_timer(Now now);
  /// Take no new requests (they get shutting_down); running sessions go on until done or
  /// `deadline_us` (monotonic).
  void drain(Now now, std::int64_t deadline_us);

  /// Monotonic microseconds of the next on_timer(), if any.
  [[nodiscard]] std::optional<std::int64_t> next_deadline() const;
  /// Everything wanted since the last call, in order. Seals what is queued for peers: messages to
  /// one peer that arose since the last call travel in one packet, so a caller with several inputs
  /// at hand feeds all of them first. While a burn is not durable, only orders and logs come out:
  /// nothing that a peer, a client or whoever reads the node's metrics could see.
  [[nodiscard]] std::vector<Effect> take_effects();

  /// Requests not answered yet (with a client waiting here).
  [[nodiscard]] std::uint32_t in_flight() const;
  /// Sessions running, including those a peer's hello woke, and stores not yet confirmed.
  [[nodiscard]] std::uint32_t sessions() const;
  /// Nothing in flight, nothing running, nothing waiting for an acknowledgement: the worker may be
  /// evicted.
  [[nodiscard]] bool idle() const;
  /// Presignatures of a key: those this node may name, and all that are held.
  struct Presignatures {
    std::size_t ready = 0;
    std::size_t held = 0;
  };
  [[nodiscard]] Presignatures presignatures(std::string_view key) const;
  /// For the node's metrics, since the last call; nothing if there is nothing to say, or nothing
  /// may be said: while a burn is not durable, the counts of misbehaviours and answers would tell
  /// of it.
  [[nodiscard]] std::optional<ipc::WorkerMetrics> take_metrics();
  /// Whether take_metrics() has something to say.
  [[nodiscard]] bool counted() const;
  /// What was dropped, refused, repeated and spent so far.
  [[nodiscard]] const Counters& counters() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cosigner::worker
