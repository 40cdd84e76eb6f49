// Results of sessions, kept so that the same request gets the same answer; and who may not use its
// id again.

#include "supervisor/store/statements.h"

namespace cosigner::supervisor {

Expected<void> Store::store_result(const std::string& user, const ipc::StoreResult& result) {
  {
    auto run = sql_->get_result.run(result.session);
    const auto row = run.step();
    if (!row) {
      return std::unexpected(row.error());
    }
    if (*row) {
      if (run.text(0) != user) {
        return fail(ErrorCode::kConflict, "this session is another user's");
      }
      return {};
    }
  }
  return sql_->put_result
      .run(result.session, user, result.initiator, result.id, result.keep_until_ms, result.answer,
           mac("results", {result.session, as_bytes(user), result.initiator, result.id,
                           Number(result.keep_until_ms), result.answer}))
      .execute();
}

Expected<FoundResult> Store::find_result(const std::string& user, const ipc::ResultLookup& lookup) {
  FoundResult out;
  {
    auto run = sql_->get_result.run(lookup.session);
    const auto row = run.step();
    if (!row) {
      return std::unexpected(row.error());
    }
    if (*row && run.text(0) == user) {
      if (!constant_time_equal(mac("results", {lookup.session, run.blob(0), run.blob(1),
                                               run.blob(2), Number(run.integer(3)), run.blob(4)}),
                               run.blob(5))) {
        return fail(ErrorCode::kStorageFailed,
                    "A stored result of the user was altered outside of cosignerd.");
      }
      out.answer = to_vector(run.blob(4));
      return out;
    }
  }
  auto run = sql_->get_result_by_id.run(lookup.initiator, lookup.id, lookup.session);
  const auto row = run.step();
  if (!row) {
    return std::unexpected(row.error());
  }
  out.replayed = *row;
  return out;
}

Expected<std::uint64_t> Store::purge_results(std::uint64_t now_ms, std::uint64_t limit) {
  std::uint64_t count = 0;
  auto run = sql_->purge_results.run(now_ms, limit);
  for (;;) {
    const auto row = run.step();
    if (!row) {
      return std::unexpected(row.error());
    }
    if (!*row) {
      return count;
    }
    ++count;
  }
}

}  // namespace cosigner::supervisor
