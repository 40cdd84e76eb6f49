// What a log line carries beside its text, in each of its forms.

#include "supervisor/log/log.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

#include "ipc/names.h"
#include "supervisor/log/audit.h"
#include "supervisor/log/set_up.h"
#include "tests/support/log_lines.h"

namespace cosigner::supervisor::test {
namespace {

using cosigner::test::LogLines;

TEST_CASE("text: fields before the message, and a line without fields has none of an earlier one") {
  const LogLines lines(make_text_formatter("node1"));
  log_about(about("alice", 7, "ab"), spdlog::level::warn, "killed: {}", "why");
  spdlog::info("plain");
  CHECK(lines.text().find(
            " warning [node1] user_id=alice generation=7 session_id=ab: killed: why\n") !=
        std::string::npos);
  CHECK(lines.text().find(" info [node1] plain\n") != std::string::npos);
}

TEST_CASE("json: one object a line, also of text that is no UTF-8") {
  const LogLines lines(make_json_formatter("node1"));
  log_about(about("alice", 7), spdlog::level::err, "a \"quoted\"\nline \xff");
  const auto parsed = nlohmann::json::parse(lines.text());
  CHECK(parsed["user_id"] == "alice");
  CHECK(parsed["generation"] == "7");
  CHECK(parsed["node"] == "node1");
  CHECK(parsed["level"] == "error");
  CHECK(parsed["message"].get<std::string>().starts_with("a \"quoted\"\nline "));
  CHECK_FALSE(parsed.contains("session_id"));
}

TEST_CASE("the journal gets fields of its own names, and line breaks as they are") {
  const auto entry =
      journal_entry(spdlog::level::warn, "node1", "two\nlines", about("alice", 7, "ab"));
  CHECK(entry == std::vector<std::string>{"MESSAGE=two\nlines", "PRIORITY=4",
                                          "SYSLOG_IDENTIFIER=cosignerd", "NODE=node1",
                                          "USER_ID=alice", "GENERATION=7", "SESSION_ID=ab"});
}

TEST_CASE("a process's level of a line is the logger's") {
  CHECK(spdlog_level(ipc::LogLevel::kDebug) == spdlog::level::debug);
  CHECK(spdlog_level(ipc::LogLevel::kInfo) == spdlog::level::info);
  CHECK(spdlog_level(ipc::LogLevel::kWarning) == spdlog::level::warn);
  CHECK(spdlog_level(ipc::LogLevel::kError) == spdlog::level::err);
}

TEST_CASE("hashed users: the token of the broker's subjects, and never the name") {
  set_log_users(true, "demo");
  CHECK(log_user("alice") == user_subject_token("demo", "alice"));
  const LogLines lines(make_text_formatter("node1"));
  set_log_users(true, "demo");
  log_about(about("alice", 7), spdlog::level::info, "text");
  audit_request({.user = "alice", .operation = "sign", .key = "k", .session = {}});
  CHECK(lines.text().find("alice") == std::string::npos);
  CHECK(lines.text().find(user_subject_token("demo", "alice")) != std::string::npos);
}

TEST_CASE("the audit log says who did what with which end, whatever the level") {
  const LogLines lines(make_json_formatter("node1"));
  spdlog::set_level(spdlog::level::err);
  audit_request({.user = "alice",
                 .generation = 3,
                 .operation = "sign",
                 .key = "main",
                 .session = {},
                 .has_client = false,
                 .outcome = "denied"});
  audit_control({.pid = 12, .uid = 34, .gid = 56}, "evict\n", "bob", "denied");
  spdlog::set_level(spdlog::level::info);
  std::istringstream text(lines.text());
  std::string line;
  REQUIRE(std::getline(text, line));
  const auto request = nlohmann::json::parse(line);
  CHECK(request["audit"] == "request");
  CHECK(request["user_id"] == "alice");
  CHECK(request["generation"] == "3");
  CHECK(request["operation"] == "sign");
  CHECK(request["key"] == "main");
  CHECK(request["origin"] == "peer");
  CHECK(request["outcome"] == "denied");
  CHECK(request["session_id"] == to_hex(SessionId{}));
  REQUIRE(std::getline(text, line));
  const auto control = nlohmann::json::parse(line);
  CHECK(control["audit"] == "control");
  CHECK(control["user_id"] == "bob");
  CHECK(control["peer_uid"] == "34");
  CHECK(control["peer_pid"] == "12");
  CHECK(control["outcome"] == "denied");
  CHECK(control["command"].get<std::string>().find('\n') == std::string::npos);
}

TEST_CASE("an order's entry has the pair and the reason, and of a hashed user no name") {
  const LogLines lines(make_json_formatter("node1"));
  set_log_users(true, "demo");
  audit_order({.pid = 12, .uid = 34, .gid = 56}, "unban", "alice", "main", "node2", "two\nlines");
  const auto entry = nlohmann::json::parse(lines.text());
  CHECK(entry["audit"] == "order");
  CHECK(entry["command"] == "unban");
  CHECK(entry["user_id"] == user_subject_token("demo", "alice"));
  CHECK(entry["key"] == "main");
  CHECK(entry["peer"] == "node2");
  CHECK(entry["peer_uid"] == "34");
  CHECK(entry["peer_pid"] == "12");
  CHECK(entry["reason"] == "two?lines");
  CHECK(lines.text().find("alice") == std::string::npos);
}

TEST_CASE("stderr is the journal only where it is the very stream that systemd names") {
  struct stat info{};
  REQUIRE(::fstat(2, &info) == 0);
  const std::string own = std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino);
  ::setenv("JOURNAL_STREAM", own.c_str(), 1);
  CHECK(stderr_is_the_journal());
  ::setenv("JOURNAL_STREAM", (own + "1").c_str(), 1);
  CHECK_FALSE(stderr_is_the_journal());
  ::unsetenv("JOURNAL_STREAM");
  CHECK_FALSE(stderr_is_the_journal());
}

}  // namespace
}  // namespace cosigner::supervisor::test
