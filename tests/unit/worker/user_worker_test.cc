// The user worker as its supervisor sees it: a real forked worker with a real broker.

#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <thread>

#include "crypto/identity/certificate.h"
#include "crypto/identity/statement.h"
#include "ipc/answer.h"
#include "ipc/child_messages.h"
#include "ipc/key_record.h"
#include "ipc/request.h"
#include "ipc/sandboxed.h"
#include "ipc/start_keys.h"
#include "ipc/store_messages.h"
#include "ipc/worker_messages.h"
#include "nats_server.h"
#include "test_supervisor.h"
#include "tests/support/wall_clock.h"
#include "tests/unit/worker/two_nodes.h"
#include "worker/user/subjects.h"
#include "worker/user/throw_trace.h"

using namespace cosigner;
using namespace cosigner::worker;
using cosigner::test::NatsServer;
using cosigner::test::TestChild;
using cosigner::test::TestSupervisor;
using cosigner::test::TwoNodes;
using cosigner::test::TwoWorkers;

namespace {

using cosigner::test::wall_seconds;

struct Node {
  SystemRandom random;
  IdentityKey identity = IdentityKey::generate(random);
  IdentityKey initiator = IdentityKey::generate(random);
  NatsServer server;
  TestSupervisor supervisor;
  std::uint64_t generation = 0;

  ipc::WorkerStart start_for(const ipc::WorkerHello& hello, const std::string& user) {
    Certificate certificate;
    certificate.cluster = "test";
    certificate.node = "node1";
    certificate.user = user;
    certificate.generation = generation;
    certificate.x25519 = hello.channel_key;
    certificate.ed25519 = hello.signing_key;
    certificate.not_before = wall_seconds() - 1;
    certificate.not_after = certificate.not_before + kCertificateLifetimeSeconds;
    sign_certificate(certificate, identity);
    ipc::WorkerStart start;
    start.cluster = "test";
    start.node = "node1";
    start.user = user;
    start.generation = generation;
    start.certificate = encode_certificate(certificate);
    start.broker.url = server.url();
    start.sealing_key = SecretVector(32, 7);
    start.peers = {{"node1", identity.public_key()},
                   {"node2", IdentityKey::generate(random).public_key()}};
    start.initiators = {{.name = "desk",
                         .key = initiator.public_key(),
                         .operations = {"*"},
                         .users = {"*"},
                         .requests_per_second = 0}};
    start.present = {"node1", "node2"};
    return start;
  }
  TestChild ready_worker(const std::string& user = "alice") {
    TestChild child = supervisor.fork(user, ++generation);
    child.send(start_for(child.expect<ipc::WorkerHello>(), user));
    CHECK(child.expect<ipc::WorkerReady>().threads > 1);
    return child;
  }
};

std::size_t private_kib(pid_t pid) {
  std::ifstream rollup("/proc/" + std::to_string(pid) + "/smaps_rollup");
  std::size_t total = 0;
  for (std::string line; std::getline(rollup, line);) {
    std::istringstream words(line);
    std::string name;
    std::size_t value = 0;
    words >> name >> value;
    if (name == "Private_Clean:" || name == "Private_Dirty:") {
      total += value;
    }
  }
  return total;
}

bool agrees_to_leave(TestChild& worker, std::uint64_t ask) {
  worker.send(ipc::EvictAsk{.ask = ask});
  const auto reply = worker.expect<ipc::EvictReply>();
  CHECK(reply.ask == ask);
  return reply.agree;
}

/// Asks until it agrees: an acknowledgement between it and its peer may be on its way still.
bool agrees_in_the_end(TestChild& worker, std::uint64_t ask) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!agrees_to_leave(worker, ask)) {
    if (std::chrono::steady_clock::now() > limit) {
      return false;
    }
    ++ask;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

/// It stands still when this returns.
void stop(const TestChild& child) {
  REQUIRE(::kill(child.pid(), SIGSTOP) == 0);
  int status = 0;
  REQUIRE(::waitpid(child.pid(), &status, WUNTRACED) == child.pid());
  REQUIRE(WIFSTOPPED(status));
}

}  // namespace

TEST_CASE("a worker says hello, becomes ready, agrees to leave when idle, and exits clean") {
  Node node;
  TestChild worker = node.ready_worker();
  worker.send(ipc::Tick{.number = 1});  // not activity
  worker.send(ipc::EvictAsk{.ask = 9});
  const auto reply = worker.expect<ipc::EvictReply>();
  CHECK(reply.ask == 9);
  CHECK(reply.agree);
  worker.send(ipc::Work{.request = 1, .envelope = {1}});  // crosses the reply: for the next worker
  CHECK_THROWS(worker.expect<ipc::Answer>());
  CHECK(worker.reap() == 0);
}

TEST_CASE("a worker with a request in hand refuses to leave, and answers it") {
  TwoNodes nodes(Scheme::kEd25519);
  TwoWorkers workers = nodes.workers();
  TestChild& worker = workers[0];
  constexpr std::uint8_t kFill = 1;
  Request wanted = nodes.request();
  wanted.message = ByteVector(32, kFill);
  wanted.issued_at_ms -= 5000;  // before this worker began: the store may know its result
  const auto request = sign_request(wanted, nodes.initiator);
  REQUIRE(request);
  stop(workers[1]);  // the session waits for its peer until this test has asked

  workers.ask(0, *request);
  const auto lookup = worker.expect<ipc::ResultLookup>();
  CHECK_FALSE(agrees_to_leave(worker, 1));  // the store has its question
  worker.send(ipc::ResultFound{.order = lookup.order, .answer = {}});
  CHECK_FALSE(agrees_to_leave(worker, 2));  // its session runs

  REQUIRE(::kill(workers[1].pid(), SIGCONT) == 0);
  workers.ask(1, *request);
  workers.wait_for_answers();
  nodes.check_signatures(workers, kFill);
  CHECK(agrees_in_the_end(worker, 3));
  CHECK(worker.reap() == 0);
}

TEST_CASE("a worker whose order the store has not answered refuses to leave") {
  // Nobody waits here: the last worker left a share that not all participants have acknowledged.
  Node node;
  TestChild worker = node.supervisor.fork("alice", ++node.generation);
  ipc::WorkerStart start = node.start_for(worker.expect<ipc::WorkerHello>(), "alice");
  KeyRecord record;
  record.cluster = start.cluster;
  record.user = start.user;
  record.key = "k";
  record.epoch = 1;
  record.threshold = 2;
  record.participants = {{1, "node1"}, {2, "node2"}};
  record.public_key.resize(32);
  record.public_shares.assign(2, ByteVector(32));
  record.session = node.random.bytes<SessionId>();
  const ByteVector bytes = encode_key_record(record);
  start.keys = {{.key = record.key,
                 .epoch = record.epoch,
                 .state = ipc::KeyState::kPending,
                 .session = record.session,
                 .record = bytes,
                 .sealed_share = ByteVector(64),
                 .certificate = {}}};
  worker.send(start);
  std::optional<ipc::StorePending> order;
  for (bool ready = false; !ready || !order;) {
    const ipc::Frame frame = worker.next();
    ready = ready || frame.type == ipc::WorkerReady::kType;
    if (frame.type == ipc::StorePending::kType) {
      order = ipc::decode<ipc::StorePending>(frame).value();
    }
  }
  CHECK_FALSE(agrees_to_leave(worker, 1));

  Statement promise = acknowledgement_statement(
      record, bytes, {.node = "node1", .generation = start.generation, .signature = {}});
  sign_statement(promise, node.identity);
  worker.send(ipc::Stored{.order = order->order,
                          .ok = true,
                          .error_name = {},
                          .error_message = {},
                          .statement = encode_statement(promise)});
  CHECK(agrees_to_leave(worker, 2));  // what is pending waits in the store, for the next worker
  CHECK(worker.reap() == 0);
}

TEST_CASE("a worker goes when its supervisor hangs up, before and after it is ready") {
  Node node;
  TestChild early = node.supervisor.fork("bob", 5);
  early.hang_up();
  CHECK(early.reap() == 0);
  TestChild ready = node.ready_worker();
  ready.hang_up();
  CHECK(ready.reap() == 0);
}

TEST_CASE("drained without work, a worker exits clean at once") {
  Node node;
  TestChild worker = node.ready_worker();
  const auto began = std::chrono::steady_clock::now();
  worker.send(ipc::Drain{.deadline_ms = 5000});
  CHECK(worker.reap() == 0);
  CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(2));
}

TEST_CASE("every request gets exactly one answer, whatever it is") {
  Node node;
  TestChild worker = node.ready_worker();
  Request unknown_key;
  unknown_key.cluster = "test";
  unknown_key.initiator = node.initiator.public_key();
  unknown_key.user = "alice";
  unknown_key.key = "nowhere";
  unknown_key.id = node.random.bytes<RequestId>();
  unknown_key.issued_at_ms = wall_seconds() * 1000;
  unknown_key.expires_at_ms = unknown_key.issued_at_ms + 60'000;
  unknown_key.message = {1};
  const auto request = sign_request(unknown_key, node.initiator);
  REQUIRE(request);
  worker.send(ipc::Work{.request = 1, .envelope = {0xc1}});
  worker.send(ipc::Work{.request = 2, .envelope = request->envelope});
  worker.send(ipc::Work{.request = 3, .envelope = {}});
  std::map<std::uint64_t, std::string> answers;
  while (answers.size() < 3) {
    const ipc::Frame frame = worker.next();
    if (const auto lookup = ipc::decode<ipc::ResultLookup>(frame)) {
      worker.send(ipc::ResultFound{.order = lookup->order, .answer = {}});  // nothing is stored
    }
    const auto answered = ipc::decode<ipc::Answer>(frame);
    if (!answered) {
      continue;
    }
    const ipc::Answer& answer = *answered;
    const auto content = decode_answer(answer.answer);
    REQUIRE(content);
    REQUIRE_FALSE(content->ok());
    REQUIRE(
        answers.emplace(answer.request, error_name(std::get<Error>(content->content).code)).second);
  }
  CHECK(answers[1] == "bad_request");
  CHECK(answers[2] == "unknown_key");
  CHECK(answers[3] == "bad_request");
  worker.send(ipc::EvictAsk{.ask = 1});
  CHECK(worker.expect<ipc::EvictReply>().agree);
  CHECK(worker.reap() == 0);
}

TEST_CASE("a broker that restarts is no reason for a worker to end") {
  Node node;
  TestChild worker = node.ready_worker();
  node.server.kill();
  CHECK(worker.expect<ipc::Log>().message.find("away") != std::string::npos);
  node.server.start();
  for (;;) {
    if (worker.expect<ipc::Log>().message.find("back") != std::string::npos) {
      break;
    }
  }
  worker.send(ipc::EvictAsk{.ask = 1});
  CHECK(worker.expect<ipc::EvictReply>().agree);
  CHECK(worker.reap() == 0);
}

TEST_CASE("an idle worker's private memory and the time to ready") {
  Node node;
  std::vector<TestChild> workers;
  std::vector<double> ready_ms;
  for (int i = 0; i < 20; ++i) {
    const auto began = std::chrono::steady_clock::now();
    workers.push_back(node.ready_worker("user" + std::to_string(i)));
    ready_ms.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began)
            .count());
  }
  const auto mean_kib = [&] {
    std::size_t total = 0;
    for (const TestChild& worker : workers) {
      total += private_kib(worker.pid());
    }
    return total / workers.size();
  };
  // What a start takes, a worker at rest has given back; that it is at rest, nobody is told.
  std::size_t mean = mean_kib();
#if !defined(COSIGNER_SANITIZED) && defined(__OPTIMIZE__)
  constexpr std::size_t kPromisedKib = 512;  // measured on this kind of machine: 368
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (mean > kPromisedKib && std::chrono::steady_clock::now() < limit) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    mean = mean_kib();
  }
  CHECK(mean <= kPromisedKib);
#endif
  std::ranges::sort(ready_ms);
  std::cout << "idle worker: private " << mean << " KiB; order to ready p50 "
            << ready_ms[ready_ms.size() / 2] << " ms, worst " << ready_ms.back() << " ms\n";
}

TEST_CASE("a user with a thousand large keys starts: they come in parts, each acknowledged") {
  Node node;
  TestChild worker = node.supervisor.fork("alice", ++node.generation);
  ipc::WorkerStart start = node.start_for(worker.expect<ipc::WorkerHello>(), "alice");
  std::vector<ipc::StoredKey> keys(1000);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    KeyRecord record;
    record.cluster = start.cluster;
    record.user = start.user;
    record.key = "key" + std::to_string(i);
    record.epoch = 1;
    record.threshold = 2;
    record.participants = {{1, "node1"}, {2, "node2"}};
    record.public_key.resize(32);
    record.public_shares.assign(2, ByteVector(32));
    keys[i] = {.key = record.key,
               .epoch = 1,
               .state = ipc::KeyState::kActive,
               .session = {},
               .record = encode_key_record(record),
               .sealed_share = ByteVector(46'800),  // an ECDSA share of three participants
               .certificate = {}};
  }
  auto parts = ipc::split_start_keys(std::move(keys));
  REQUIRE(parts);
  REQUIRE(parts->size() > 10);
  std::uint32_t sent = 0;
  for (std::size_t i = 0; i + 1 < parts->size(); ++i) {
    sent += static_cast<std::uint32_t>((*parts)[i].size());
    worker.send(ipc::StartKeys{.keys = std::move((*parts)[i])});
    CHECK(worker.expect<ipc::StartKeysTaken>().keys == sent);
  }
  start.keys = std::move(parts->back());
  worker.send(start);
  for (;;) {  // ready, and it complained of none of them
    const ipc::Frame frame = worker.next();
    if (const auto line = ipc::decode<ipc::Log>(frame)) {
      INFO(line->message);
      CHECK(line->level < ipc::LogLevel::kWarning);
    }
    if (const auto sandboxed = ipc::decode<ipc::Sandboxed>(frame)) {
#ifndef COSIGNER_SANITIZED
      CHECK_FALSE(sandboxed->relaxed);
#endif
    }
    if (ipc::decode<ipc::WorkerReady>(frame)) {
      break;
    }
  }
  worker.send(ipc::EvictAsk{.ask = 1});
  CHECK(worker.expect<ipc::EvictReply>().agree);
  CHECK(worker.reap() == 0);
}

TEST_CASE("subjects name sender, receiver and missed packet, and nothing else passes") {
  const UserSubjects subjects("test", "alice", "node1");
  const UserSubjects peer("test", "alice", "node2");
  const std::string own = subjects.packets().substr(0, subjects.packets().size() - 1);
  CHECK(subjects.packet_to("node2") ==
        peer.packets().substr(0, peer.packets().size() - 1) + "node1");
  const std::string heard = peer.packet_to("node1");
  REQUIRE(subjects.parse(heard));
  CHECK(subjects.parse(heard)->node == "node2");
  CHECK_FALSE(subjects.parse(heard)->missed_packet);
  const std::string missed = subjects.no_responders("node2", 77);
  REQUIRE(subjects.parse(missed));
  CHECK(subjects.parse(missed)->node == "node2");
  CHECK(subjects.parse(missed)->missed_packet == 77);
  for (const std::string tail :
       {"", "none", "all", "none.", "none.node2", "none.node2.", "none.node2.x", "none.node2.1x",
        "none.node2.-1", "none.node2.99999999999999999999999", "none.NODE.1", "node2.1", "No"}) {
    INFO(tail);
    CHECK_FALSE(subjects.parse(own + tail));
  }
  CHECK_FALSE(subjects.parse(peer.no_responders("node1", 1)));
  CHECK_FALSE(subjects.parse(UserSubjects("test", "bob", "node1").no_responders("node2", 1)));
}

TEST_CASE("the stack of a throw survives its catch") {
  prepare_throw_trace();
  try {
    throw std::runtime_error("thrown on purpose by a test");
  } catch (const std::exception&) {
  }
  const std::string trace = last_throw_trace();
  CHECK(std::ranges::count(trace, '\n') > 2);
  CHECK(trace.find("test-worker(+0x") != std::string::npos);
}
