// The gateway as its supervisor and a client see it: a real forked process with a real broker.

#include <signal.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <set>

#include "broker_client.h"
#include "crypto/identity/certificate.h"
#include "ipc/answer.h"
#include "ipc/child_messages.h"
#include "ipc/gateway_messages.h"
#include "ipc/metrics_messages.h"
#include "ipc/request.h"
#include "nats_server.h"
#include "test_supervisor.h"
#include "tests/support/wall_clock.h"

using namespace cosigner;
using namespace cosigner::worker;
using cosigner::test::Client;
using cosigner::test::Loop;
using cosigner::test::NatsServer;
using cosigner::test::TestChild;
using cosigner::test::TestSupervisor;

namespace {

using cosigner::test::wall_ms;

/// A gateway of node1 that is ready, and the keys around it.
struct RunningGateway {
  SystemRandom random;
  IdentityKey identity = IdentityKey::generate(random);
  IdentityKey initiator = IdentityKey::generate(random);
  NatsServer server;
  TestSupervisor supervisor;
  TestChild child = supervisor.fork("", 3, ipc::Role::kGateway);
  ipc::GatewayHello hello = child.expect<ipc::GatewayHello>();
  ipc::GatewayStart start;

  RunningGateway() {
    Certificate certificate;
    certificate.cluster = "test";
    certificate.node = "node1";
    certificate.role = CertificateRole::kGateway;
    certificate.generation = 3;
    certificate.ed25519 = hello.signing_key;
    certificate.not_before = wall_ms() / 1000 - 1;
    certificate.not_after = certificate.not_before + kCertificateLifetimeSeconds;
    sign_certificate(certificate, identity);
    start.cluster = "test";
    start.node = "node1";
    start.generation = 3;
    start.certificate = encode_certificate(certificate);
    start.broker.url = server.url();
    start.peers = {{"node1", identity.public_key()}};
    start.initiators = {{.name = "desk",
                         .key = initiator.public_key(),
                         .operations = {"*"},
                         .users = {"*"},
                         .requests_per_second = 0}};
    child.send(start);
    child.expect<ipc::GatewayReady>();
  }

  SignedRequest request() {
    Request out;
    out.cluster = "test";
    out.initiator = initiator.public_key();
    out.user = "alice";
    out.key = "main";
    out.id = random.bytes<RequestId>();
    out.issued_at_ms = wall_ms();
    out.expires_at_ms = out.issued_at_ms + 60'000;
    out.message = {1, 2, 3};
    return sign_request(out, initiator).value();
  }

  /// What the gateway itself has answered: signed by its key, under its certificate.
  [[nodiscard]] ErrorCode refusal(const ByteVector& payload) const {
    const auto envelope = decode_answer_envelope(payload);
    REQUIRE(envelope);
    CHECK(envelope->node == "node1");
    const auto& signature = std::get<GatewaySignature>(envelope->origin);
    CHECK(signature.certificate == start.certificate);
    CHECK(ed25519_verify(hello.signing_key, answer_digest(envelope->answer), signature.signature));
    return std::get<Error>(decode_answer(envelope->answer)->content).code;
  }
};

}  // namespace

TEST_CASE("the gateway refuses, hands on, answers, and leaves") {
  RunningGateway node;
  TestChild& gateway = node.child;
  NatsServer& server = node.server;
  Loop loop;
  Client client(loop, server.url(), {"_INBOX.client.>"});
  REQUIRE(loop.until([&] { return client.subscribed == 1; }));

  // What is no request is refused, signed by the gateway's key under its certificate.
  REQUIRE(client.send("cosigner.test.request", 100, "_INBOX.client.1"));
  REQUIRE(loop.until([&] { return client.messages.size() == 1; }));
  CHECK(node.refusal(client.messages[0].payload) == ErrorCode::kBadRequest);

  // What is one goes on as the original bytes; the answer goes to its inbox.
  const SignedRequest request = node.request();
  REQUIRE(client.connection.publish({.subject = "cosigner.test.request",
                                     .reply = "_INBOX.client.2",
                                     .payload = request.envelope}));
  loop.run_for(std::chrono::milliseconds(20));
  const auto handed_on = gateway.expect<ipc::GatewayRequest>();
  CHECK(handed_on.envelope == request.envelope);
  CHECK(handed_on.session == request.session);
  CHECK(handed_on.user == "alice");
  CHECK(handed_on.woken_by.empty());
  gateway.send(ipc::GatewayAnswer{.request = handed_on.request, .envelope = {4, 5, 6}});
  REQUIRE(loop.until([&] { return client.messages.size() == 2; }));
  CHECK(client.messages[1].subject == "_INBOX.client.2");
  CHECK(client.messages[1].payload == ByteVector{4, 5, 6});

  // Published for the control socket: it hears the request itself, and passes answers back.
  const SignedRequest published = node.request();
  gateway.send(ipc::PublishRequest{.publish = 77, .envelope = published.envelope});
  const auto own = gateway.expect<ipc::GatewayRequest>();
  CHECK(own.session == published.session);
  gateway.send(ipc::GatewayAnswer{.request = own.request, .envelope = {7}});
  const auto answer = gateway.expect<ipc::PublishedAnswer>();
  CHECK(answer.publish == 77);
  CHECK(answer.envelope == ByteVector{7});

  // It survives its broker.
  server.kill();
  while (gateway.expect<ipc::BrokerState>().connected) {
  }
  server.start();
  while (!gateway.expect<ipc::BrokerState>().connected) {
  }
  gateway.send(ipc::Drain{.deadline_ms = 1000});
  CHECK(gateway.reap() == 0);
}

TEST_CASE("a gateway that drains answers every request that has reached it") {
  constexpr std::uint64_t kRequests = 50;
  const ByteVector answer{7};
  RunningGateway node;
  Loop loop;
  Client client(loop, node.server.url(), {"_INBOX.client.>"});
  REQUIRE(loop.until([&] { return client.subscribed == 1; }));

  // All of this waits for the gateway when it goes on: requests, the order to drain, and what the
  // supervisor answers to those that the gateway may have handed on before it reads the order.
  REQUIRE(::kill(node.child.pid(), SIGSTOP) == 0);
  for (std::uint64_t i = 0; i < kRequests; ++i) {
    REQUIRE(client.connection.publish({.subject = "cosigner.test.request",
                                       .reply = "_INBOX.client." + std::to_string(i),
                                       .payload = node.request().envelope}));
  }
  REQUIRE(client.send("_INBOX.client.mark"));  // the broker works in order: it has them all
  REQUIRE(loop.until([&] { return client.messages.size() == 1; }));
  node.child.send(ipc::Drain{.deadline_ms = 5000});
  for (std::uint64_t number = 1; number <= kRequests; ++number) {
    node.child.send(ipc::GatewayAnswer{.request = number, .envelope = answer});
  }
  REQUIRE(::kill(node.child.pid(), SIGCONT) == 0);

  REQUIRE(loop.until([&] { return client.messages.size() == 1 + kRequests; }));
  std::set<std::string> answered;
  std::uint64_t refused = 0;
  for (const BrokerMessage& message : client.messages) {
    if (message.subject == "_INBOX.client.mark") {
      continue;
    }
    CHECK(answered.insert(message.subject).second);
    if (message.payload != answer) {
      CHECK(node.refusal(message.payload) == ErrorCode::kShuttingDown);
      ++refused;
    }
  }
  CHECK(answered.size() == kRequests);
  if (refused > 0) {  // none, if it had handed them all on before it read the order
    const auto metrics = node.child.expect<ipc::GatewayMetrics>();
    REQUIRE(metrics.refused.size() == 1);
    CHECK(metrics.refused[0].error == error_name(ErrorCode::kShuttingDown));
    CHECK(metrics.refused[0].count == refused);
  }
  CHECK(node.child.reap() == 0);
}

TEST_CASE("what a gateway drops besides requests, and cannot publish, is counted and told") {
  RunningGateway node;
  TestChild& gateway = node.child;
  Loop loop;
  Client client(loop, node.server.url(), {"_INBOX.client.>"});
  REQUIRE(loop.until([&] { return client.subscribed == 1; }));
  ipc::GatewayEvents told;
  const auto hear = [&] {
    const auto report = gateway.expect<ipc::GatewayMetrics>();
    for (std::size_t i = 0; i < ipc::counters_of(told).size(); ++i) {
      *ipc::counters_of(told)[i] += *ipc::counters_of(report.events)[i];
    }
  };

  REQUIRE(client.send("_INBOX.node1.2.1"));  // to the gateway before it
  for (int i = 0; i < 2; ++i) {
    REQUIRE(client.send("cosigner.test.request"));
  }
  for (int i = 0; i < 3; ++i) {
    REQUIRE(client.send("cosigner.test.gateway.all.node9"));
  }
  for (int i = 0; i < 4; ++i) {
    REQUIRE(client.send("$SRV.PING"));
  }
  uv_run(&loop.loop, UV_RUN_NOWAIT);  // at whose end it is sent
  while (told.packets_stray + told.requests_unanswerable + told.beacons_refused +
             told.discoveries_refused <
         1 + 2 + 3 + 4) {
    hear();
  }
  const auto check_dropped = [&] {
    CHECK(told.packets_stray == 1);
    CHECK(told.requests_unanswerable == 2);
    CHECK(told.beacons_refused == 3);
    CHECK(told.discoveries_refused == 4);
  };
  check_dropped();
  CHECK(told.publishes_refused == 0);

  // An answer that comes when there is no broker to take it.
  REQUIRE(client.connection.publish({.subject = "cosigner.test.request",
                                     .reply = "_INBOX.client.1",
                                     .payload = node.request().envelope}));
  uv_run(&loop.loop, UV_RUN_NOWAIT);
  const auto request = gateway.expect<ipc::GatewayRequest>();
  node.server.kill();
  while (gateway.expect<ipc::BrokerState>().connected) {
  }
  gateway.send(ipc::GatewayAnswer{.request = request.request, .envelope = {1}});
  while (told.publishes_refused == 0) {
    hear();
  }
  check_dropped();
  gateway.send(ipc::Drain{.deadline_ms = 1000});
  CHECK(gateway.reap() == 0);
}
