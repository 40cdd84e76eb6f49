// Processor time of FROST Ed25519, phase by phase and per participant, everything in one thread.
//
//   frost-bench [--json] [--rounds N]
//
// Signing: commit (make_sign), share (start at a signer that does not assemble), assemble (start,
// receive and verification at the assembler). Key generation: all a participant does.

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "crypto/base/random.h"
#include "tests/support/threshold_cluster.h"

namespace {

using namespace cosigner;
using namespace cosigner::test;

double now_us() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
}

/// Times of one phase in microseconds.
struct Phase {
  std::string group;
  std::string name;
  std::vector<double> samples;

  double percentile(double fraction) {
    std::ranges::sort(samples);
    const auto last = static_cast<double>(samples.size() - 1);
    return samples[static_cast<std::size_t>(fraction * last)];
  }
};

template <class Function>
auto timed(double& total, Function function) {
  const double before = now_us();
  auto result = function();
  total += now_us() - before;
  if (!result) {
    std::fprintf(stderr, "the protocol failed: %s\n", result.error().reason.c_str());
    std::exit(1);
  }
  return std::move(*result);
}

std::string group_name(const char* what, std::size_t threshold, std::size_t count) {
  return std::string(what) + " " + std::to_string(threshold) + "-of-" + std::to_string(count);
}

void bench_sign(std::vector<Phase>& out, std::uint16_t threshold, std::size_t count,
                std::size_t message_size, int rounds) {
  SystemRandom random;
  const RunReport keys = run_keygen(Scheme::kEd25519, threshold, first_indices(count), random);
  const ByteVector message(message_size, 0x42);
  const std::string group =
      group_name("sign", threshold, count) + ", " + std::to_string(message_size) + " bytes";
  Phase commit{group, "commit", {}};
  Phase share{group, "share", {}};
  Phase assemble{group, "assemble", {}};
  Phase signer{group, "signer, total", {}};
  Phase assembler{group, "assembler, total", {}};
  for (int round = 0; round < rounds; ++round) {
    std::vector<std::unique_ptr<Protocol>> protocols;
    std::vector<SetMember> set;
    std::vector<double> commit_us(threshold, 0);
    for (std::uint16_t k = 0; k < threshold; ++k) {
      const auto index = static_cast<ParticipantIndex>(k + 1);
      auto parameters = sign_parameters(keys.key(index), message, index, 1);
      protocols.push_back(
          timed(commit_us[k], [&] { return make_sign(std::move(parameters), random); }));
      set.push_back({index, protocols.back()->hello()});
    }
    std::vector<ByteVector> shares;
    for (std::uint16_t k = 1; k < threshold; ++k) {
      double share_us = 0;
      auto messages = timed(share_us, [&] { return protocols[k]->start(set, Digest()); });
      shares.push_back(std::move(messages.at(0).payload));
      commit.samples.push_back(commit_us[k]);
      share.samples.push_back(share_us);
      signer.samples.push_back(commit_us[k] + share_us);
    }
    double assemble_us = 0;
    timed(assemble_us, [&] { return protocols[0]->start(set, Digest()); });
    for (std::uint16_t k = 1; k < threshold; ++k) {
      timed(assemble_us, [&] {
        return protocols[0]->receive(static_cast<ParticipantIndex>(k + 1), 1, shares[k - 1U]);
      });
    }
    if (!protocols[0]->take_outcome()) {
      std::fprintf(stderr, "no signature\n");
      std::exit(1);
    }
    assemble.samples.push_back(assemble_us);
    assembler.samples.push_back(commit_us[0] + assemble_us);
  }
  for (Phase* phase : {&commit, &share, &assemble, &signer, &assembler}) {
    out.push_back(std::move(*phase));
  }
}

void bench_keygen(std::vector<Phase>& out, std::uint16_t threshold, std::size_t count, int rounds) {
  SystemRandom random;
  Phase participant{group_name("keygen", threshold, count), "participant, total", {}};
  for (int round = 0; round < rounds; ++round) {
    double total = 0;
    timed(total, [&]() -> Result<bool> {
      return !run_keygen(Scheme::kEd25519, threshold, first_indices(count), random).any_abort();
    });
    participant.samples.push_back(total / static_cast<double>(count));
  }
  out.push_back(std::move(participant));
}

}  // namespace

int main(int argc, char** argv) {
  bool json = false;
  int rounds = 500;
  for (int k = 1; k < argc; ++k) {
    if (std::strcmp(argv[k], "--json") == 0) {
      json = true;
    } else if (std::strcmp(argv[k], "--rounds") == 0 && k + 1 < argc &&
               std::atoi(argv[k + 1]) > 0) {
      rounds = std::atoi(argv[++k]);
    } else {
      std::fprintf(stderr, "usage: %s [--json] [--rounds N]\n", argv[0]);
      return 2;
    }
  }
  std::vector<Phase> phases;
  bench_sign(phases, 2, 3, 32, rounds);
  bench_sign(phases, 3, 5, 32, rounds);
  bench_sign(phases, 5, 7, 32, rounds);
  bench_sign(phases, 2, 3, 1U << 20, std::max(rounds / 20, 1));
  bench_keygen(phases, 2, 3, std::max(rounds / 5, 1));
  bench_keygen(phases, 5, 7, std::max(rounds / 20, 1));
  if (json) {
    std::printf("[");
  } else {
    std::printf("%-28s %-20s %12s %12s   (processor time, us)\n", "", "phase", "median", "p99");
  }
  for (std::size_t k = 0; k < phases.size(); ++k) {
    Phase& phase = phases[k];
    const double median = phase.percentile(0.5);
    const double p99 = phase.percentile(0.99);
    if (json) {
      std::printf(
          "%s\n  {\"group\": \"%s\", \"phase\": \"%s\", \"median_us\": %.1f, \"p99_us\": %.1f, "
          "\"samples\": %zu}",
          k == 0 ? "" : ",", phase.group.c_str(), phase.name.c_str(), median, p99,
          phase.samples.size());
    } else {
      std::printf("%-28s %-20s %12.1f %12.1f\n", phase.group.c_str(), phase.name.c_str(), median,
                  p99);
    }
  }
  std::printf(json ? "\n]\n" : "");
  return 0;
}
