// How fault points fail. Orders come in a file that the zygote makes and maps when it starts,
// "fault-points" in its working directory (the node's state directory), so that its forks see the
// same memory behind their sandbox and a test arms running workers by writing to the file
// (tests/integration/faults.py).
//
// 128 entries of 256 bytes, little endian: u32 left, u32 action, u32 hits, u32 passes (how often
// the point is passed first), point (96 bytes), user (140 bytes; "*": every one), both ended by a
// zero byte, u32 argument (by action, below). Writing `left` last arms it.

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "crypto/dkls23/sign_messages.h"
#include "worker/fault_point.h"
#include "worker/session/protocol_factory.h"

namespace cosigner::worker {
namespace {

enum class Action : std::uint32_t {
  kThrow = 1,
  kAbort = 2,
  kSegfault = 3,
  kLoop = 4,     ///< uses its processor for ever
  kLeak = 5,     ///< takes memory until none is left
  kSilence = 6,  ///< does nothing any more: no heartbeat, no answer
  kExit = 7,     ///< as if all were well
  kOutOfMemory = 8,
  kKill = 9,
  kSystemCall = 10,  ///< one that its walls refuse: the argument is its number
  /// Flips a bit in the last byte of a message that its receiver checks against OT secrets. The
  /// argument is the key's KeyMark. Of the points only "sign.sending" has such messages; the entry
  /// overlooks all others, and `passes` counts none of them.
  kSpoil = 11,
  /// Each writes `left` of as many entries behind its own as the argument says, 1 or 0: so one
  /// event begins what another ends, within one process and without a test's help in between.
  kArm = 12,
  kDisarm = 13,
};
/// By these texts tests/faults/absent knows a program that can lie to its peers.
[[gnu::used]] constexpr char kSpoilText[] = "COSIGNER_FAULT_ACTION:spoil";
[[gnu::used]] constexpr char kArmText[] = "COSIGNER_FAULT_ACTION:arm";

/// Which of a user's keys: bytes 1 to 4 of its public key (of a compressed point the first of x).
using KeyMark = std::uint32_t;

/// What is about to be sealed.
struct OtMessage {
  KeyMark key;
  std::span<std::uint8_t> bytes;
};

struct Entry {
  std::uint32_t left;
  std::uint32_t action;
  std::uint32_t hits;
  std::uint32_t passes;
  char point[96];
  char user[140];
  std::uint32_t argument;
};
static_assert(sizeof(Entry) == 256);
constexpr std::size_t kEntries = 128;

Entry* entries = nullptr;
std::string own_user;

// Before main(), whose source is the shipped program's.
[[gnu::constructor]] void map_orders(int argc, char** argv) {
  constexpr std::size_t kSize = kEntries * sizeof(Entry);
  if (argc != 2 || std::strcmp(argv[1], "--zygote") != 0) {
    return;
  }
  const int file = ::open("fault-points", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0 || ::ftruncate(file, kSize) != 0) {
    std::abort();
  }
  void* const memory = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  ::close(file);
  if (memory == MAP_FAILED) {
    std::abort();
  }
  entries = static_cast<Entry*>(memory);
}

volatile bool always = true;

[[noreturn]] void sleep_for_ever() {
  while (always) {
    const timespec hour{3600, 0};
    ::nanosleep(&hour, nullptr);
  }
  std::abort();
}

// Each has arguments with which it would do what it is forbidden for; 0 stands for harm enough
// where the call is refused whatever its arguments.
void make_forbidden_call(std::uint32_t number) {
  switch (number) {
    case SYS_openat:
      ::syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
      return;
    case SYS_clone:  // a process, where threads are allowed
      if (::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) == 0) {
        ::_exit(0);
      }
      return;
    case SYS_mmap:
      ::syscall(SYS_mmap, nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      return;
    case SYS_socket:
      ::syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
      return;
    case SYS_prctl:
      ::syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
      return;
    case SYS_kill:
      ::syscall(SYS_kill, ::getppid(), 0);
      return;
    default:
      ::syscall(static_cast<long>(number), 0, 0, 0, 0, 0, 0);
  }
}

// `entry` is of the table, and those behind it may be meant. Without a message there is nothing to
// spoil: see is_meant().
void fail_by(Entry* entry, const char* point, const OtMessage* message) {
  const auto action = static_cast<Action>(entry->action);
  switch (action) {
    case Action::kThrow:
      throw std::runtime_error(std::string("ordered by a test at ") + point);
    case Action::kAbort:
      std::abort();
    case Action::kSegfault:
      *static_cast<volatile int*>(nullptr) = 1;
      return;
    case Action::kLoop:
      while (always) {
      }
      return;
    case Action::kLeak: {
      static std::vector<std::unique_ptr<char[]>> kept;
      constexpr std::size_t kBlock = 1U << 20;
      while (always) {
        kept.push_back(std::make_unique_for_overwrite<char[]>(kBlock));
        static_cast<volatile char*>(kept.back().get())[0] = 1;  // the limit counts what is mapped
      }
      return;
    }
    case Action::kSilence:
      sleep_for_ever();
    case Action::kExit:
      ::_exit(0);
    case Action::kOutOfMemory: {
      const std::unique_ptr<char[]> huge(new char[std::size_t{2} << 30]);
      static_cast<volatile char*>(huge.get())[0] = 1;
      return;
    }
    case Action::kKill:
      ::syscall(SYS_tgkill, ::getpid(), ::getpid(), SIGKILL);
      return;
    case Action::kSystemCall:
      make_forbidden_call(entry->argument);
      return;
    case Action::kSpoil:
      message->bytes.back() ^= 1;
      return;
    case Action::kArm:
    case Action::kDisarm:
      for (Entry* next = entry + 1; next <= entry + entry->argument && next < entries + kEntries;
           ++next) {
        std::atomic_ref(next->left).store(action == Action::kArm ? 1 : 0);
      }
      return;
  }
}

bool take(std::uint32_t& left) {
  std::atomic_ref<std::uint32_t> count(left);
  std::uint32_t now = count.load();
  while (now != 0 && !count.compare_exchange_weak(now, now - 1)) {
  }
  return now != 0;
}

bool is_meant(const Entry& entry, const char* point, const OtMessage* message) {
  if (std::strcmp(entry.point, point) != 0 ||
      (std::strcmp(entry.user, "*") != 0 && entry.user != own_user)) {
    return false;
  }
  return static_cast<Action>(entry.action) != Action::kSpoil ||
         (message != nullptr && message->key == entry.argument);
}

// `name`: what COSIGNER_FAULT_POINT makes of a point's.
void reach(const char* name, const OtMessage* message) {
  const char* const point = std::strchr(name, ':') + 1;
  for (std::size_t i = 0; entries != nullptr && i < kEntries; ++i) {
    Entry& entry = entries[i];
    if (std::atomic_ref(entry.left).load() == 0 || !is_meant(entry, point, message) ||
        take(entry.passes) || !take(entry.left)) {
      continue;
    }
    std::atomic_ref(entry.hits).fetch_add(1);
    fail_by(&entry, point, message);
  }
}

// A scheme's protocol with fault points between its steps. `ot_key`: of a protocol whose first two
// rounds carry OT messages.
class FaultyProtocol final : public Protocol {
 public:
  FaultyProtocol(std::unique_ptr<Protocol> inner, bool keygen, std::optional<KeyMark> ot_key)
      : inner_(std::move(inner)), keygen_(keygen), ot_key_(ot_key) {}

  [[nodiscard]] const ByteVector& hello() const override { return inner_->hello(); }
  [[nodiscard]] Result<Messages> start(std::span<const SetMember> set,
                                       const Digest& binding) override {
    if (keygen_) {
      COSIGNER_FAULT_POINT("keygen.start");
    } else {
      COSIGNER_FAULT_POINT("sign.start");
    }
    return sending(inner_->start(set, binding));
  }
  [[nodiscard]] Result<Messages> receive(ParticipantIndex from, std::uint8_t round,
                                         ByteView payload) override {
    if (keygen_) {
      COSIGNER_FAULT_POINT("keygen.checking");
    } else {
      COSIGNER_FAULT_POINT("sign.checking");
    }
    Result<Messages> out = sending(inner_->receive(from, round, payload));
    if (keygen_) {
      COSIGNER_FAULT_POINT("keygen.checked");
    } else {
      COSIGNER_FAULT_POINT("sign.checked");
    }
    return out;
  }
  [[nodiscard]] std::optional<Outcome> take_outcome() override {
    std::optional<Outcome> out = inner_->take_outcome();
    if (out && keygen_) {
      COSIGNER_FAULT_POINT("keygen.result");
    } else if (out) {
      COSIGNER_FAULT_POINT("sign.result");
    }
    return out;
  }
  [[nodiscard]] std::optional<Abort> take_failure() override { return inner_->take_failure(); }
  void observe_checks(CheckObserver* observer) override { inner_->observe_checks(observer); }
  [[nodiscard]] std::size_t payload_limit() const override { return inner_->payload_limit(); }

 private:
  [[nodiscard]] Result<Messages> sending(Result<Messages> out) {
    if (keygen_) {
      return out;
    }
    if (!out) {
      if (out.error().abort_class == AbortClass::kBurn) {
        COSIGNER_FAULT_POINT("sign.burnt");
      }
      return out;
    }
    for (ProtocolMessage& message : *out) {
      const bool ot = ot_key_ && (message.round == dkls23::SignRound1::kRound ||
                                  message.round == dkls23::SignRound2::kRound);
      const OtMessage spoilable{ot_key_.value_or(0), message.payload};
      reach("COSIGNER_FAULT_POINT:sign.sending", ot ? &spoilable : nullptr);
    }
    return out;
  }

  std::unique_ptr<Protocol> inner_;
  bool keygen_;
  std::optional<KeyMark> ot_key_;
};

std::optional<KeyMark> ot_key_of(const PublicKeyRecord& record) {
  KeyMark mark = 0;
  if (record.scheme != Scheme::kEcdsaSecp256k1 || record.public_key.size() < 1 + sizeof mark) {
    return std::nullopt;
  }
  std::memcpy(&mark, record.public_key.data() + 1, sizeof mark);
  return mark;
}

class FaultyProtocols final : public ProtocolFactory {
 public:
  [[nodiscard]] Result<std::unique_ptr<Protocol>> keygen(const KeygenParameters& parameters,
                                                         Random& random) override {
    return wrap(ProtocolFactory::keygen(parameters, random), true, std::nullopt);
  }
  [[nodiscard]] Result<std::unique_ptr<Protocol>> sign(SignParameters parameters,
                                                       Random& random) override {
    const std::optional<KeyMark> ot_key = ot_key_of(parameters.record);
    return wrap(ProtocolFactory::sign(std::move(parameters), random), false, ot_key);
  }

 private:
  static Result<std::unique_ptr<Protocol>> wrap(Result<std::unique_ptr<Protocol>> made, bool keygen,
                                                std::optional<KeyMark> ot_key) {
    if (!made) {
      return made;
    }
    return std::make_unique<FaultyProtocol>(std::move(*made), keygen, ot_key);
  }
};

}  // namespace

void reach_fault_point(const char* name) {
  reach(name, nullptr);
}

void fault_points_of(const std::string& user) {
  own_user = user;
}

ProtocolFactory* protocols_with_fault_points() {
  static FaultyProtocols protocols;
  return &protocols;
}

}  // namespace cosigner::worker
