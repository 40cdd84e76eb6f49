#include "supervisor/ctl/bench_load.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace cosigner::ctl {

Progress::~Progress() {
  if (drawn_) {
    std::fputs("\r\033[K", stderr);
  }
}

void Progress::show(std::uint64_t done, std::uint64_t errors) {
  if (!enabled_ || BenchClock::now() < next_) {
    return;
  }
  next_ = BenchClock::now() + std::chrono::milliseconds(250);
  std::fprintf(stderr, "\r\033[K%s: %llu done, %llu errors, %.1f s", what_.c_str(),
               static_cast<unsigned long long>(done), static_cast<unsigned long long>(errors),
               seconds_since(begin_));
  std::fflush(stderr);
  drawn_ = true;
}

double seconds_since(BenchClock::time_point begin) {
  return std::chrono::duration<double>(BenchClock::now() - begin).count();
}

std::vector<BenchUser> new_users(std::uint32_t count, Random& random) {
  std::array<std::uint8_t, 4> run{};
  random.fill(run);
  std::vector<BenchUser> users(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    users[i].name = "bench-" + to_hex(run) + "-" + std::to_string(i);
  }
  return users;
}

Outcome<PreparedRequest> keygen_request(const BenchContext& context, const BenchOptions& options,
                                        const std::string& user) {
  Request request = new_request(context.cluster, context.initiator, Operation::kKeygen,
                                options.keygen_timeout, context.random);
  request.user = user;
  request.key = kBenchKey;
  request.scheme = options.scheme;
  request.threshold = options.threshold;
  for (const ipc::Peer& peer : context.cluster.nodes) {
    request.participants.push_back(peer.node);
  }
  return prepare(context.cluster, context.initiator, std::move(request), std::nullopt);
}

Outcome<PreparedRequest> presign_request_for(const BenchContext& context, const BenchUser& user,
                                             std::uint32_t count) {
  Request request = new_request(context.cluster, context.initiator, Operation::kPresign,
                                std::chrono::seconds(70), context.random);
  request.user = user.name;
  request.key = kBenchKey;
  request.scheme = Scheme::kEcdsaSecp256k1;
  request.count = count;
  return prepare(context.cluster, context.initiator, std::move(request), user.key);
}

Outcome<PreparedRequest> sign_request_for(const BenchContext& context, const BenchOptions& options,
                                          const BenchUser& user) {
  Request request = new_request(context.cluster, context.initiator, Operation::kSign,
                                options.timeout, context.random);
  request.user = user.name;
  request.key = kBenchKey;
  request.scheme = options.scheme;
  request.message.resize(32);
  context.random.fill(request.message);
  return prepare(context.cluster, context.initiator, std::move(request), user.key);
}

Outcome<void> run_load(const BenchContext& context, const Load& load) {
  Pipeline pipeline(context.node);
  std::uint64_t started = 0;
  bool stopping = false;
  bool beside_in_flight = false;
  for (;;) {
    stopping =
        stopping || context.interrupted || started >= load.count || BenchClock::now() >= load.end;
    if (!stopping && load.beside && !beside_in_flight) {
      auto request = load.beside();
      if (!request) {
        return std::unexpected(request.error());
      }
      if (*request) {
        if (auto sent = pipeline.start(std::move(**request), Load::kBeside, load.beside_timeout);
            !sent) {
          return std::unexpected(sent.error());
        }
        beside_in_flight = true;
      }
    }
    while (!stopping && pipeline.in_flight() < load.concurrency + (beside_in_flight ? 1U : 0U) &&
           started < load.count) {
      auto request = load.make(started);
      if (!request) {
        return std::unexpected(request.error());
      }
      if (auto sent = pipeline.start(std::move(*request), started, load.timeout); !sent) {
        return std::unexpected(sent.error());
      }
      ++started;
    }
    if (pipeline.in_flight() == 0 || context.interrupted) {
      return {};
    }
    auto completion = pipeline.next(std::chrono::milliseconds(100));
    if (!completion) {
      return std::unexpected(completion.error());
    }
    if (*completion) {
      if ((*completion)->tag == Load::kBeside) {
        beside_in_flight = false;
      }
      load.done(**completion);
    }
  }
}

namespace {

KeyView key_view(const KeygenResult& result) {
  KeyView view;
  view.scheme = result.scheme;
  view.public_key = result.public_key;
  if (const auto record = decode_key_record(result.record)) {
    view.threshold = record->threshold;
    for (const auto& [index, node] : record->participants) {
      view.participants.push_back(node);
    }
  }
  return view;
}

}  // namespace

Outcome<void> make_keys(const BenchContext& context, const BenchOptions& options,
                        std::vector<BenchUser>& users) {
  Progress progress(options.progress, "making keys");
  std::optional<Failure> failure;
  std::uint64_t made = 0;
  const auto ran = run_load(
      context,
      {.concurrency = std::min<std::uint32_t>(16, options.users),
       .count = users.size(),
       .timeout = options.keygen_timeout,
       .make = [&](std::uint64_t i) { return keygen_request(context, options, users[i].name); },
       .done =
           [&](Completion& completion) {
             if (!completion.result) {
               failure = failure ? failure : completion.result.error();
               return;
             }
             const auto* result = std::get_if<KeygenResult>(&completion.result->answer.content);
             if (result != nullptr) {
               users[completion.tag].key = key_view(*result);
             }
             progress.show(++made, 0);
           },
       .beside = {}});
  if (!ran) {
    return ran;
  }
  if (failure) {
    failure->error.message = "making the keys: " + failure->error.message;
    return std::unexpected(*failure);
  }
  return {};
}

void measure(const BenchContext& context, BenchReport& report, Load load) {
  Progress progress(report.options.progress, report.what);
  load.concurrency = report.options.concurrency;
  const BenchClock::time_point begin = BenchClock::now();
  if (report.options.count) {
    load.count = *report.options.count;
  } else {
    load.end = begin + std::chrono::duration_cast<BenchClock::duration>(
                           std::chrono::duration<double>(report.options.duration_s.value_or(10)));
  }
  BenchClock::time_point last = begin;
  const auto beside_done = std::move(load.done);
  load.done = [&](Completion& completion) {
    if (completion.tag == Load::kBeside) {
      if (beside_done) {
        beside_done(completion);
      }
      return;
    }
    last = BenchClock::now();
    if (completion.result) {
      report.latencies.add(completion.took);
    } else {
      report.add(completion.result.error().error);
    }
    progress.show(report.latencies.count(), report.error_count());
  };
  if (auto ran = run_load(context, load); !ran) {
    report.lost = ran.error();
  }
  report.seconds = std::chrono::duration<double>(last - begin).count();
  report.interrupted = context.interrupted;
}

}  // namespace cosigner::ctl
