#pragma once
// The engine's inside: routes what comes in to sessions and commits, and sees to it that every Work
// gets exactly one Answer.

#include <algorithm>
#include <exception>
#include <map>
#include <memory>
#include <new>
#include <set>
#include <typeinfo>
#include <unordered_map>

#include "worker/crash/activity.h"
#include "worker/session/commit.h"
#include "worker/session/early_hellos.h"
#include "worker/session/engine.h"
#include "worker/session/environment.h"
#include "worker/session/key_check.h"
#include "worker/session/key_ring.h"
#include "worker/session/pairs.h"
#include "worker/session/peers.h"
#include "worker/session/presigner.h"
#include "worker/session/protocol_factory.h"
#include "worker/session/results.h"
#include "worker/session/session.h"
#include "worker/user/throw_trace.h"

namespace cosigner::worker {

class SessionEngine::Impl {
 public:
  Impl(ipc::WorkerStart start, WorkerKeys keys, Random& random, CheckNotices& checks, Now now,
       ProtocolFactory* protocols);

  // requests.cc
  void on_work(const ipc::Work& work);
  /// The caller has answered it: whatever still comes of it here is dropped.
  void disown(std::uint64_t work) { count(work, {nullptr, error_name(ErrorCode::kHandlerFailed)}); }
  void on_result_found(const ipc::ResultFound& found);
  void drain(std::int64_t deadline_us);

  // routing.cc
  void on_packet(const std::string& from, ByteView payload);
  void on_no_responders(std::string_view node, std::uint64_t packet);
  void on_presence(std::string_view node, bool present);

  // engine.cc
  void on_stored(const ipc::Stored& stored);
  void on_renewed(const ipc::Renewed& renewed);
  void on_renew_pair(const ipc::RenewPair& order) { pairs_.on_order(order); }
  [[nodiscard]] ipc::KeyFault fault_of(const ipc::StoredKey& stored) const {
    return find_key_fault(stored, {environment_.cluster, environment_.node, environment_.user,
                                   peers_.all(), keys_.sealing_key()});
  }
  void on_reconfigured(ipc::Reconfigured change);
  void on_timer();
  [[nodiscard]] std::optional<std::int64_t> next_deadline() const;
  [[nodiscard]] std::vector<Effect> take_effects();
  [[nodiscard]] bool idle() const;
  [[nodiscard]] bool muted() const { return pairs_.muted(); }
  void forget_old() {
    results_.forget_old(environment_.now.monotonic_us);
    results_.forget_expired(environment_.wall_ms());
  }

  // settling.cc
  /// At the end of every input: renewals that peers have agreed to.
  void begin_renewals();

  void at(Now now) { environment_.now = now; }
  Environment& environment() { return environment_; }
  [[nodiscard]] const Environment& environment() const { return environment_; }
  [[nodiscard]] const Presigner& presigner() const { return presigner_; }
  [[nodiscard]] std::uint32_t in_flight() const {
    return static_cast<std::uint32_t>(taken_us_.size());
  }
  [[nodiscard]] std::uint32_t sessions() const {
    return static_cast<std::uint32_t>(running_.size() + lookups_.size() + commits_.orders() +
                                      pairs_.orders() + presigner_.orders() + presigner_.runs());
  }

 private:
  static constexpr std::size_t kMaxWaiters = 4096;  ///< requests joined to one session
  static constexpr std::int64_t kLookupUs = 5'000'000;

  struct Running {
    Session session;
    std::vector<std::uint64_t> waiters;
    std::int64_t scheduled_us = 0;
  };
  /// A request whose stored result is being looked up.
  struct Lookup {
    ParsedRequest parsed;
    ByteVector envelope;
    std::vector<std::uint64_t> waiters;
    std::int64_t until_us = 0;
  };

  /// A request for presignatures; its making is the presigner's.
  struct PresignOrder {
    Request request;
    std::vector<std::uint64_t> waiters;
  };

  // requests.cc
  /// What the metrics say of a request. `request`: nothing where it could not be read.
  struct Answered {
    const Request* request = nullptr;
    std::string_view outcome;  ///< "ok" or an error's name
  };
  /// Does nothing for one that is answered or disowned.
  void answer(std::uint64_t work, const Answered& how, const SessionId& session,
              std::string_view key, std::uint64_t epoch, ByteVector bytes);
  /// The end of a request; false if it has ended before.
  bool count(std::uint64_t work, const Answered& how);
  void answer_error(std::uint64_t work, const ParsedRequest& parsed, Error error);
  [[nodiscard]] bool serve_stored(std::uint64_t work, const ParsedRequest& parsed);
  /// The waiters of a request that is being served, if it is.
  [[nodiscard]] std::vector<std::uint64_t>* waiters_of(const SessionId& session);
  void admit(std::vector<std::uint64_t> waiters, ParsedRequest parsed, ByteVector envelope);
  [[nodiscard]] Expected<void> admissible(const ParsedRequest& parsed) const;
  void take_early_hellos(const SessionId& id);
  void expire_lookups();

  // settling.cc
  /// Runs `body` on the session, then settles what came of it. An exception fails this session
  /// alone; only a refused allocation goes on to the caller.
  template <class Body>
  void touch(const SessionId& id, Body&& body);
  void settle(const SessionId& id);
  void finish(const Request& request, const SessionId& id, SessionOutcome outcome,
              const std::vector<std::uint64_t>& waiters);
  /// True if the session was one of a renewal.
  bool finish_renewal(Session& session);
  void finish_orders();
  /// Runs `body` on the presigner; what it throws fails nothing else. False: it threw.
  template <class Body>
  bool presign(Body&& body);
  void begin_commit(Session& session, const KeyOutcome& outcome);
  void run_commit_events();
  void cut_burnt();
  [[nodiscard]] Session::Parts parts() {
    return {environment_, peers_,  keys_,        commits_,  pairs_,
            protocols_,   checks_, signing_key_, presigner_};
  }
  void schedule(const SessionId& id, Running& running);
  template <class Body>
  void touch_all(Body&& body);

  // engine.cc
  void renew_if_due();

  // routing.cc
  void on_hello(const std::string& from, SignedHello hello);
  void on_greeting(const std::string& from, const Greeting& greeting);
  void on_sealed(const std::string& from, const SealedPacket& packet);
  void on_message(const std::string& from, ByteView message);
  void on_start(const std::string& from, ByteView fields);
  [[nodiscard]] Peers::Learnt learn(const std::string& node, ByteView certificate);
  [[nodiscard]] Running* find(const SessionId& id);
  template <class Message, class Body>
  void route(const std::string& from, ByteView fields, Body&& body);

  Environment environment_;
  Ed25519SecretKey signing_key_;
  Certificate own_certificate_;
  InitiatorTable initiators_;
  ProtocolFactory default_protocols_;
  ProtocolFactory& protocols_;
  CheckNotices& checks_;
  Peers peers_;
  KeyRing keys_;
  Commits commits_;
  Pairs pairs_;
  std::vector<Effect> held_;  ///< until a burn is durable
  Presigner presigner_;
  Results results_;
  EarlyHellos early_;
  std::unordered_map<SessionId, std::unique_ptr<Running>, BytesHash> running_;
  std::unordered_map<SessionId, PresignOrder, BytesHash> presign_orders_;
  std::set<std::pair<std::int64_t, SessionId>> timers_;
  std::map<std::uint64_t, Lookup> lookups_;                      ///< by order: oldest first
  std::map<std::string, std::int64_t, std::less<>> greeted_us_;  ///< by whom, when
  std::unordered_map<std::uint64_t, std::int64_t> taken_us_;  ///< unanswered requests, since when
  bool draining_ = false;
  std::int64_t drain_deadline_us_ = INT64_MAX;
  std::int64_t renew_us_ = 0;
  std::int64_t renew_asked_us_ = INT64_MIN / 2;
};

template <class Body>
void SessionEngine::Impl::touch(const SessionId& id, Body&& body) {
  Running* running = find(id);
  if (running == nullptr) {
    return;
  }
  current_activity.touch_session(id);
  try {
    body(running->session);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    // What it may have left half-changed is the session's own, and goes with it.
    ++environment_.counters.exceptions;
    environment_.log(LogLevel::kError,
                     std::string("exception in a session: ") + typeid(error).name() + ": " +
                         error.what() + "\n" + last_throw_trace(),
                     &id);
    running->session.fail(ErrorCode::kHandlerFailed, "an exception ended this session");
  }
  settle(id);
  cut_burnt();  // before another message of that peer is looked at
}

template <class Body>
bool SessionEngine::Impl::presign(Body&& body) {
  bool done = false;
  try {
    body(presigner_);
    done = true;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    ++environment_.counters.exceptions;
    environment_.log(LogLevel::kError, std::string("exception in presigning: ") + error.what());
  }
  cut_burnt();
  return done;
}

template <class Body>
void SessionEngine::Impl::touch_all(Body&& body) {
  std::vector<SessionId> ids;
  ids.reserve(running_.size());
  for (const auto& [id, running] : running_) {
    ids.push_back(id);
  }
  std::ranges::sort(ids);  // the same order in every run of a seed
  for (const SessionId& id : ids) {
    touch(id, body);
  }
}

}  // namespace cosigner::worker
