// Checks of stored keys by their user's worker: what the pool asks, and what becomes of it.

#include "tests/unit/service/played_worker.h"

namespace cosigner::supervisor::test {
namespace {

ipc::StoredKey row_to_verify(const std::string& name) {
  return {.key = name,
          .epoch = 3,
          .state = ipc::KeyState::kActive,
          .session = {},
          .record = ByteVector(20, 1),
          .sealed_share = ByteVector(100, 2),
          .certificate = ByteVector(30, 3)};
}

/// What an operator hears.
struct VerdictListener {
  std::vector<std::pair<std::string, ipc::KeyFault>> verdicts;
  std::vector<std::optional<Error>> ends;
  bool listens = true;

  Verification order(const std::vector<std::string>& names) {
    Verification out;
    for (const std::string& name : names) {
      out.keys.push_back(row_to_verify(name));
    }
    out.on_key = [this](const ipc::StoredKey& key, ipc::KeyFault fault) {
      verdicts.emplace_back(key.key, fault);
      return listens;
    };
    out.on_end = [this](const std::optional<Error>& error) { ends.push_back(error); };
    return out;
  }
};

}  // namespace

TEST_CASE("worker pool: stored keys go to a worker one at a time, and it is started for them") {
  VerdictListener listener;  // the pool may still tell it something when it ends
  PlayedPool node;
  REQUIRE(node.pool.verify("alice", listener.order({"main", "spare"})));
  PlayedWorker worker(node, "alice");
  worker.say_hello();
  const auto first = worker.await<ipc::VerifyKey>();
  CHECK(worker.got()[0].type == ipc::MessageType::kWorkerStart);
  CHECK(first.key.key == "main");
  CHECK(first.key.epoch == 3);
  CHECK(first.key.sealed_share == ByteVector(100, 2));
  CHECK(first.key.record == ByteVector(20, 1));
  CHECK(first.key.certificate == ByteVector(30, 3));
  worker.say(ipc::WorkerReady{.threads = 1});
  // One at a time for each user.
  const auto second_order = node.pool.verify("alice", listener.order({"main"}));
  REQUIRE_FALSE(second_order);
  CHECK(second_order.error().code == ErrorCode::kOverloaded);
  CHECK(second_order.error().retryable);

  worker.say(ipc::KeyVerified{.number = first.number + 1, .fault = ipc::KeyFault::kShare});
  worker.say(ipc::KeyVerified{.number = first.number, .fault = ipc::KeyFault::kSeal});
  const auto second = worker.await<ipc::VerifyKey>(2);
  CHECK(second.key.key == "spare");
  CHECK(second.number != first.number);
  CHECK(listener.ends.empty());
  worker.say(ipc::KeyVerified{.number = second.number, .fault = ipc::KeyFault::kNone});
  REQUIRE(node.loop.until([&] { return !listener.ends.empty(); }));
  CHECK_FALSE(listener.ends[0]);
  CHECK(listener.verdicts == std::vector<std::pair<std::string, ipc::KeyFault>>{
                                 {"main", ipc::KeyFault::kSeal}, {"spare", ipc::KeyFault::kNone}});
  // The next goes to the worker that runs. Nobody listens to it: the second key is not asked for.
  listener.listens = false;
  REQUIRE(node.pool.verify("alice", listener.order({"main", "spare"})));
  const auto third = worker.await<ipc::VerifyKey>(3);
  worker.say(ipc::KeyVerified{.number = third.number, .fault = ipc::KeyFault::kNone});
  REQUIRE(node.loop.until([&] { return listener.verdicts.size() == 3; }));
  listener.listens = true;
  REQUIRE(node.pool.verify("alice", listener.order({"last"})));
  CHECK(worker.await<ipc::VerifyKey>(4).key.key == "last");
  CHECK(listener.ends.size() == 1);
  CHECK(worker.serves());
}

TEST_CASE("worker pool: who asked for a check hears that the worker died over it") {
  VerdictListener listener;  // the pool may still tell it something when it ends
  PlayedPool node;
  REQUIRE(node.pool.verify("alice", listener.order({"main"})));
  PlayedWorker worker(node, "alice");
  worker.say_hello();
  worker.await<ipc::VerifyKey>();
  worker.say(ipc::Tick{});  // no worker says that: it is ended
  REQUIRE(node.loop.until([&] { return !listener.ends.empty(); }));
  REQUIRE(listener.ends[0]);
  CHECK(listener.ends[0]->code == ErrorCode::kWorkerCrashed);
  CHECK(listener.ends[0]->message.find("main") != std::string::npos);
  CHECK(listener.verdicts.empty());
  CHECK(listener.ends.size() == 1);
}

TEST_CASE("worker pool: keys of a user that is not served are not checked, and bounds hold") {
  VerdictListener listener;  // the pool may still tell it something when it ends
  PlayedPool node;
  node.pool.quarantine("alice");
  const auto refused = node.pool.verify("alice", listener.order({"main"}));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::kQuarantined);
  REQUIRE(node.pool.clear("alice"));
  // The refused one holds no place: there are two.
  REQUIRE(node.pool.verify("alice", listener.order({"main"})));
  REQUIRE(node.pool.verify("bob", listener.order({"main"})));
  const auto third = node.pool.verify("carol", listener.order({"main"}));
  REQUIRE_FALSE(third);
  CHECK(third.error().code == ErrorCode::kOverloaded);
  CHECK(listener.ends.empty());
}

}  // namespace cosigner::supervisor::test
