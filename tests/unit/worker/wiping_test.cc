// The memory of real worker processes, searched from outside: an open key's secrets are there once,
// and a signature leaves no second copy.
// Only what this test knows can be searched for, and a worker's random numbers are the system's:
// nonces and other values drawn for one session are searched for in the process of three engines
// whose generator notes them (tests/unit/session/wiping_test.cc).
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <iostream>

#include "crypto/identity/certificate.h"
#include "ipc/answer.h"
#include "ipc/key_record.h"
#include "ipc/request.h"
#include "ipc/store_messages.h"
#include "ipc/worker_messages.h"
#include "nats_server.h"
#include "test_supervisor.h"
#include "tests/support/secret_patterns.h"
#include "tests/support/threshold_cluster.h"
#include "tests/support/wall_clock.h"

#ifndef COSIGNER_SANITIZED
using namespace cosigner;
using namespace cosigner::test;

namespace {

using cosigner::test::wall_seconds;

constexpr Scheme kScheme = Scheme::kEcdsaSecp256k1;
constexpr std::string_view kUser = "alice";

/// Two nodes' worth of identities, a broker, one zygote that forks both workers, and a 2-of-2 key
/// made here, so that every secret of it is known.
struct TwoNodes {
  SystemRandom random;
  NatsServer server;
  TestSupervisor supervisor;
  IdentityKey initiator = IdentityKey::generate(random);
  std::vector<IdentityKey> identities;
  std::vector<ipc::Peer> peers;
  RunReport made = run_keygen(kScheme, 2, {1, 2}, random);
  KeyRecord record;
  ByteVector record_bytes;
  ByteVector certificate;

  TwoNodes() {
    for (const char* name : {"node1", "node2"}) {
      identities.push_back(IdentityKey::generate(random));
      peers.push_back({name, identities.back().public_key()});
    }
    record.cluster = "test";
    record.user = kUser;
    record.key = "k";
    record.epoch = 1;
    record.participants = {{1, "node1"}, {2, "node2"}};
    record.session = random.bytes<SessionId>();
    set_public_part(record, made.key(1).record).value();
    record_bytes = encode_key_record(record);
    std::vector<Acknowledgement> all;
    for (std::size_t i = 0; i < 2; ++i) {
      Acknowledgement one{.node = peers[i].node, .generation = 1, .signature = {}};
      Statement statement = acknowledgement_statement(record, record_bytes, one);
      sign_statement(statement, identities[i]);
      all.push_back(to_acknowledgement(statement));
    }
    verify_acknowledgements(record, record_bytes, all, peers).value();
    certificate = encode_commit_certificate(all);
  }

  TestChild worker(std::size_t node, std::uint64_t generation) {
    TestChild child = supervisor.fork(std::string(kUser), generation);
    const auto hello = child.expect<ipc::WorkerHello>();
    Certificate own;
    own.cluster = "test";
    own.node = peers[node].node;
    own.user = kUser;
    own.generation = generation;
    own.x25519 = hello.channel_key;
    own.ed25519 = hello.signing_key;
    own.not_before = wall_seconds() - 1;
    own.not_after = own.not_before + kCertificateLifetimeSeconds;
    sign_certificate(own, identities[node]);
    ipc::WorkerStart start;
    start.cluster = "test";
    start.node = peers[node].node;
    start.user = kUser;
    start.generation = generation;
    start.certificate = encode_certificate(own);
    start.broker.url = server.url();
    start.sealing_key = SecretVector(32, static_cast<std::uint8_t>(17 + node));
    start.peers = peers;
    start.initiators = {{.name = "desk",
                         .key = initiator.public_key(),
                         .operations = {"*"},
                         .users = {"*"},
                         .requests_per_second = 0}};
    start.present = {"node1", "node2"};
    const AeadKey sealing = AeadKey::from(as_view(start.sealing_key)).value();
    const auto index = static_cast<ParticipantIndex>(node + 1);
    start.keys = {{.key = "k",
                   .epoch = 1,
                   .state = ipc::KeyState::kActive,
                   .session = record.session,
                   .record = record_bytes,
                   .sealed_share = seal_share(sealing, share_binding(record, record_bytes),
                                              as_view(made.key(index).secret), random),
                   .certificate = certificate}};
    child.send(start);
    child.expect<ipc::WorkerReady>();
    return child;
  }

  SignedRequest sign_request_for(std::uint8_t fill) {
    Request request;
    request.cluster = "test";
    request.initiator = initiator.public_key();
    request.user = kUser;
    request.key = "k";
    request.scheme = kScheme;
    request.id = random.bytes<RequestId>();
    request.issued_at_ms = wall_seconds() * 1000;
    request.expires_at_ms = request.issued_at_ms + 60'000;
    request.message = ByteVector(32, fill);
    return sign_request(request, initiator).value();
  }
};

RequestAnswer answer_of(TestChild& worker) {
  return decode_answer(worker.expect<ipc::Answer>().answer).value();
}

}  // namespace

TEST_CASE(
    "checklist: wiping: a real worker keeps an open key's secrets once, and signing adds no "
    "copy (canary scan of the process)",
    "[wiping]") {
  TwoNodes nodes;
  TestChild first = nodes.worker(0, 1);
  TestChild second = nodes.worker(1, 2);
  MemoryScan scan;
  add_key_secrets(scan, as_view(nodes.made.key(1).secret), {2});
  // Before its first use the key is sealed: nothing of it is in the clear.
  const auto before = scan.search(first.pid());
  if (!before) {
    WARN("skipped: /proc/PID/mem of a worker may be read by root only");
    return;
  }
  CHECK(before->empty());
  for (std::uint64_t i = 1; i <= 8; ++i) {
    const SignedRequest request = nodes.sign_request_for(static_cast<std::uint8_t>(i));
    first.send(ipc::Work{.request = i, .envelope = request.envelope});
    second.send(ipc::Work{.request = i, .envelope = request.envelope});
    for (TestChild* worker : {&first, &second}) {  // it was issued as these workers started
      worker->send(
          ipc::ResultFound{.order = worker->expect<ipc::ResultLookup>().order, .answer = {}});
    }
    for (TestChild* worker : {&first, &second}) {
      const RequestAnswer answer = answer_of(*worker);
      const auto* result = std::get_if<SignResult>(&answer.content);
      if (const auto* error = std::get_if<Error>(&answer.content)) {
        FAIL(error_name(error->code) << ": " << error->message);
      }
      CHECK(verify_signature_vartime(kScheme, nodes.record.public_key,
                                     ByteVector(32, static_cast<std::uint8_t>(i)),
                                     result->signature));
    }
  }
  // A session ends a moment after its answer: the search is repeated until it finds no more than
  // the open key, and after ten seconds it has failed.
  const std::size_t size = nodes.made.key(1).secret.size();
  std::map<std::string, std::size_t> found;
  for (int i = 0; i < 500; ++i) {
    found = scan.search(first.pid()).value();
    if (found["share"] == 1 && strays(scan, size) == 0) {
      break;
    }
    ::usleep(20'000);
  }
  INFO(scan.places());
  CHECK(scan.bytes_searched() > 1'000'000);
  CHECK(found["share"] == 1);
  CHECK(found["delta"] == 1);
  CHECK(found["leaf"] == 2);
  CHECK(found["seed"] == 1);
  CHECK(strays(scan, size) == 0);
  // Evicted, the process is gone and its memory with it; the next worker has only sealed bytes.
  first.send(ipc::EvictAsk{.ask = 1});
  CHECK(first.expect<ipc::EvictReply>().agree);
  CHECK(first.reap() == 0);
  TestChild next = nodes.worker(0, 3);
  CHECK(scan.search(next.pid()).value().empty());
}
#endif
