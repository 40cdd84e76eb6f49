// The gateway as its supervisor and a client see it: a real forked process with a real broker.

#include <catch2/catch.hpp>
#include <chrono>

#include "broker_client.h"
#include "crypto/identity/certificate.h"
#include "ipc/answer.h"
#include "ipc/child_messages.h"
#include "ipc/gateway_messages.h"
#include "ipc/request.h"
#include "nats_server.h"
#include "test_supervisor.h"

using namespace cosigner;
using namespace cosigner::worker;
using cosigner::test::Client;
using cosigner::test::Loop;
using cosigner::test::NatsServer;
using cosigner::test::TestChild;
using cosigner::test::TestSupervisor;

namespace {

std::uint64_t wall_ms() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                        std::chrono::system_clock::now().time_since_epoch())
                                        .count());
}

}  // namespace

TEST_CASE("the gateway refuses, hands on, answers, and leaves") {
  SystemRandom random;
  const IdentityKey identity = IdentityKey::generate(random);
  const IdentityKey initiator = IdentityKey::generate(random);
  NatsServer server;
  TestSupervisor supervisor;
  TestChild gateway = supervisor.fork("", 3, ipc::Role::kGateway);
  const auto hello = gateway.expect<ipc::GatewayHello>();
  Certificate certificate;
  certificate.cluster = "test";
  certificate.node = "node1";
  certificate.role = CertificateRole::kGateway;
  certificate.generation = 3;
  certificate.ed25519 = hello.signing_key;
  certificate.not_before = wall_ms() / 1000 - 1;
  certificate.not_after = certificate.not_before + kCertificateLifetimeSeconds;
  sign_certificate(certificate, identity);
  ipc::GatewayStart start;
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
  gateway.send(start);
  gateway.expect<ipc::GatewayReady>();

  Loop loop;
  Client client(loop, server.url(), {"_INBOX.client.>"});
  REQUIRE(loop.until([&] { return client.subscribed == 1; }));

  // What is no request is refused, signed by the gateway's key under its certificate.
  REQUIRE(client.send("cosigner.test.request", 100, "_INBOX.client.1"));
  REQUIRE(loop.until([&] { return client.messages.size() == 1; }));
  const auto refusal = decode_answer_envelope(client.messages[0].payload);
  REQUIRE(refusal);
  CHECK(refusal->node == "node1");
  const auto& signature = std::get<GatewaySignature>(refusal->origin);
  CHECK(signature.certificate == start.certificate);
  CHECK(ed25519_verify(hello.signing_key, answer_digest(refusal->answer), signature.signature));
  CHECK(std::get<Error>(decode_answer(refusal->answer)->content).code == ErrorCode::kBadRequest);

  // What is one goes on as the original bytes; the answer goes to its inbox.
  Request request;
  request.cluster = "test";
  request.initiator = initiator.public_key();
  request.user = "alice";
  request.key = "main";
  request.id = random.bytes<RequestId>();
  request.issued_at_ms = wall_ms();
  request.expires_at_ms = request.issued_at_ms + 60'000;
  request.message = {1, 2, 3};
  const auto signed_request = sign_request(request, initiator);
  REQUIRE(signed_request);
  REQUIRE(client.connection.publish({.subject = "cosigner.test.request",
                                     .reply = "_INBOX.client.2",
                                     .payload = signed_request->envelope}));
  loop.run_for(std::chrono::milliseconds(20));
  const auto handed_on = gateway.expect<ipc::GatewayRequest>();
  CHECK(handed_on.envelope == signed_request->envelope);
  CHECK(handed_on.session == signed_request->session);
  CHECK(handed_on.user == "alice");
  CHECK(handed_on.woken_by.empty());
  gateway.send(ipc::GatewayAnswer{.request = handed_on.request, .envelope = {4, 5, 6}});
  REQUIRE(loop.until([&] { return client.messages.size() == 2; }));
  CHECK(client.messages[1].subject == "_INBOX.client.2");
  CHECK(client.messages[1].payload == ByteVector{4, 5, 6});

  // Published for the control socket: it hears the request itself, and passes answers back.
  request.id = random.bytes<RequestId>();
  const auto published = sign_request(request, initiator);
  gateway.send(ipc::PublishRequest{.publish = 77, .envelope = published->envelope});
  const auto own = gateway.expect<ipc::GatewayRequest>();
  CHECK(own.session == published->session);
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
