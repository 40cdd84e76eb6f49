// What the pool makes of what a worker says, and what it tells one.

#include <spdlog/sinks/ostream_sink.h>
#include <sqlite3.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "ipc/key_record.h"
#include "ipc/names.h"
#include "supervisor/log/log.h"
#include "supervisor/log/set_up.h"
#include "tests/support/log_lines.h"
#include "tests/unit/service/played_worker.h"

namespace cosigner::supervisor::test {
namespace {

/// A key of alice's with OT state between node1 and node2.
ipc::StorePending key_order(std::uint64_t order) {
  KeyRecord record;
  record.cluster = "dev";
  record.user = "alice";
  record.key = "main";
  record.scheme = Scheme::kEcdsaSecp256k1;
  record.epoch = 1;
  record.threshold = 2;
  record.participants = {{1, "node1"}, {2, "node2"}};
  record.public_key = ByteVector(33, 2);
  record.public_shares = {ByteVector(33, 2), ByteVector(33, 2)};
  record.session.data.fill(3);
  return {.order = order,
          .key = {.key = record.key,
                  .epoch = 1,
                  .state = ipc::KeyState::kPending,
                  .session = record.session,
                  .record = encode_key_record(record),
                  .sealed_share = ByteVector(100, 4),
                  .certificate = {}}};
}

ipc::Burn burn(std::uint64_t order, bool failed, const std::string& key = "main") {
  return {.order = order,
          .key = key,
          .epoch = 1,
          .peer = "node2",
          .failed = failed,
          .sealed_share = ByteVector(90, 5)};
}

}  // namespace

TEST_CASE("worker pool: a renewal ordered while the worker starts reaches it") {
  PlayedPool node;
  node.request("alice");
  PlayedWorker worker(node, "alice");
  node.await_store();  // what the worker is started with has been read
  REQUIRE(node.pool.renew_pair("alice", {.key = "main", .epoch = 3, .peer = "node2"}));
  REQUIRE(node.pool.renew_pair("alice", {.key = "other", .epoch = 1, .peer = "node2"}));
  worker.say_hello();
  const auto last = worker.await<ipc::RenewPair>(2);
  CHECK(last.key == "other");
  REQUIRE(worker.got().size() == 3);
  CHECK(worker.got()[0].type == ipc::MessageType::kWorkerStart);
  const auto first = ipc::decode<ipc::RenewPair>(worker.got()[1]);
  REQUIRE(first);
  CHECK(first->key == "main");
  CHECK(first->epoch == 3);
  CHECK(first->peer == "node2");
  // Of a worker that has started the next is told at once.
  REQUIRE(node.pool.renew_pair("alice", {.key = "third", .epoch = 1, .peer = "node2"}));
  CHECK(worker.await<ipc::RenewPair>(3).key == "third");
  CHECK(node.pool.registry().live() == 1);
}

TEST_CASE("worker pool: an erasure settles no check that is open") {
  PlayedPool node;
  node.request("alice");
  PlayedWorker worker(node, "alice");
  worker.start();
  worker.say(key_order(1));
  REQUIRE(worker.stored(1).ok);
  worker.say(burn(2, true));
  REQUIRE(worker.stored(2).ok);
  REQUIRE(node.pairs.size() == 1);
  CHECK(node.pairs[0].banned);

  const ipc::Checking check{.key = "main", .epoch = 1, .peer = "node2"};
  worker.say(check);
  worker.say(burn(3, false));
  REQUIRE(worker.stored(3).ok);
  CHECK(node.pool.open_checks(worker.generation()) == 1);
  worker.say(ipc::Checked{.key = "main", .epoch = 1, .peer = "node2"});
  worker.say(burn(4, false));
  REQUIRE(worker.stored(4).ok);
  CHECK(node.pool.open_checks(worker.generation()) == 0);
  CHECK(worker.serves());
  CHECK(node.pool.pair_counters().checks == 1);
  CHECK(node.pool.pair_counters().bans == 1);
}

TEST_CASE("worker pool: a worker whose burn is refused is ended, for it would stay silent") {
  const auto ended_by = [](const ipc::Burn& order) {
    PlayedPool node;
    node.request("alice");
    PlayedWorker worker(node, "alice");
    worker.start();
    worker.say(order);
    REQUIRE(node.loop.until([&] { return !node.outcomes.empty(); }));
    CHECK(node.outcomes == std::vector<std::string>{"worker_crashed"});
    CHECK(node.answers.size() == 1);
    CHECK(node.loop.until([&] { return worker.over(); }));
  };
  ended_by(burn(1, true, "nokey"));  // the store knows no such key
  ipc::Burn stranger = burn(1, true);
  stranger.peer = "node3";
  ended_by(stranger);
}

TEST_CASE("worker pool: a ban whose share cannot be stored is a ban all the same") {
  PlayedPool node;
  node.request("alice");
  PlayedWorker worker(node, "alice");
  worker.start();
  worker.say(key_order(1));
  REQUIRE(worker.stored(1).ok);
  ipc::Burn order = burn(2, true);
  order.sealed_share.clear();
  worker.say(order);
  REQUIRE(node.loop.until([&] { return worker.over() && !node.outcomes.empty(); }));
  std::vector<PairRecord> pairs;
  node.store->submit(
      StoreThread::Urgency::kNow, [](Store& store) { return store.pairs_of("alice"); },
      [&pairs](const Expected<std::vector<PairRecord>>& found) {
        pairs = found.value_or(std::vector<PairRecord>());
      });
  node.await_store();
  REQUIRE(pairs.size() == 1);
  CHECK(pairs[0].peer == "node2");
  CHECK(pairs[0].banned == BanReason::kCheckFailed);
}

TEST_CASE("worker pool: each use of a presignature is a line at level debug, and at no other") {
  std::ostringstream out;
  const auto sink = std::make_shared<spdlog::sinks::ostream_sink_st>(out);
  sink->set_formatter(make_json_formatter("node1"));
  PlayedPool node;
  node.request("alice");
  PlayedWorker worker(node, "alice");
  worker.start();
  ipc::PresignatureUsed used{.key = "main", .presignature = {}, .session = {}, .attempt = 2};
  used.presignature.data.fill(0xab);
  used.session.data.fill(0xcd);
  std::uint64_t order = 0;
  const auto said_at = [&](spdlog::level::level_enum level, const std::string& key) {
    const auto before = spdlog::default_logger();
    const auto logger = std::make_shared<spdlog::logger>("test", sink);
    logger->set_level(level);
    spdlog::set_default_logger(logger);
    used.key = key;
    worker.say(used);
    worker.say(key_order(++order));  // is answered after it
    worker.stored(order);
    spdlog::set_default_logger(before);
    return std::exchange(out, std::ostringstream()).str();
  };
  CHECK(said_at(spdlog::level::info, "main").find("presignature") == std::string::npos);
  CHECK(said_at(spdlog::level::debug, "no key!").find("presignature") == std::string::npos);
  std::istringstream lines(said_at(spdlog::level::debug, "main"));
  std::size_t found = 0;
  for (std::string line; std::getline(lines, line);) {
    const auto parsed = nlohmann::json::parse(line);
    if (parsed.contains("presignature_id")) {
      ++found;
      CHECK(parsed["level"] == "debug");
      CHECK(parsed["user_id"] == "alice");
      CHECK(parsed["generation"] == std::to_string(worker.generation()));
      CHECK(parsed["presignature_id"] == to_hex(used.presignature));
      CHECK(parsed["session_id"] == to_hex(used.session));
      CHECK(parsed["message"] == "presignature of key main used in attempt 2");
    }
  }
  CHECK(found == 1);
  CHECK(worker.serves());
}

TEST_CASE("worker pool: with hashed users no line about a pair or the store names one") {
  const cosigner::test::LogLines lines(make_text_formatter("node1"));
  PlayedPool node;
  set_log_users(true, "dev");
  const auto said = [&lines](const PlayedWorker& worker, std::string_view text) {
    const std::string line = "user_id=" + user_subject_token("dev", "alice") +
                             " generation=" + std::to_string(worker.generation()) + ": " +
                             std::string(text);
    INFO(line << " in\n" << lines.text());
    CHECK(lines.text().find(line) != std::string::npos);
  };
  node.request("alice");
  {
    PlayedWorker worker(node, "alice");
    worker.start();
    worker.say(key_order(1));
    REQUIRE(worker.stored(1).ok);
    worker.say(burn(2, true));
    REQUIRE(worker.stored(2).ok);
    said(worker, "key=main peer=node2: banned: ");
    worker.say(ipc::Checking{.key = "main", .epoch = 1, .peer = "node2"});
    REQUIRE(node.loop.until([&] { return node.pool.open_checks(worker.generation()) == 1; }));
    worker.say(burn(3, true, "nokey"));  // which ends it
    REQUIRE(node.loop.until([&] { return worker.over() && node.pairs.size() == 2; }));
    said(worker, "key=main peer=node2: the worker died during a check of its messages");
  }
  sqlite3* database = nullptr;
  const std::string path = node.files.config.state_directory + "/cosigner.db";
  REQUIRE(sqlite3_open(path.c_str(), &database) == SQLITE_OK);
  REQUIRE(sqlite3_exec(database, "UPDATE keys SET mac = zeroblob(32)", nullptr, nullptr, nullptr) ==
          SQLITE_OK);
  REQUIRE(sqlite3_changes(database) == 1);
  sqlite3_close(database);
  REQUIRE(node.loop.until([&] { return node.pool.registry().live() == 0; }));
  node.request("alice");
  {
    PlayedWorker worker(node, "alice");
    worker.start();
    said(worker, "key=main: altered in the store outside of cosignerd and not used");
    worker.say(key_order(4));
    REQUIRE_FALSE(worker.stored(4).ok);
    said(worker, "A stored row of the user does not carry this node's authentication");
  }
  CHECK(lines.text().find("alice") == std::string::npos);
}

TEST_CASE("worker pool: who does not read hears how the peers stand once it does") {
  PlayedPool node;
  node.request("alice");
  PlayedWorker worker(node, "alice");
  worker.start();
  worker.channel().pause();
  constexpr std::size_t kNews = 5000;  // more than the socket takes
  for (std::size_t k = 0; k < kNews; ++k) {
    node.pool.broadcast({.node = "node2", .present = false});
  }
  node.present = {"node1", "node2"};
  node.pool.broadcast({.node = "node2", .present = true});
  node.pool.tick();
  CHECK(node.pool.ticks_dropped() == 1);
  worker.channel().resume();
  REQUIRE(node.loop.until([&] {
    node.pool.tick();
    return worker.count(ipc::MessageType::kTick) > 0;
  }));
  const std::size_t told = worker.count(ipc::MessageType::kPresence);
  CHECK(told > 1);
  CHECK(told < kNews);
  CHECK(worker.await<ipc::Presence>(told).present);
  CHECK(worker.await<ipc::Presence>(told).node == "node2");
  CHECK(worker.serves());
  // And nothing is owed any more: news are news again.
  node.pool.broadcast({.node = "node2", .present = false});
  CHECK_FALSE(worker.await<ipc::Presence>(told + 1).present);
}

}  // namespace cosigner::supervisor::test
