// Requests through a control socket: what is believed, what is not, and what ends them.

#include "supervisor/ctl/pipeline.h"

#include <catch2/catch.hpp>

#include "ipc/map_reader.h"
#include "ipc/pack.h"
#include "tests/support/seeded_random.h"
#include "tests/unit/ctl/fake_node.h"

namespace cosigner {
namespace {

using namespace std::chrono_literals;
using ctl::ExitStatus;

/// Three identities, an initiator, and a key that one Ed25519 secret stands for.
struct World {
  SeededRandom random{7};
  std::vector<IdentityKey> identities;
  IdentityKey initiator = IdentityKey::generate(random);
  Ed25519SecretKey secret = ed25519_generate(random);
  ctl::ClusterView cluster{.cluster = "dev", .node = "node1", .nodes = {}};
  ctl::KeyView key{.threshold = 2, .participants = {}, .public_key = {}, .chain_code = {}};

  World() {
    for (int i = 1; i <= 3; ++i) {
      identities.push_back(IdentityKey::generate(random));
      cluster.nodes.push_back({"node" + std::to_string(i), identities.back().public_key()});
      key.participants.push_back("node" + std::to_string(i));
    }
    key.public_key = to_vector(ed25519_public_key(secret));
  }

  ctl::PreparedRequest request() {
    Request out = ctl::new_request(cluster, initiator, Operation::kSign, 10s, random);
    out.user = "alice";
    out.key = "main";
    out.message = to_vector(as_bytes("pay"));
    return ctl::prepare(cluster, initiator, std::move(out), key).value();
  }

  /// Node `index` answers the submitted request, with a signature (damaged if `damage`) or `error`.
  [[nodiscard]] ipc::ControlReply answer(const ipc::ControlCall& call, std::size_t index,
                                         std::optional<ErrorCode> error, bool damage) const {
    const auto tree = ipc::Tree::parse(call.arguments).value();
    ipc::MapReader fields(tree.root(), "submit");
    const auto parsed = parse_request(fields.bytes("envelope")).value();
    REQUIRE(fields.fixed<SessionId>("session") == parsed.session);
    RequestAnswer content{.session = parsed.session,
                          .operation = "sign",
                          .user = "alice",
                          .key = "main",
                          .content = {}};
    if (error) {
      content.content = fail(*error, "no.").error();
    } else {
      Ed25519Signature signature = ed25519_sign(secret, parsed.request.message);
      signature.data[3] = static_cast<std::uint8_t>(signature.data[3] ^ (damage ? 1U : 0U));
      content.content = SignResult{.scheme = Scheme::kEd25519,
                                   .epoch = 1,
                                   .public_key = key.public_key,
                                   .signature = to_vector(signature)};
    }
    const ByteVector bytes = encode_answer(content);
    Statement statement{.kind = StatementKind::kAnswer,
                        .cluster = "dev",
                        .node = cluster.nodes[index].node,
                        .user = "alice",
                        .generation = 1,
                        .key = "main",
                        .epoch = 1,
                        .session = parsed.session,
                        .digest = answer_digest(bytes),
                        .signature = {}};
    sign_statement(statement, identities[index]);
    const ByteVector envelope = encode_answer_envelope(
        {.node = cluster.nodes[index].node, .answer = bytes, .origin = statement});
    return {.call = 0,
            .final = false,
            .error_name = {},
            .error_message = {},
            .may_have_executed = false,
            .body = ipc::MapPacker().bytes("answer", envelope).finish()};
  }
};

ctl::Outcome<ctl::Answered> ask(World& world, test::FakeNode& node,
                                std::chrono::milliseconds timeout = 5s) {
  auto client = ctl::ControlClient::connect(node.path());
  REQUIRE(client);
  return ctl::run_request(*client, world.request(), timeout);
}

}  // namespace

TEST_CASE("the first answer that verifies is taken, one that does not verify is not") {
  World world;
  test::FakeNode node([&](const ipc::ControlCall& call, bool&) {
    return test::FakeNode::Replies{world.answer(call, 0, {}, true),
                                   world.answer(call, 1, {}, false),
                                   world.answer(call, 2, {}, false)};
  });
  const auto outcome = ask(world, node);
  REQUIRE(outcome);
  CHECK(outcome->by == "node2");
}

TEST_CASE("one node's error is not believed, n-t+1 are") {
  World world;
  const bool enough = GENERATE(false, true);
  test::FakeNode node([&](const ipc::ControlCall& call, bool&) {
    test::FakeNode::Replies replies{world.answer(call, 0, ErrorCode::kDenied, false)};
    replies.push_back(enough ? world.answer(call, 2, ErrorCode::kDenied, false)
                             : world.answer(call, 2, {}, false));
    return replies;
  });
  const auto outcome = ask(world, node);
  CHECK(outcome.has_value() == !enough);
  if (enough) {
    CHECK(outcome.error().status == ExitStatus::kRefused);
    CHECK(outcome.error().error.code == ErrorCode::kDenied);
  }
}

TEST_CASE("silence ends at the deadline, with what was heard, and the call is cancelled") {
  World world;
  test::FakeNode node([&](const ipc::ControlCall& call, bool&) {
    return test::FakeNode::Replies{world.answer(call, 0, ErrorCode::kOverloaded, false)};
  });
  const auto outcome = ask(world, node, 100ms);
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().status == ExitStatus::kDeadline);
  CHECK(outcome.error().error.code == ErrorCode::kPeerTimeout);
  CHECK(outcome.error().error.may_have_executed);
  CHECK(outcome.error().error.message.find("overloaded") != std::string::npos);
  for (int i = 0; i < 200 && node.cancels() == 0; ++i) {
    std::this_thread::sleep_for(10ms);
  }
  CHECK(node.cancels() == 1);
}

TEST_CASE("an error of the node itself, and a node that goes away") {
  World world;
  SECTION("typed error") {
    test::FakeNode node([](const ipc::ControlCall&, bool&) {
      return test::FakeNode::Replies{{.call = 0,
                                      .final = true,
                                      .error_name = "worker_crashed",
                                      .error_message = "The gateway died.",
                                      .may_have_executed = true,
                                      .body = {}}};
    });
    const auto outcome = ask(world, node);
    REQUIRE_FALSE(outcome);
    CHECK(outcome.error().status == ExitStatus::kRefused);
    CHECK(outcome.error().error.code == ErrorCode::kWorkerCrashed);
    CHECK(outcome.error().error.may_have_executed);
  }
  SECTION("the connection ends") {
    test::FakeNode node([](const ipc::ControlCall&, bool& hang_up) {
      hang_up = true;
      return test::FakeNode::Replies();
    });
    const auto outcome = ask(world, node);
    REQUIRE_FALSE(outcome);
    CHECK(outcome.error().status == ExitStatus::kUnreachable);
    CHECK(outcome.error().error.may_have_executed);
  }
  SECTION("nobody there") {
    const auto client = ctl::ControlClient::connect("/nonexistent/control.sock");
    REQUIRE_FALSE(client);
    CHECK(client.error().status == ExitStatus::kUnreachable);
    CHECK_FALSE(client.error().error.may_have_executed);
  }
}

TEST_CASE("many requests at once settle each on its own") {
  World world;
  test::FakeNode node([&](const ipc::ControlCall& call, bool&) {
    test::FakeNode::Replies replies;
    if (call.call % 2 == 0) {
      replies.push_back(world.answer(call, 1, {}, false));
    } else {
      replies.push_back(world.answer(call, 0, ErrorCode::kUnknownKey, false));
      replies.push_back(world.answer(call, 1, ErrorCode::kUnknownKey, false));
    }
    return replies;
  });
  auto client = ctl::ControlClient::connect(node.path());
  REQUIRE(client);
  ctl::Pipeline pipeline(*client);
  for (std::uint64_t tag = 0; tag < 40; ++tag) {
    REQUIRE(pipeline.start(world.request(), tag, 5s));
  }
  CHECK(pipeline.in_flight() == 40);
  std::vector<bool> seen(40);
  while (pipeline.in_flight() > 0) {
    const auto completion = pipeline.next(1s);
    REQUIRE(completion);
    if (*completion) {
      const auto tag = static_cast<std::size_t>((*completion)->tag);
      CHECK_FALSE(seen[tag]);
      seen[tag] = true;
      CHECK((*completion)->result.has_value() == (tag % 2 == 1));  // calls count from 1
    }
  }
  CHECK(std::ranges::count(seen, true) == 40);
}

}  // namespace cosigner
