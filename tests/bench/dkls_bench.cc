// Threshold ECDSA without network: processor time per party, by round, and bytes sent.
//
//   dkls-bench [--json] [--seconds S] [--only NAME]
//
// Each party's calls are timed one by one on the thread's processor clock, so the figures are one
// party's work, whoever else runs in this process. "online" is a signature from a presignature. Of
// a signature the assembler, which adds up and verifies, and the other signers are told apart.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "crypto/base/hash.h"
#include "crypto/dkls23/ecdsa.h"
#include "crypto/dkls23/pair_setup.h"

using namespace cosigner;
using namespace cosigner::dkls23;

namespace {

double now_us() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
}

/// Samples of one figure, in microseconds.
class Samples {
 public:
  void add(double value) { values_.push_back(value); }
  [[nodiscard]] std::size_t count() const { return values_.size(); }
  [[nodiscard]] double quantile(double q) {
    std::ranges::sort(values_);
    return values_.empty()
               ? 0
               : values_[static_cast<std::size_t>(q * static_cast<double>(values_.size() - 1))];
  }

 private:
  std::vector<double> values_;
};

/// What one party spent in one run: by the round whose messages came out of the call (or "start",
/// "receive"), and in all.
struct PartyCost {
  std::map<std::string, double> steps;
  double total = 0;
  std::size_t bytes = 0;
};

class Run {
 public:
  void add(ParticipantIndex index, std::unique_ptr<Protocol> protocol, double construction_us) {
    protocols_[index] = std::move(protocol);
    spend(index, "hello", construction_us);
  }
  Protocol& protocol(ParticipantIndex index) { return *protocols_.at(index); }

  void go() {
    std::vector<SetMember> set;
    for (auto& [index, protocol] : protocols_) {
      set.push_back({index, protocol->hello()});
    }
    for (auto& [index, protocol] : protocols_) {
      const double begin = now_us();
      Result<Messages> out = protocol->start(set, Digest{});
      settle(index, now_us() - begin, std::move(out), "start");
    }
    while (!queue_.empty()) {
      const Item item = std::move(queue_.front());
      queue_.pop_front();
      const double begin = now_us();
      Result<Messages> out =
          protocols_.at(item.to)->receive(item.from, item.message.round, item.message.payload);
      settle(item.to, now_us() - begin, std::move(out), "receive");
    }
  }
  [[nodiscard]] const std::map<ParticipantIndex, PartyCost>& costs() const { return costs_; }

 private:
  struct Item {
    ParticipantIndex from = 0;
    ParticipantIndex to = 0;
    ProtocolMessage message;
  };

  void spend(ParticipantIndex index, const std::string& step, double us) {
    costs_[index].steps[step] += us;
    costs_[index].total += us;
  }
  void settle(ParticipantIndex index, double us, Result<Messages> out, const char* silent) {
    if (!out) {
      std::fprintf(stderr, "the protocol failed: %s\n", out.error().reason.c_str());
      std::exit(1);
    }
    const std::string step = out->empty() ? silent : "round " + std::to_string(out->back().round);
    spend(index, step, us);
    for (ProtocolMessage& message : *out) {
      for (const auto& [to, protocol] : protocols_) {
        if (to != index && (message.to == 0 || message.to == to)) {
          costs_[index].bytes += message.payload.size();
          queue_.push_back({index, to, message});
        }
      }
    }
  }

  std::map<ParticipantIndex, std::unique_ptr<Protocol>> protocols_;
  std::map<ParticipantIndex, PartyCost> costs_;
  std::deque<Item> queue_;
};

constexpr ParticipantIndex kAssembler = 1;

struct Report {
  std::string name;
  std::map<std::string, Samples> steps;  ///< per party
  Samples total;                         ///< per party
  std::size_t bytes_per_peer = 0;        ///< the most any party sent, divided by its peers

  enum class Role { kAny, kAssembling, kSigning };
  void take(const Run& run, std::size_t peers, Role role = Role::kAny) {
    for (const auto& [index, cost] : run.costs()) {
      if ((role == Role::kAssembling && index != kAssembler) ||
          (role == Role::kSigning && index == kAssembler)) {
        continue;
      }
      for (const auto& [step, us] : cost.steps) {
        steps[step].add(us);
      }
      total.add(cost.total);
      bytes_per_peer = std::max(bytes_per_peer, cost.bytes / peers);
    }
  }
  void print(bool json) {
    if (json) {
      std::printf(
          "{\"name\":\"%s\",\"samples\":%zu,\"median_us\":%.1f,\"p99_us\":%.1f,"
          "\"bytes_per_counterparty\":%zu,\"steps\":{",
          name.c_str(), total.count(), total.quantile(0.5), total.quantile(0.99), bytes_per_peer);
      const char* separator = "";
      for (auto& [step, samples] : steps) {
        std::printf("%s\"%s\":{\"median_us\":%.1f,\"p99_us\":%.1f}", separator, step.c_str(),
                    samples.quantile(0.5), samples.quantile(0.99));
        separator = ",";
      }
      std::printf("}}\n");
      return;
    }
    std::printf("%-24s median %10.1f us   p99 %10.1f us   %7zu bytes per counterparty   (n=%zu)\n",
                name.c_str(), total.quantile(0.5), total.quantile(0.99), bytes_per_peer,
                total.count());
    for (auto& [step, samples] : steps) {
      std::printf("    %-20s median %10.1f us   p99 %10.1f us\n", step.c_str(),
                  samples.quantile(0.5), samples.quantile(0.99));
    }
  }
};

using Key = std::map<ParticipantIndex, KeyOutcome>;

struct Options {
  bool json = false;
  double seconds = 2;
  std::string only;
};

class Bench {
 public:
  explicit Bench(Options options) : options_(std::move(options)) {}

  Key keygen(std::uint16_t t, std::uint16_t n, Report* report) {
    KeygenParameters parameters;
    parameters.scheme = Scheme::kEcdsaSecp256k1;
    parameters.threshold = t;
    for (ParticipantIndex i = 1; i <= n; ++i) {
      parameters.participants.push_back(i);
    }
    Run run;
    for (ParticipantIndex i = 1; i <= n; ++i) {
      parameters.self = i;
      const double begin = now_us();
      auto made = dkls23::make_keygen(parameters, random_);
      run.add(i, std::move(made.value()), now_us() - begin);
    }
    run.go();
    Key out;
    for (ParticipantIndex i = 1; i <= n; ++i) {
      out.emplace(i, std::get<KeyOutcome>(run.protocol(i).take_outcome().value()));
    }
    if (report != nullptr) {
      report->take(run, n - 1U);
    }
    return out;
  }

  void keygens(std::uint16_t t, std::uint16_t n) {
    measure("keygen " + label(t, n), [&](Report& report) { keygen(t, n, &report); });
  }

  void setup() {
    measure("OT set-up of a pair", [&](Report& report) {
      double begin = now_us();
      PairSetup a(Digest{}, 1, 2, random_);
      double spent = now_us() - begin;
      PairSetup b(Digest{}, 2, 1, random_);
      begin = now_us();
      const auto answer_a = a.answer(b.first_message(), random_);
      spent += now_us() - begin;
      const auto answer_b = b.answer(a.first_message(), random_);
      begin = now_us();
      const auto done = a.finish(as_view(*answer_b));
      spent += now_us() - begin;
      if (!done) {
        std::exit(1);
      }
      report.total.add(spent);
      report.bytes_per_peer = kSetupFirstBytes + kSetupAnswerBytes;
    });
  }

  void sign(std::uint16_t t, std::uint16_t n) {
    const std::string name = "sign " + label(t, n);
    if (!wanted(name)) {
      return;
    }
    const Key key = keygen(t, n, nullptr);
    Report signer{name + ", signer", {}, {}, 0};
    measure(name + ", assembler", [&](Report& report) {
      Run run;
      for (ParticipantIndex i = 1; i <= t; ++i) {
        const double begin = now_us();
        auto made = dkls23::make_sign(parameters(key, i, message_), random_);
        run.add(i, std::move(made.value()), now_us() - begin);
      }
      run.go();
      report.take(run, t - 1U, Report::Role::kAssembling);
      signer.take(run, t - 1U, Report::Role::kSigning);
    });
    signer.print(options_.json);
  }

  void presigned(std::uint16_t t, std::uint16_t n) {
    const std::string presign_name = "presign " + label(t, n);
    const std::string online_name = "online " + label(t, n);
    if (!wanted(presign_name) && !wanted(online_name)) {
      return;
    }
    const Key key = keygen(t, n, nullptr);
    Report assembler{online_name + ", assembler", {}, {}, 0};
    Report signer{online_name + ", signer", {}, {}, 0};
    measure(presign_name, [&](Report& report) {
      Run run;
      for (ParticipantIndex i = 1; i <= t; ++i) {
        const double begin = now_us();
        auto made = make_presign(parameters(key, i, {}), random_);
        run.add(i, std::move(made.value()), now_us() - begin);
      }
      run.go();
      report.take(run, t - 1U);
      Run second;
      for (ParticipantIndex i = 1; i <= t; ++i) {
        auto token = dynamic_cast<PresignProtocol&>(run.protocol(i)).take_presignature();
        const double begin = now_us();
        auto made = make_presigned_sign(parameters(key, i, message_), std::move(token.value()),
                                        random_.bytes<Bytes<32>>());
        second.add(i, std::move(made.value()), now_us() - begin);
      }
      second.go();
      assembler.take(second, t - 1U, Report::Role::kAssembling);
      signer.take(second, t - 1U, Report::Role::kSigning);
    });
    assembler.print(options_.json);
    signer.print(options_.json);
  }

 private:
  static std::string label(std::uint16_t t, std::uint16_t n) {
    return std::to_string(t) + "-of-" + std::to_string(n);
  }
  [[nodiscard]] bool wanted(const std::string& name) const {
    return options_.only.empty() || name.find(options_.only) != std::string::npos;
  }
  static SignParameters parameters(const Key& key, ParticipantIndex self, ByteView message) {
    SignParameters out;
    out.record = key.at(self).record;
    out.secret = as_view(key.at(self).secret);
    out.message = to_vector(message);
    out.self = self;
    out.assembler = kAssembler;
    return out;
  }
  template <class F>
  void measure(const std::string& name, F body) {
    if (!wanted(name)) {
      return;
    }
    Report report{name, {}, {}, 0};
    {
      Report warm_up{name, {}, {}, 0};
      body(warm_up);
    }
    const double begin = now_us();
    do {
      body(report);
    } while (now_us() - begin < options_.seconds * 1e6);
    report.print(options_.json);
  }

  Options options_;
  SystemRandom random_;
  Digest message_ = Sha256().update(as_bytes("a message")).finish();
};

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--json") {
      options.json = true;
    } else if (argument == "--seconds" && i + 1 < argc) {
      options.seconds = std::atof(argv[++i]);
    } else if (argument == "--only" && i + 1 < argc) {
      options.only = argv[++i];
    } else {
      std::fprintf(stderr, "usage: dkls-bench [--json] [--seconds S] [--only NAME]\n");
      return 2;
    }
  }
  Bench bench(options);
  bench.setup();
  bench.keygens(2, 3);
  bench.sign(2, 2);
  bench.sign(2, 3);
  bench.sign(3, 5);
  bench.sign(5, 9);
  bench.presigned(2, 3);
  bench.presigned(3, 5);
  return 0;
}
