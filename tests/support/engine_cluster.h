#pragma once
// A whole cluster in one process: n session engines of one user, a simulated supervisor with a
// durable store beside each, a broker between them, and virtual time. Everything random comes from
// one seed, so a failing run can be had again.
//
// What a worker's crash leaves behind is what the store of its node holds at that moment; the next
// worker has a later generation. Every Work must be answered exactly once: by the engine, or by the
// supervisor when the worker dies.

#include <concepts>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <string>
#include <tuple>
#include <vector>

#include "crypto/identity/certificate.h"
#include "crypto/identity/ed25519_key.h"
#include "ipc/answer.h"
#include "ipc/key_record.h"
#include "ipc/request.h"
#include "tests/support/durations.h"
#include "tests/support/seeded_random.h"
#include "tests/support/simulated_store.h"
#include "worker/session/check_notices.h"
#include "worker/session/counters.h"
#include "worker/session/engine.h"
#include "worker/session/protocol_factory.h"
#include "worker/session/rendezvous.h"

namespace cosigner::test {

struct NetworkFaults {
  std::int64_t delay_low_us = 100;
  std::int64_t delay_high_us = 400;
  double drop = 0;
  double duplicate = 0;
  double late = 0;  ///< delivered up to 300 ms later than the rest
};

class EngineCluster {
 public:
  static constexpr std::int64_t kWallStartMs = 1'800'000'000'000;

  struct Work {
    std::string node;
    bool woken = false;
    std::uint64_t generation = 0;  ///< of the worker that has it; 0: none yet
    std::vector<RequestAnswer> answers;
    std::int64_t asked_us = 0;
    std::int64_t answered_us = 0;
  };
  /// Thrown by Node::on_checking to let the worker die in the middle of a check.
  struct Died {};
  struct Node : worker::CheckNotices {
    Node(std::string node_name, IdentityKey key)
        : name(std::move(node_name)), identity(std::move(key)) {}
    void checking(const std::string& key, std::uint64_t epoch, const std::string& peer) override;
    void checked(const std::string& key, std::uint64_t epoch, const std::string& peer) override;
    void close_checks(const ipc::Burn& burn);
    std::vector<ipc::Checking> open_checks;  ///< what its supervisor knows
    std::vector<ipc::Burn> burning;          ///< ordered and not durable yet
    std::uint64_t checks = 0;
    std::function<void(const ipc::Checking&)> on_checking;
    std::string name;
    IdentityKey identity;
    std::unique_ptr<SimulatedStore> store;
    std::unique_ptr<Random> random;
    std::unique_ptr<worker::SessionEngine> engine;
    std::unique_ptr<worker::ProtocolFactory> protocols;  ///< null: the real ones
    std::uint64_t generation = 0;                        ///< of the running worker; 0: none
    std::uint64_t starting = 0;
    bool gateway_present = true;
    bool stopped = false;                        ///< SIGSTOP: what is for it waits
    bool cut = false;                            ///< no packet gets in or out, no 503 either
    std::vector<std::function<void()>> waiting;  ///< while stopped
    std::vector<std::uint64_t> queued;           ///< works for the next worker
    std::int64_t armed_us = -1;
    std::int64_t stopped_us = 0;
    Certificate certificate;  ///< of the running worker
    Ed25519SecretKey signing_secret;
    X25519SecretKey channel_secret;  ///< of the running worker, for tests that play it
  };

  EngineCluster(std::uint64_t seed, std::size_t size, NetworkFaults network = {});

  // ---- time (engine_cluster.cc)

  [[nodiscard]] std::int64_t now() const { return now_; }
  [[nodiscard]] worker::Now clock() const { return {now_, kWallStartMs + now_ / kMs}; }
  void after(std::int64_t delay_us, std::function<void()> action);
  /// Runs events until `done` holds or the time is over; says whether it holds.
  bool run(std::int64_t limit_us, const std::function<bool()>& done = [] { return false; });

  // ---- processes (engine_cluster.cc)

  Node& node(const std::string& name);
  Node& node(std::size_t index) { return *nodes_.at(index); }
  [[nodiscard]] std::size_t size() const { return nodes_.size(); }
  [[nodiscard]] const worker::Counters& counters(std::size_t index) const;

  void start_worker(Node& target);

  /// The worker dies; its supervisor answers for it.
  void kill(Node& target);
  void stop(Node& target);
  void resume(Node& target);
  /// An operator's order, durable and told to the worker (which is started if there is none).
  void order_renewal(Node& target, const std::string& key, const std::string& peer);
  /// The gateway's presence as all other nodes see it.
  void set_present(Node& target, bool present);

  // ---- clients (engine_cluster_clients.cc)

  Request keygen_request(const std::string& key, std::uint16_t threshold,
                         std::size_t participants = 0);
  Request sign_request(const std::string& key, ByteVector message);
  [[nodiscard]] worker::CoordinatorOrder order_of(const SessionId& session) const;
  /// Of the requests that `make` makes the first whose attempt `attempt` is that node's to
  /// coordinate.
  template <std::invocable Make>
  SignedRequest coordinated_by(const std::string& node, Make make, std::uint16_t attempt = 0) {
    for (;;) {
      SignedRequest request = sign(make());
      if (order_of(request.session).of(attempt) == node) {
        return request;
      }
    }
  }
  /// Likewise, for a signature with key k.
  SignedRequest coordinated_by(const std::string& node, std::uint16_t attempt = 0);
  SignedRequest sign(const Request& request);
  /// Asks one node; returns the work's number.
  std::uint64_t ask(Node& target, const ByteVector& envelope, bool woken = false);
  /// Asks every node whose gateway is there, each a little later than the one before.
  std::vector<std::uint64_t> ask_all(const ByteVector& envelope);
  [[nodiscard]] const Work& work(std::uint64_t id) const { return works_.at(id); }
  [[nodiscard]] const std::map<std::uint64_t, Work>& works() const { return works_; }
  [[nodiscard]] bool answered(const std::vector<std::uint64_t>& ids) const;
  [[nodiscard]] const ByteVector& envelope(std::uint64_t id) const { return envelopes_.at(id); }
  [[nodiscard]] const std::vector<ipc::Peer>& peers() const { return peers_; }
  /// What workers that start from now on are given as peers.
  [[nodiscard]] std::vector<ipc::Peer>& peers_file() { return peers_; }
  /// Runs until all are answered; false if the time is over first.
  bool settle(const std::vector<std::uint64_t>& ids, std::int64_t limit_us = 90 * kSecond);
  [[nodiscard]] const RequestAnswer& answer(std::uint64_t id) const;
  /// Makes a key and lets everything come to rest; returns its public key.
  ByteVector make_key(const std::string& key, std::uint16_t threshold,
                      Scheme scheme = Scheme::kEd25519);

  // ---- settings and hooks

  NetworkFaults faults;
  ipc::Settings settings;
  std::int64_t spawn_us = 2 * kMs;
  std::int64_t store_us = 1 * kMs;
  /// Sees every packet before it is sent; may alter it; false drops it.
  std::function<bool(const std::string& from, const std::string& to, ByteVector& payload)> filter;
  /// Sees every effect but Publish.
  std::function<void(Node&, const worker::Effect&)> watch;
  /// The generator of each worker that starts.
  std::function<std::unique_ptr<Random>(std::uint64_t seed)> make_random = [](std::uint64_t seed) {
    return std::make_unique<SeededRandom>(seed);
  };
  /// Under which a node's shares are sealed.
  [[nodiscard]] static AeadKey sealing_key(const Node& node);
  std::vector<std::string> log;
  /// What the workers of a node have told their supervisor.
  std::vector<std::pair<std::string, ipc::PresignatureUsed>> presignatures_used;
  std::uint64_t published = 0;
  std::uint64_t wakes = 0;
  std::uint64_t renewals = 0;
  std::int64_t longest_stop_us = 0;
  worker::Counters dead;  ///< counters of workers that are gone (those the tests ask about)

  SeededRandom& random() { return random_; }
  double chance() { return static_cast<double>(random_.next_u64() >> 11U) / 9007199254740992.0; }
  std::uint64_t pick(std::uint64_t bound) { return random_.next_u64() % bound; }

  /// Looks at what a worker wants and when, after a test has called its engine itself.
  void poke(Node& target) { flush(target); }

  /// Hands `payload` to the worker on `to` as if it came from `from`.
  void deliver(const std::string& from, const std::string& to, ByteVector payload);

 private:
  static constexpr std::uint64_t kMaxSteps = 5'000'000;
  struct Event {
    std::int64_t at;
    std::uint64_t number;
    std::function<void()> action;
    bool operator<(const Event& other) const {
      return std::tie(at, number) > std::tie(other.at, other.number);
    }
  };

  Request base_request(const std::string& key);

  void boot(Node& target, std::uint64_t generation);

  void deliver_queued(Node& target);

  /// Feeds the worker of a node, now or when it is resumed.
  void input(Node& target, std::function<void(worker::SessionEngine&)> body);

  void flush(Node& target);

  void arm(Node& target);

  std::int64_t network_delay();

  void send(Node& from, worker::Publish publish);

  template <class Reply>
  void reply(Node& target, Reply reply);

  void perform(Node& target, worker::Effect effect);
  template <class Reply>
  void deliver_reply(Node& target, std::uint64_t generation, Reply message);

  /// A new hour for the certificate of the running worker, same keys.
  void renew(Node& target, std::uint64_t generation);

  void add_dead_counters(const worker::SessionEngine& engine);

  SeededRandom random_;
  IdentityKey initiator_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<ipc::Peer> peers_;
  std::priority_queue<Event> events_;
  std::uint64_t event_number_ = 0;
  std::uint64_t steps_ = 0;
  std::int64_t now_ = 0;
  std::uint64_t last_work_ = 0;
  std::map<std::uint64_t, Work> works_;
  std::map<std::uint64_t, ByteVector> envelopes_;
};

}  // namespace cosigner::test
