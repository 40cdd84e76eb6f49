// What cosignerctl makes of a node's verdicts on stored keys.

#include <catch2/catch.hpp>
#include <sstream>

#include "ipc/map_reader.h"
#include "ipc/pack.h"
#include "supervisor/ctl/commands.h"
#include "supervisor/ctl/json.h"
#include "supervisor/ctl/view.h"
#include "tests/unit/ctl/fake_node.h"

namespace cosigner::ctl {
namespace {

ipc::ControlReply reply_with(bool final, ByteVector body, std::string error = {}) {
  return {.call = 0,
          .final = final,
          .error_name = std::move(error),
          .error_message = {},
          .may_have_executed = false,
          .body = std::move(body)};
}

ipc::ControlReply verdict_reply(std::string_view key, std::string_view fault) {
  return reply_with(false, ipc::MapPacker()
                               .text("key", key)
                               .unsigned_integer("epoch", 2)
                               .text("state", "active")
                               .boolean("ok", fault.empty())
                               .text("fault", fault)
                               .text("what", fault.empty() ? "" : "it is not as it should be")
                               .finish());
}

ipc::ControlReply last_reply(std::string error = {}) {
  return reply_with(true, ipc::MapPacker().finish(), std::move(error));
}

/// alice has two keys, bob one, carol is quarantined.
test::FakeNode::Replies three_users(const ipc::ControlCall& call, const std::string& spare_fault) {
  if (call.command == "owners") {
    ipc::ArrayPacker users;
    for (const char* user : {"alice", "bob", "carol"}) {
      users.next().text(user);
    }
    return {reply_with(false, ipc::MapPacker().raw("users", users.finish()).finish()),
            last_reply()};
  }
  const auto tree = ipc::Tree::parse(call.arguments);
  ipc::MapReader arguments(tree->root(), "arguments");
  const std::string user = arguments.text("user", 128);
  if (user == "alice") {
    return {verdict_reply("main", ""), verdict_reply("spare", spare_fault), last_reply()};
  }
  return user == "bob" ? test::FakeNode::Replies{verdict_reply("main", ""), last_reply()}
                       : test::FakeNode::Replies{last_reply("quarantined")};
}

struct VerifyRun {
  Outcome<void> outcome;
  std::string text;
};

VerifyRun run_verify_at(const std::string& user, bool json, const std::string& spare_fault = {}) {
  test::FakeNode node(
      [&](const ipc::ControlCall& call, bool&) { return three_users(call, spare_fault); });
  std::ostringstream out;
  const std::atomic<bool> interrupted{false};
  const Context context{node.path(), "", json, out, interrupted};
  auto outcome = run_verify(context, user, "");
  return {std::move(outcome), out.str()};
}

}  // namespace

TEST_CASE("verify: a user's good keys, a line each") {
  const VerifyRun run = run_verify_at("alice", false);
  CHECK(run.outcome);
  CHECK(run.text ==
        "alice main epoch 2 (active): ok\nalice spare epoch 2 (active): ok\n2 keys verified.\n");
}

TEST_CASE("verify: a faulty key is named with what to do, and the command fails") {
  const VerifyRun run = run_verify_at("alice", false, "seal");
  REQUIRE_FALSE(run.outcome);
  CHECK(run.outcome.error().status == ExitStatus::kRefused);
  CHECK(run.outcome.error().error.code == ErrorCode::kStorageFailed);
  CHECK(run.outcome.error().error.message.find("1 of 2 keys") != std::string::npos);
  CHECK(run.text ==
        "alice main epoch 2 (active): ok\n"
        "alice spare epoch 2 (active): FAULTY (seal): it is not as it should be; README.Debian, "
        "\"Backup\", says what may be put back.\n");
}

TEST_CASE("verify: one user that is not served keeps nobody else from being checked") {
  const VerifyRun run = run_verify_at("", true);
  REQUIRE_FALSE(run.outcome);
  CHECK(run.outcome.error().reported);
  const Json said = Json::parse(run.text);
  REQUIRE(said["keys"].size() == 3);
  CHECK(said["keys"][0]["user"] == "alice");
  CHECK(said["keys"][2]["user"] == "bob");
  CHECK(said["faulty"] == 0);
  CHECK(said["interrupted"] == false);
  REQUIRE(said["unchecked"].size() == 1);
  CHECK(said["unchecked"][0]["user"] == "carol");
  CHECK(said["unchecked"][0]["error"] == "quarantined");
  // Named alone, its refusal is the command's.
  const VerifyRun alone = run_verify_at("carol", true);
  REQUIRE_FALSE(alone.outcome);
  CHECK(alone.outcome.error().error.code == ErrorCode::kQuarantined);
}

TEST_CASE("verify: what was found before an interrupt or a hang-up is told") {
  const std::string fault = GENERATE("", "seal");
  const bool json = GENERATE(true, false);
  const bool hangs_up = GENERATE(true, false);
  INFO(fault << json << hangs_up);
  std::atomic<bool> interrupted{false};
  test::FakeNode node([&](const ipc::ControlCall& call, bool& hang_up) {
    auto replies = three_users(call, fault);
    if (call.command == "owners" || replies.size() == 3) {
      return replies;  // the users; alice's keys
    }
    hang_up = hangs_up;
    interrupted = !hangs_up;
    return test::FakeNode::Replies{};
  });
  std::ostringstream out;
  const auto outcome = run_verify({node.path(), "", json, out, interrupted}, "", "");
  REQUIRE_FALSE(outcome);
  const Failure& failure = outcome.error();
  CHECK(failure.status == (!fault.empty() ? ExitStatus::kRefused
                           : hangs_up     ? ExitStatus::kUnreachable
                                          : ExitStatus::kDeadline));
  CHECK((failure.error.code == ErrorCode::kCancelled) != hangs_up);
  CHECK(failure.error.message.find("only 2 keys looked at, ") != std::string::npos);
  CHECK(failure.reported == json);
  if (!json) {
    CHECK(out.str().starts_with("alice main epoch 2 (active): ok\nalice spare epoch 2 (active): "));
    return;
  }
  const Json said = Json::parse(out.str());
  CHECK(said["interrupted"] == !hangs_up);
  CHECK(said["keys"].size() == 2);
  CHECK(said["keys"][1]["user"] == "alice");
  CHECK(said["keys"][1]["ok"] == fault.empty());
  CHECK(said["faulty"] == (fault.empty() ? 0 : 1));
  CHECK(said["error"] == error_name(failure.error.code));
  CHECK(said["message"] == failure.error.message);
}

TEST_CASE("verify: an interrupt before the first key is told with no finding") {
  test::FakeNode node([](const ipc::ControlCall& call, bool&) { return three_users(call, ""); });
  const std::atomic<bool> interrupted{true};
  std::ostringstream out;
  const auto outcome = run_verify({node.path(), "", true, out, interrupted}, "", "");
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().status == ExitStatus::kDeadline);
  const Json said = Json::parse(out.str());
  CHECK(said["interrupted"] == true);
  CHECK(said["keys"].empty());
  CHECK(said["error"] == "cancelled");
}

TEST_CASE("verify: a verdict that does not say ok is none") {
  for (const char* text : {"{}", R"({"ok":"yes"})", R"({"ok":1})", R"({"ok":false})"}) {
    const std::string line = view_verdict(Json::parse(text));
    INFO(line);
    CHECK(line.find("FAULTY") != std::string::npos);
  }
}

}  // namespace cosigner::ctl
