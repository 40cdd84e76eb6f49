#include "supervisor/ctl/pipeline.h"

#include <algorithm>
#include <utility>

#include "ipc/map_reader.h"
#include "supervisor/service/clock.h"

namespace cosigner::ctl {
namespace {

/// The answer envelope in a reply to `submit`, if it holds one.
std::optional<ByteVector> submitted_answer(const ipc::ControlReply& reply) {
  const auto tree = ipc::Tree::parse(reply.body);
  if (!tree) {
    return std::nullopt;
  }
  ipc::MapReader fields(tree->root(), "submit");
  if (!fields.has("answer")) {
    return std::nullopt;
  }
  ByteVector answer = to_vector(fields.bytes("answer"));
  return fields.failed() ? std::nullopt : std::optional(std::move(answer));
}

/// How often requests in flight are held against their deadlines.
constexpr std::chrono::milliseconds kExpiryInterval{50};

}  // namespace

Outcome<void> Pipeline::start(PreparedRequest request, std::uint64_t tag,
                              std::chrono::milliseconds timeout) {
  const auto now = Clock::now();
  const auto call = node_.send("submit", std::move(request.submit_arguments));
  if (!call) {
    return std::unexpected(call.error());
  }
  in_flight_.emplace(*call, InFlight{tag, std::move(request.rules), now, now + timeout});
  return {};
}

Outcome<std::optional<Completion>> Pipeline::next(std::chrono::milliseconds wait) {
  const auto end = Clock::now() + wait;
  for (;;) {
    if (Clock::now() >= next_expiry_check_) {
      next_expiry_check_ = Clock::now() + kExpiryInterval;
      auto expired = expire();
      if (!expired || *expired) {
        return expired;
      }
    }
    const auto left = std::max(end - Clock::now(), Clock::duration::zero());
    auto reply = node_.receive(
        std::min(kExpiryInterval, std::chrono::ceil<std::chrono::milliseconds>(left)));
    if (!reply) {
      return std::unexpected(reply.error());
    }
    if (*reply) {
      auto completion = take(**reply);
      if (!completion || *completion) {
        return completion;
      }
    } else if (left < kExpiryInterval) {
      return std::nullopt;
    }
  }
}

Outcome<std::optional<Completion>> Pipeline::take(const ipc::ControlReply& reply) {
  const auto entry = in_flight_.find(reply.call);
  if (entry == in_flight_.end()) {
    return std::nullopt;  // a late answer to a request that has settled
  }
  if (!reply.error_name.empty()) {
    return finish(entry, refused(reply_error(reply)), false);
  }
  ClientRules& rules = entry->second.rules;
  if (const auto answer = submitted_answer(reply)) {
    rules.feed(*answer, supervisor::wall_seconds());
  }
  if (rules.settled()) {
    if (const auto* error = std::get_if<Error>(&rules.outcome().content)) {
      return finish(entry, refused(*error), !reply.final);
    }
    return finish(entry, Answered{rules.outcome(), rules.answered_by()}, !reply.final);
  }
  if (reply.final) {  // the gateway has stopped listening: its own deadline
    return finish(entry,
                  std::unexpected(Failure{ExitStatus::kDeadline, rules.deadline_error(), false}),
                  false);
  }
  return std::nullopt;
}

Outcome<std::optional<Completion>> Pipeline::expire() {
  const auto now = Clock::now();
  const auto entry = std::ranges::find_if(
      in_flight_, [now](const auto& item) { return item.second.deadline <= now; });
  if (entry == in_flight_.end()) {
    return std::nullopt;
  }
  Error error = entry->second.rules.deadline_error();
  return finish(entry, std::unexpected(Failure{ExitStatus::kDeadline, std::move(error), false}),
                true);
}

Outcome<std::optional<Completion>> Pipeline::finish(Entry entry, Outcome<Answered> result,
                                                    bool cancel) {
  const std::uint64_t call = entry->first;
  Completion completion{entry->second.tag, Clock::now() - entry->second.started, std::move(result)};
  in_flight_.erase(entry);
  if (cancel) {
    if (auto sent = node_.cancel(call); !sent) {
      return std::unexpected(sent.error());
    }
  }
  return completion;
}

Outcome<Answered> run_request(ControlClient& node, PreparedRequest request,
                              std::chrono::milliseconds timeout,
                              const std::function<void(std::chrono::seconds)>& waiting) {
  Pipeline pipeline(node);
  const auto begin = Pipeline::Clock::now();
  if (auto started = pipeline.start(std::move(request), 0, timeout); !started) {
    return std::unexpected(started.error());
  }
  for (;;) {
    auto completion = pipeline.next(std::chrono::seconds(1));
    if (!completion) {
      return std::unexpected(completion.error());
    }
    if (*completion) {
      return std::move((*completion)->result);
    }
    if (waiting) {
      waiting(std::chrono::duration_cast<std::chrono::seconds>(Pipeline::Clock::now() - begin));
    }
  }
}

}  // namespace cosigner::ctl
