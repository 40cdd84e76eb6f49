// What real workers draw for one session is in their memory while it is needed, and nowhere
// afterwards: searched from outside, as their open keys' secrets are (wiping_test.cc). The
// workers are those of cosigner-worker-faults, which tells what it has drawn
// (tests/faults/noted_draws.h); all else in it is the shipped program. Every search's pattern is
// found in a living session first, so that finding nothing later means something.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <set>

#include "crypto/ed25519/group.h"
#include "crypto/frost/ed25519_suite.h"
#include "crypto/frost/lagrange.h"
#include "crypto/secp256k1/group.h"
#include "tests/faults/noted_draws.h"
#include "tests/support/secret_patterns.h"
#include "tests/unit/worker/two_nodes.h"

#ifndef COSIGNER_SANITIZED
using namespace cosigner;
using namespace cosigner::test;

namespace {

/// The file in which the workers note what they draw, in a directory of its own.
class DrawsOfWorkers {
 public:
  struct Draw {
    std::size_t slot;  ///< counts all workers' draws
    pid_t pid;
    SecretVector bytes;
  };

  DrawsOfWorkers() {
    std::string pattern = "/tmp/cosigner-draws-XXXXXX";
    require(::mkdtemp(pattern.data()) != nullptr, "mkdtemp");
    directory_ = pattern;
    const ipc::UniqueFd file(::open((directory_ + "/" + NotedDraws::kFile).c_str(),
                                    O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    require(file && ::ftruncate(file.get(), sizeof(NotedDraws)) == 0, "the file of draws");
    void* const memory =
        ::mmap(nullptr, sizeof(NotedDraws), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    require(memory != MAP_FAILED, "mmap");
    noted_ = static_cast<NotedDraws*>(memory);
  }
  ~DrawsOfWorkers() {
    ::munmap(noted_, sizeof(NotedDraws));
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  DrawsOfWorkers(const DrawsOfWorkers&) = delete;
  DrawsOfWorkers& operator=(const DrawsOfWorkers&) = delete;

  [[nodiscard]] const std::string& directory() const { return directory_; }

  /// Those that no earlier call has returned, in the order in which they were drawn.
  std::vector<Draw> fresh() {
    std::vector<Draw> out;
    const std::uint32_t count = std::atomic_ref(noted_->count).load();
    require(count <= NotedDraws::kEntries, "more was drawn than can be noted");
    for (std::uint32_t slot = 0; slot < count; ++slot) {
      NotedDraw& draw = noted_->draws[slot];
      const std::uint32_t size = std::atomic_ref(draw.size).load();
      if (size == 0 || !returned_.insert(slot).second) {
        continue;
      }
      SecretVector bytes(draw.masked.begin(), draw.masked.begin() + size);
      for (std::size_t i = 0; i < size; ++i) {
        bytes[i] ^= NotedDraw::mask(i);
      }
      out.push_back({slot, static_cast<pid_t>(draw.pid), std::move(bytes)});
    }
    return out;
  }

 private:
  std::string directory_;
  NotedDraws* noted_ = nullptr;
  std::set<std::uint32_t> returned_;
};

/// A child that stands still: what it has drawn and what is in its memory fit together.
class Stopped {
 public:
  explicit Stopped(pid_t pid) : pid_(pid) {
    int status = 0;
    require(::kill(pid_, SIGSTOP) == 0 && ::waitpid(pid_, &status, WUNTRACED) == pid_ &&
                WIFSTOPPED(status),
            "the worker does not stop");
  }
  ~Stopped() { ::kill(pid_, SIGCONT); }
  Stopped(const Stopped&) = delete;
  Stopped& operator=(const Stopped&) = delete;

 private:
  pid_t pid_;
};

using Names = std::set<std::string>;

/// Two workers that tell what they draw, and a search for all of it.
class WatchedNodes {
 public:
  explicit WatchedNodes(Scheme scheme)
      : nodes(scheme, TestSupervisor::built("test-bin/cosigner-worker-faults"), draws_.directory()),
        workers(nodes.workers()) {}

  /// False (with the reason for the report) if this machine does not let us look.
  [[nodiscard]] bool can_search() {
    if (scan_.search(workers[0].pid())) {
      return true;
    }
    WARN("skipped: /proc/PID/mem of a worker may be read by root only");
    return false;
  }
  /// What of all that has been drawn is in this node's worker now: names and how often.
  std::map<std::string, std::size_t> alive(std::size_t node) {
    const Stopped still(workers[node].pid());
    add_fresh();
    return scan_.search(workers[node].pid()).value();
  }
  /// Lets the workers go on until `wanted` holds of what is alive in this one; fails after ten
  /// seconds.
  template <class Condition>
  std::map<std::string, std::size_t> wait_alive(std::size_t node, const char* what,
                                                Condition&& wanted) {
    for (int i = 0; i < 500; ++i) {
      workers.take_frames();
      auto found = alive(node);
      if (wanted(found)) {
        CHECK(scan_.bytes_searched() > 1'000'000);
        return found;
      }
      ::usleep(20'000);
    }
    FAIL("never found in the worker: " << what << "; at the end\n" << scan_.places());
    return {};
  }
  /// One signature by both, asked now of those that have not been asked before.
  void sign(std::uint8_t fill) {
    const SignedRequest request = nodes.sign_request_for(fill);
    workers.ask(0, request);
    workers.ask(1, request);
    workers.wait_for_answers();
    nodes.check_signatures(workers, fill);
  }
  /// Once the sessions of both are over.
  void check_nothing_is_left() {
    workers.wait_for_rest();
    for (const std::size_t node : {0U, 1U}) {
      const auto found = alive(node);
      INFO("node" << node + 1 << "\n" << scan_.places());
      CHECK(scan_.bytes_searched() > 1'000'000);
      CHECK(found.empty());
    }
  }

  /// Draws of 64 bytes, reduced, are ECDSA's scalars: r_i, φ_i, the VOLE's â. In their order.
  struct Scalar {
    pid_t pid;
    std::string name;
    secp256k1::SecretScalar value;
  };
  std::vector<Scalar> scalars;
  /// The bytes of which a FROST nonce is made, under the nonce's name.
  std::map<std::string, SecretVector> randomness;
  MemoryScan& scan() { return scan_; }

 private:
  void add_fresh() {
    for (DrawsOfWorkers::Draw& draw : draws_.fresh()) {
      if (nodes.scheme == Scheme::kEd25519) {
        add_nonce(draw);
      } else {
        add_scalar(draw);
      }
    }
  }
  // Of 32 bytes are also the public nonces of hellos: what would be d or e of them is in no memory.
  void add_nonce(DrawsOfWorkers::Draw& draw) {
    const auto bytes = SecretBytes<32>::from(as_view(draw.bytes));
    if (!bytes) {
      return;
    }
    const ParticipantIndex owner = draw.pid == workers[0].pid() ? 1 : 2;
    const auto share =
        KeyShare<Ed25519Group>::decode(as_view(nodes.made.key(owner).secret)).value();
    const std::string name = "nonce " + std::to_string(draw.slot);
    scan_.add_scalar(name, FrostEd25519::nonce(*bytes, share.share).expose());
    randomness.emplace(name, std::move(draw.bytes));
  }
  // As drawn and as reduced; and the rows of the OT extension's secret choices.
  void add_scalar(const DrawsOfWorkers::Draw& draw) {
    if (draw.bytes.size() == 64) {
      auto value = secp256k1::SecretScalar::reduce(as_view(draw.bytes));
      const std::string name = "scalar " + std::to_string(draw.slot);
      scan_.add("wide " + name, as_view(draw.bytes));
      scan_.add_scalar(name, value.encode().expose());
      scalars.push_back({draw.pid, name, std::move(value)});
    } else if (draw.bytes.size() == dkls23::kRowBytes) {
      scan_.add("choices " + std::to_string(draw.slot), as_view(draw.bytes));
    }
  }

  DrawsOfWorkers draws_;
  MemoryScan scan_;

 public:
  TwoNodes nodes;
  TwoWorkers workers;
};

Names names_of(const std::map<std::string, std::size_t>& found) {
  Names out;
  for (const auto& [name, count] : found) {
    out.insert(name);
  }
  return out;
}

/// One node is asked and waits for the other: its two nonces are found, then, when it has given
/// that attempt up, the next attempt's and not the first's. Then the other is asked as well, and
/// after eight signatures there is none of any.
Names watch_signatures(WatchedNodes& watched) {
  const SignedRequest request = watched.nodes.sign_request_for(1);
  watched.workers.ask(0, request);
  const Names first = names_of(watched.wait_alive(
      0, "two nonces of an attempt", [](const auto& found) { return found.size() == 2; }));
  const Names second = names_of(watched.wait_alive(
      0, "two nonces of the next attempt, and none of the one given up", [&](const auto& found) {
        return found.size() == 2 && std::ranges::none_of(first, [&](const std::string& name) {
                 return found.contains(name);
               });
      }));
  watched.workers.ask(1, request);
  watched.workers.wait_for_answers();
  watched.nodes.check_signatures(watched.workers, 1);
  for (std::uint8_t fill = 2; fill <= 8; ++fill) {
    watched.sign(fill);
  }
  watched.check_nothing_is_left();
  return second;
}

/// The 32 bytes at this address of the worker, as secp256k1's words lie there.
secp256k1::SecretScalar scalar_at(pid_t pid, std::uintptr_t address) {
  const ipc::UniqueFd memory(
      ::open(("/proc/" + std::to_string(pid) + "/mem").c_str(), O_RDONLY | O_CLOEXEC));
  SecretBytes<32> bytes;
  require(memory && ::pread(memory.get(), bytes.expose_mutable().data(), 32,
                            static_cast<off_t>(address)) == 32,
          "reading the worker's memory");
  std::ranges::reverse(bytes.expose_mutable());
  return secp256k1::SecretScalar::decode(bytes.expose()).value();
}

/// What one worker keeps of a presignature, and the nonce share it had when making it.
struct PresignatureSecrets {
  secp256k1::Scalar r, phi, u, v;
};

/// Of each φ_i that is alive in this worker: u_i and v_i lie before it
/// (crypto/dkls23/presignature.h); r_i was drawn just before it.
std::vector<PresignatureSecrets> presignatures_in(WatchedNodes& watched, std::size_t node) {
  std::vector<PresignatureSecrets> out;
  const pid_t pid = watched.workers[node].pid();
  for (const MemoryScan::Finding& finding : watched.scan().findings()) {
    const auto phi = std::ranges::find_if(
        watched.scalars, [&](const WatchedNodes::Scalar& one) { return one.name == finding.name; });
    require(phi != watched.scalars.end() && phi->pid == pid, "whose scalar is it?");
    auto r = phi;
    do {
      require(r != watched.scalars.begin(), "φ is the first that was drawn");
      --r;
    } while (r->pid != pid);
    out.push_back({r->value.reveal(), phi->value.reveal(),
                   scalar_at(pid, finding.address - 64).reveal(),
                   scalar_at(pid, finding.address - 32).reveal()});
  }
  return out;
}

/// sk, of both nodes' shares.
secp256k1::Scalar key_of(const TwoNodes& nodes) {
  secp256k1::Scalar key;
  const std::vector<ParticipantIndex> both{1, 2};
  for (const ParticipantIndex index : both) {
    const auto share =
        KeyShare<Secp256k1Group>::decode(as_view(nodes.made.key(index).secret)).value();
    key = key + lagrange_vartime<Secp256k1Group>(both, index) * share.share.reveal();
  }
  return key;
}

}  // namespace

TEST_CASE(
    "checklist: wiping: a real worker's FROST nonces are in its memory until they are used or "
    "given up, and then no more",
    "[wiping]") {
  WatchedNodes watched(Scheme::kEd25519);
  if (!watched.can_search()) {
    return;
  }
  const Names alive = watch_signatures(watched);
  // And of what d and e were made of nothing is left either.
  for (const std::string& name : alive) {
    watched.scan().add("randomness of " + name, as_view(watched.randomness.at(name)));
  }
  watched.check_nothing_is_left();
}

TEST_CASE(
    "checklist: wiping: a real worker's r, φ and all else it draws for an ECDSA signature are in "
    "its memory until the session ends, and then no more",
    "[wiping]") {
  WatchedNodes watched(Scheme::kEcdsaSecp256k1);
  if (!watched.can_search()) {
    return;
  }
  watch_signatures(watched);
  CHECK(watched.scalars.size() >= 32);  // r and φ, of both nodes, of eight signatures
}

TEST_CASE(
    "checklist: wiping: a real worker's presignatures (u, v, φ) are in its memory until they are "
    "used, and then no more",
    "[wiping]") {
  WatchedNodes watched(Scheme::kEcdsaSecp256k1);
  if (!watched.can_search()) {
    return;
  }
  constexpr std::uint32_t kCount = 4;  // both hold all; each may name a half of them
  const SignedRequest request = watched.nodes.presign_request_for(kCount);
  watched.workers.ask(0, request);
  watched.workers.ask(1, request);
  watched.workers.wait_for_answers();
  // Of all that was drawn for making them, φ is what is kept: once.
  std::array<std::vector<PresignatureSecrets>, 2> held;
  for (const std::size_t node : {0U, 1U}) {
    CHECK(std::get<PresignResult>(watched.workers.answer(node).content).made == kCount / 2);
    watched.wait_alive(node, "one φ of each presignature and nothing else", [](const auto& found) {
      return found.size() == kCount &&
             std::ranges::all_of(found, [](const auto& one) { return one.second == 1; });
    });
    held[node] = presignatures_in(watched, node);
  }
  // What lies beside them is u and v: with the other's they add up to r·φ and sk·φ.
  const secp256k1::Scalar key = key_of(watched.nodes);
  std::size_t pairs = 0;
  for (const PresignatureSecrets& one : held[0]) {
    for (const PresignatureSecrets& other : held[1]) {
      const secp256k1::Scalar phi = one.phi + other.phi;
      if (one.v + other.v == key * phi) {
        ++pairs;
        CHECK(one.u + other.u == (one.r + other.r) * phi);
      }
    }
  }
  REQUIRE(pairs == kCount);
  for (const auto& node : held) {
    for (const PresignatureSecrets& one : node) {
      watched.scan().add_scalar("u", one.u.encode().view());
      watched.scan().add_scalar("v", one.v.encode().view());
    }
  }
  auto found = watched.alive(0);
  CHECK(found["u"] == kCount);
  CHECK(found["v"] == kCount);
  // A coordinator names one of its own, and each request is the one's or the other's to begin with:
  // of 64 both have had two but for a chance of 2^-57.
  for (std::uint8_t fill = 1; fill <= 64 && watched.workers.presignatures_used(0) < kCount;
       ++fill) {
    watched.sign(fill);
  }
  CHECK(watched.workers.presignatures_used(0) == kCount);
  CHECK(watched.workers.presignatures_used(1) == kCount);
  watched.check_nothing_is_left();
}
#endif
