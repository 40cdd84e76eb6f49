// `cosignerctl bench sign --presigned`.

#include <algorithm>

#include "supervisor/ctl/bench_load.h"

namespace cosigner::ctl {
namespace {

/// Coordinators and sets are drawn by chance, so some pools are used more than their part.
constexpr double kReserve = 1.25;
constexpr std::uint32_t kChunk = 240;
constexpr std::uint32_t kPortion = 60;

const PresignResult* presigned_part(const Completion& completion) {
  return completion.result ? std::get_if<PresignResult>(&completion.result->answer.content)
                           : nullptr;
}

/// Each user's pools hold `each` presignatures more afterwards.
Outcome<void> fill(const BenchContext& context, const BenchOptions& options,
                   const std::vector<BenchUser>& users, std::uint64_t each,
                   PresignedReport& report) {
  Progress progress(options.progress, "presigning");
  const std::uint64_t chunks = (each + kChunk - 1) / kChunk;
  std::optional<Failure> failure;
  const auto begin = BenchClock::now();
  const auto ran =
      run_load(context, {.concurrency = std::min<std::uint32_t>(4, options.users),
                         .count = chunks * users.size(),
                         .timeout = std::chrono::seconds(70),
                         .make =
                             [&](std::uint64_t i) {
                               return presign_request_for(context, users[i % users.size()], kChunk);
                             },
                         .done =
                             [&](Completion& completion) {
                               if (const PresignResult* part = presigned_part(completion)) {
                                 report.filled += part->made;
                               } else if (!completion.result) {
                                 failure = failure ? failure : completion.result.error();
                               }
                               progress.show(report.filled, 0);
                             },
                         .beside = {}});
  report.fill_seconds = seconds_since(begin);
  if (!ran) {
    return ran;
  }
  if (failure) {
    failure->error.message = "making presignatures: " + failure->error.message;
    return std::unexpected(*failure);
  }
  return {};
}

}  // namespace

Outcome<BenchReport> bench_sign_presigned(const BenchContext& context,
                                          const BenchOptions& options) {
  BenchReport report("sign", options);
  report.options.count = options.count.value_or(2000);
  std::vector<BenchUser> users = new_users(options.users, context.random);
  if (auto made = make_keys(context, options, users); !made) {
    return std::unexpected(made.error());
  }
  PresignedReport presigned;
  const auto each = static_cast<std::uint64_t>(
      static_cast<double>(*report.options.count / users.size() + 1) * kReserve);
  if (auto filled = fill(context, options, users, each, presigned); !filled) {
    return std::unexpected(filled.error());
  }
  const auto sign = [&](std::uint64_t i) {
    return sign_request_for(context, options, users[i % users.size()]);
  };
  measure(context, report, {.timeout = options.timeout, .make = sign, .done = {}, .beside = {}});

  if (!report.lost && !context.interrupted) {
    BenchReport sustained = report;
    sustained.latencies = {};
    sustained.errors = {};
    sustained.messages = {};
    sustained.what = "sign with refill";
    // As many presignatures as signatures, in portions.
    std::uint64_t portions = 0;
    measure(context, sustained,
            {.timeout = options.timeout,
             .make = sign,
             .done =
                 [&](Completion& completion) {
                   if (const PresignResult* part = presigned_part(completion)) {
                     presigned.refilled += part->made;
                   }
                 },
             .beside = [&]() -> Outcome<std::optional<PreparedRequest>> {
               if (portions * kPortion > sustained.latencies.count()) {
                 return std::nullopt;
               }
               return presign_request_for(context, users[portions++ % users.size()], kPortion);
             }});
    presigned.sustained = sustained.latencies.count();
    presigned.sustained_seconds = sustained.seconds;
    presigned.sustained_p50_ms = sustained.latencies.quantile_ms(0.5);
    for (const auto& [name, number] : sustained.errors) {
      report.errors[name] += number;
      report.messages.try_emplace(name, sustained.messages.at(name));
    }
    report.may_have_executed = report.may_have_executed || sustained.may_have_executed;
    report.lost = sustained.lost;
  }
  report.presigned = presigned;
  return report;
}

}  // namespace cosigner::ctl
