// Burn: strikes and bans of pairwise OT state. A check is durable before it runs; a death before it
// has ended is a strike, the third bans; a failed check bans at once.

#include "supervisor/store/statements.h"

namespace cosigner::supervisor {
namespace {

std::unexpected<Error> altered() {
  return fail(ErrorCode::kStorageFailed,
              "A stored ban or strike was altered outside of cosignerd: restore a backup.");
}

}  // namespace

Expected<std::optional<PeerRecord>> Store::find_pair(const std::string& user,
                                                     const PeerRecord& pair, bool& open) {
  auto run = sql_->get_pair.run(user, pair.key, pair.epoch, pair.peer);
  const auto row = run.step();
  if (!row) {
    return std::unexpected(row.error());
  }
  if (!*row) {
    return std::nullopt;
  }
  if (!constant_time_equal(
          mac("pairs", {as_bytes(user), run.blob(0), Number(run.integer(1)), run.blob(2),
                        Number(run.integer(3)), Number(run.integer(4)), Number(run.integer(5))}),
          run.blob(6))) {
    return altered();
  }
  open = run.integer(3) != 0;
  return PeerRecord{run.text(0), run.integer(1), run.text(2), run.integer(4), run.integer(5) != 0};
}

Expected<void> Store::write_pair(const std::string& user, const PeerRecord& pair, bool open) {
  const std::uint64_t opened = open ? 1 : 0;
  const std::uint64_t banned = pair.banned ? 1 : 0;
  return sql_->put_pair
      .run(
          user, pair.key, pair.epoch, pair.peer, opened, pair.strikes, banned,
          mac("pairs", {as_bytes(user), as_bytes(pair.key), Number(pair.epoch), as_bytes(pair.peer),
                        Number(opened), Number(pair.strikes), Number(banned)}))
      .execute();
}

Expected<void> Store::checking(const std::string& user, const PeerRecord& pair) {
  bool open = false;
  auto known = find_pair(user, pair, open);
  if (!known) {
    return std::unexpected(known.error());
  }
  PeerRecord next = known->value_or(PeerRecord{pair.key, pair.epoch, pair.peer, 0, false});
  if (next.banned) {
    return fail(ErrorCode::kBanned, "this pair is banned until its OT state is renewed");
  }
  return write_pair(user, next, true);
}

Expected<void> Store::checked(const std::string& user, const PeerRecord& pair) {
  bool open = false;
  auto known = find_pair(user, pair, open);
  if (!known) {
    return std::unexpected(known.error());
  }
  if (!*known || !open) {
    return fail(ErrorCode::kBadRequest, "no check of this pair has begun");
  }
  return write_pair(user, **known, false);
}

Expected<void> Store::ban(const std::string& user, const PeerRecord& pair) {
  bool open = false;
  auto known = find_pair(user, pair, open);
  if (!known) {
    return std::unexpected(known.error());
  }
  PeerRecord next = known->value_or(PeerRecord{pair.key, pair.epoch, pair.peer, 0, false});
  next.banned = true;
  return write_pair(user, next, false);
}

Expected<std::vector<PeerRecord>> Store::settle_strikes(const std::string& user) {
  std::vector<PeerRecord> all;
  std::vector<PeerRecord> interrupted;
  {
    auto run = sql_->pairs_of_user.run(user);
    for (;;) {
      const auto row = run.step();
      if (!row) {
        return std::unexpected(row.error());
      }
      if (!*row) {
        break;
      }
      bool open = false;
      const PeerRecord name{run.text(0), run.integer(1), run.text(2), 0, false};
      auto pair = find_pair(user, name, open);
      if (!pair || !*pair) {
        return altered();
      }
      if (open) {
        ++(*pair)->strikes;
        (*pair)->banned = (*pair)->banned || (*pair)->strikes >= kStrikesToBan;
        interrupted.push_back(**pair);
      }
      all.push_back(**pair);
    }
  }
  for (const PeerRecord& pair : interrupted) {
    if (auto done = write_pair(user, pair, false); !done) {
      return std::unexpected(done.error());
    }
  }
  return all;
}

Expected<void> Store::lift(const std::string& user, const PeerRecord& pair) {
  return sql_->erase_pair.run(user, pair.key, pair.epoch, pair.peer).execute();
}

}  // namespace cosigner::supervisor
