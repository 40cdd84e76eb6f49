#pragma once
// Two real workers that hold a 2-of-2 key whose secrets the test knows, and the test as their
// supervisor: what searches their memory starts from these.

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <vector>

#include "crypto/identity/certificate.h"
#include "ipc/answer.h"
#include "ipc/child_messages.h"
#include "ipc/key_record.h"
#include "ipc/request.h"
#include "ipc/store_messages.h"
#include "ipc/worker_messages.h"
#include "nats_server.h"
#include "test_supervisor.h"
#include "tests/support/threshold_cluster.h"
#include "tests/support/wall_clock.h"

namespace cosigner::test {

/// A worker of each node. The supervisor's part is the least there is: it knows no earlier result.
class TwoWorkers {
 public:
  TwoWorkers(TestChild first, TestChild second) : children_{std::move(first), std::move(second)} {}

  [[nodiscard]] TestChild& operator[](std::size_t node) { return children_[node]; }

  /// Hands the request to one of them; the answer of its last one is forgotten.
  void ask(std::size_t node, const SignedRequest& request) {
    answers_[node].reset();
    at_rest_[node] = false;
    children_[node].send(ipc::Work{.request = ++requests_, .envelope = request.envelope});
  }
  /// Takes what they have said so far.
  void take_frames() {
    for (std::size_t node = 0; node < children_.size(); ++node) {
      while (const auto frame = children_[node].next_at_hand()) {
        take(node, *frame);
      }
    }
  }
  /// Waits until both have answered. Throws when both are silent for ten seconds.
  void wait_for_answers() {
    wait([&] { return answers_[0] && answers_[1]; });
  }
  /// Until both have said that no session is left in them: at once when the last one is gone, and
  /// a second before they give memory back, which would hide what a session has left in it.
  void wait_for_rest() {
    wait([&] { return at_rest_[0] && at_rest_[1]; });
  }
  [[nodiscard]] const RequestAnswer& answer(std::size_t node) const { return *answers_[node]; }
  /// How many presignatures have left the memory of this node's worker.
  [[nodiscard]] std::size_t presignatures_used(std::size_t node) const { return used_[node]; }

 private:
  template <class Condition>
  void wait(Condition&& condition) {
    for (take_frames(); !condition(); take_frames()) {
      std::array<pollfd, 2> sockets{
          {{children_[0].socket(), POLLIN, 0}, {children_[1].socket(), POLLIN, 0}}};
      require(::poll(sockets.data(), sockets.size(), 10'000) > 0, "both workers are silent");
    }
  }
  void take(std::size_t node, const ipc::Frame& frame) {
    if (frame.type == ipc::ResultLookup::kType) {
      children_[node].send(ipc::ResultFound{
          .order = ipc::decode<ipc::ResultLookup>(frame).value().order, .answer = {}});
    } else if (frame.type == ipc::Answer::kType) {
      answers_[node] = decode_answer(ipc::decode<ipc::Answer>(frame).value().answer).value();
      at_rest_[node] = false;  // its session may not be over yet; what was said before is old
    } else if (frame.type == ipc::Heartbeat::kType) {
      const auto heartbeat = ipc::decode<ipc::Heartbeat>(frame).value();
      at_rest_[node] = heartbeat.in_flight == 0 && heartbeat.sessions == 0;
    } else if (frame.type == ipc::PresignatureUsed::kType) {
      ++used_[node];
    }
  }

  std::array<TestChild, 2> children_;
  std::array<std::optional<RequestAnswer>, 2> answers_;
  std::array<bool, 2> at_rest_{};
  std::array<std::size_t, 2> used_{};
  std::uint64_t requests_ = 0;
};

/// Two nodes' worth of identities, a broker, one zygote that forks both workers, and a 2-of-2 key
/// made here, so that every secret of it is known.
struct TwoNodes {
  static constexpr std::string_view kUser = "alice";
  Scheme scheme;
  SystemRandom random;
  NatsServer server;
  TestSupervisor supervisor;
  IdentityKey initiator = IdentityKey::generate(random);
  std::vector<IdentityKey> identities;
  std::vector<ipc::Peer> peers;
  RunReport made = run_keygen(scheme, 2, {1, 2}, random);
  KeyRecord record;
  ByteVector record_bytes;
  ByteVector certificate;

  explicit TwoNodes(Scheme of) : TwoNodes(of, TestSupervisor::built("bin/cosigner-worker"), ".") {}
  /// With another program as the zygote's, started in `directory`.
  TwoNodes(Scheme of, const std::string& program, const std::string& directory)
      : scheme(of), supervisor(program, directory) {
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

  /// A worker on each node.
  [[nodiscard]] TwoWorkers workers() { return TwoWorkers(worker(0, 1), worker(1, 2)); }

  [[nodiscard]] Request request() {
    Request request;
    request.cluster = "test";
    request.initiator = initiator.public_key();
    request.user = kUser;
    request.key = "k";
    request.scheme = scheme;
    request.id = random.bytes<RequestId>();
    request.issued_at_ms = wall_seconds() * 1000;
    request.expires_at_ms = request.issued_at_ms + 60'000;
    return request;
  }
  [[nodiscard]] SignedRequest sign_request_for(std::uint8_t fill) {
    Request wanted = request();
    wanted.message = ByteVector(32, fill);
    return sign_request(wanted, initiator).value();
  }
  [[nodiscard]] SignedRequest presign_request_for(std::uint32_t count) {
    Request wanted = request();
    wanted.operation = Operation::kPresign;
    wanted.count = count;
    return sign_request(wanted, initiator).value();
  }
  /// That both have made a signature of sign_request_for(fill).
  void check_signatures(const TwoWorkers& workers, std::uint8_t fill) const {
    for (const std::size_t node : {0U, 1U}) {
      const RequestAnswer& answer = workers.answer(node);
      if (const auto* error = std::get_if<Error>(&answer.content)) {
        FAIL(error_name(error->code) << ": " << error->message);
      }
      CHECK(verify_signature_vartime(scheme, record.public_key, ByteVector(32, fill),
                                     std::get<SignResult>(answer.content).signature));
    }
  }
};

}  // namespace cosigner::test
