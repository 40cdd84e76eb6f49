#pragma once
// What this worker knows about finished and claimed requests, so that the same request again is
// served and the same id with other bytes is refused, without asking the store each time.
//
// The index holds everything this worker has finished, up to a bound; of what has left it a filter
// (forgotten_ids.h) knows the ids until the store forgets them. A request may have been served by
// an earlier worker only if it was issued before this one started (clients' clocks may run 60 s
// ahead, ipc/request.h). Only these two kinds need a lookup in the store.

#include <cstdint>
#include <deque>
#include <memory_resource>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "crypto/base/bytes.h"
#include "ipc/error.h"
#include "ipc/request.h"
#include "worker/session/forgotten_ids.h"
#include "worker/session/page_memory.h"

namespace cosigner::worker {

class Results {
 public:
  static constexpr std::size_t kMaxResults = 2048;
  static constexpr std::size_t kMaxResultBytes = 1U << 20;
  static constexpr std::size_t kMaxFailures = 512;
  /// The store keeps a success this long after its request's expiry.
  static constexpr std::uint64_t kKeepResultMs = 24ULL * 3600 * 1000;

  /// `started_wall_ms`: when this worker started; nothing if no worker before it can have finished
  /// a request.
  explicit Results(std::optional<std::uint64_t> started_wall_ms,
                   std::pmr::memory_resource& pages = page_memory())
      : pages_(pages),
        floor_ms_(started_wall_ms ? *started_wall_ms + kMaxClockSkewMs : 0),
        forgotten_(pages) {}

  /// The session this (initiator, id) belongs to, if it is known.
  [[nodiscard]] const SessionId* owner(const Request& request) const;
  /// From now on this (initiator, id) belongs to `session`.
  void claim(const Request& request, const SessionId& session);

  /// A success, as encode_answer() made it.
  void remember(const Request& request, const SessionId& session, ByteView answer,
                std::uint64_t epoch);
  struct Stored {
    std::pmr::vector<std::uint8_t> answer;
    std::uint64_t epoch = 0;
    std::pmr::string key;
  };
  [[nodiscard]] const Stored* find(const SessionId& session) const;
  /// Could the store know more about this request than the index does?
  [[nodiscard]] bool needs_lookup(const Request& request) const {
    return request.issued_at_ms <= floor_ms_ || forgotten_.may_hold(request.initiator, request.id);
  }

  /// At each tick, and when the worker comes to rest: forgets what has been here for so long that
  /// no session can ask for it any more; the store knows the successes. A worker that made 2,048
  /// signatures would hold 1.6 MiB for ever otherwise.
  void forget_old(std::int64_t now_us);
  /// At each tick: ids of requests that the store has forgotten.
  void forget_expired(std::uint64_t wall_ms) { forgotten_.forget_expired(wall_ms); }
  /// A session that finished is asked for by late hellos and by impatient clients, who both give up
  /// within the 15 s of a signature's deadline.
  static constexpr std::int64_t kKeepFinishedUs = 30'000'000;
  /// One that failed, or runs still: longer than any session lasts.
  static constexpr std::int64_t kKeepClaimsUs = 180'000'000;
  [[nodiscard]] bool empty() const { return !index_ && failures_.empty(); }

  /// Failures are not stored; this only lets a late hello be answered with the reason.
  void remember_failure(const SessionId& session, Error error);
  void forget_failure(const SessionId& session) { failures_.erase(session); }
  [[nodiscard]] const Error* failure(const SessionId& session) const;

 private:
  struct Claim {
    Ed25519PublicKey initiator;
    RequestId id;
    friend bool operator==(const Claim&, const Claim&) = default;
  };
  struct ClaimHash {
    std::size_t operator()(const Claim& claim) const {
      return BytesHash{}(claim.id) ^ BytesHash {}(claim.initiator);
    }
  };
  struct Kept {
    Claim claim;
    SessionId session;
    std::uint64_t expires_at_ms = 0;
  };
  /// What had been claimed and had failed, counted from the beginning, at some tick.
  struct Mark {
    std::int64_t at_us = 0;
    std::uint64_t claims = 0;
    std::uint64_t failures = 0;
  };
  /// Successes and claims, in pages of their own: 800 bytes each, which outlive the session that
  /// made them. In the heap they would lie between what sessions need for a moment, and hold its
  /// pages when all else is gone (measured: 120 pages after 3,000 signatures). Large chunks: what
  /// is not used of them is not resident, and each ends with a page of its own.
  struct Index {
    explicit Index(std::pmr::memory_resource& pages)
        : blocks({.max_blocks_per_chunk = 512, .largest_required_pool_block = 1024}, &pages) {}
    std::pmr::unsynchronized_pool_resource blocks;
    std::pmr::unordered_map<Claim, SessionId, ClaimHash> claims{&blocks};
    std::pmr::deque<Kept> order{&blocks};  ///< claims, oldest first
    std::pmr::unordered_map<SessionId, Stored, BytesHash> results{&blocks};
  };

  void trim(Index& index);
  void drop_oldest(Index& index);
  void forget_old_claims(const Mark& finished, const Mark& any);
  void drop_oldest_failure();
  [[nodiscard]] Mark mark_before(std::int64_t at_us) const;

  std::pmr::memory_resource& pages_;
  std::uint64_t floor_ms_;  ///< what was issued later was not served by an earlier worker
  ForgottenIds forgotten_;  ///< of successes that this worker's index has dropped
  std::size_t bytes_ = 0;
  std::optional<Index> index_;  ///< none while nothing is known: an emptied table keeps its buckets
  std::unordered_map<SessionId, Error, BytesHash> failures_;
  std::deque<SessionId> failure_order_;
  std::uint64_t claims_made_ = 0;
  std::uint64_t failures_made_ = 0;
  std::deque<Mark> marks_;  ///< of the ticks of the last kKeepClaimsUs, and the one before
};

}  // namespace cosigner::worker
