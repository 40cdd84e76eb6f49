// What people and scripts see: tables, JSON, messages in and signatures out, quantiles.

#include <catch2/catch.hpp>
#include <fstream>

#include "ipc/pack.h"
#include "supervisor/ctl/latency.h"
#include "supervisor/ctl/message_io.h"
#include "supervisor/ctl/table.h"
#include "supervisor/ctl/view.h"
#include "tests/unit/ctl/temporary_directory.h"

namespace cosigner::ctl {
namespace {

std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("tables are as wide as their widest cells and end without blanks") {
  Table table({"A", "LONG NAME"});
  table.row({"wide cell", "x"});
  table.row({"short"});
  CHECK(table.text() == "A          LONG NAME\nwide cell  x\nshort\n");
}

TEST_CASE("sizes and durations for people") {
  CHECK(human_bytes(0) == "0 B");
  CHECK(human_bytes(1023) == "1023 B");
  CHECK(human_bytes(1536) == "1.5 KiB");
  CHECK(human_bytes(3ULL << 30U) == "3.0 GiB");
  CHECK(human_seconds(0) == "0 s");
  CHECK(human_seconds(59) == "59 s");
  CHECK(human_seconds(93) == "1 min 33 s");
  CHECK(human_seconds(90000) == "1 d 1 h");
}

TEST_CASE("quantiles are nearest ranks") {
  Latencies latencies;
  CHECK(latencies.quantile_ms(0.5) == 0);
  for (int i = 100; i >= 1; --i) {
    latencies.add(std::chrono::milliseconds(i));
  }
  CHECK(latencies.quantile_ms(0.50) == 50);
  CHECK(latencies.quantile_ms(0.99) == 99);
  CHECK(latencies.quantile_ms(1.00) == 100);
  latencies.add(std::chrono::milliseconds(1000));
  CHECK(latencies.quantile_ms(1.00) == 1000);
}

TEST_CASE("latencies are counted to three digits") {
  Latencies latencies;
  for (const int microseconds : {0, 7, 999, 1000, 1004, 1005, 1014, 1'234'499, 1'235'000}) {
    latencies.add(std::chrono::microseconds(microseconds));
  }
  latencies.add(std::chrono::hours(24 * 365));  // more than is kept
  CHECK(latencies.counts() == std::map<std::uint32_t, std::uint64_t>{{0, 1},
                                                                     {7, 1},
                                                                     {999, 1},
                                                                     {1000, 2},
                                                                     {1010, 2},
                                                                     {1'230'000, 1},
                                                                     {1'240'000, 1},
                                                                     {4'290'000'000, 1}});
}

TEST_CASE("a message comes from exactly one place, byte for byte") {
  cosigner::test::TemporaryDirectory directory;
  const std::string bytes("\0\n\xff text \0", 9);
  std::ofstream(directory.path() / "m", std::ios::binary) << bytes;
  const auto from_file =
      read_message({.file = (directory.path() / "m").string(), .hex = std::nullopt});
  REQUIRE(from_file);
  CHECK(as_text(*from_file) == bytes);
  CHECK(read_message({.file = "", .hex = ""}).value().empty());
  CHECK(read_message({.file = "", .hex = "00fF"}).value() == ByteVector{0x00, 0xff});
  CHECK(read_message({.file = "", .hex = "0"}).error().status == ExitStatus::kUsage);
  CHECK(read_message({.file = "", .hex = std::nullopt}).error().status == ExitStatus::kUsage);
  CHECK(read_message({.file = "x", .hex = "00"}).error().status == ExitStatus::kUsage);
  CHECK(read_message({.file = "/nonexistent", .hex = std::nullopt}).error().status ==
        ExitStatus::kNoInput);
}

TEST_CASE("a file appears whole, an existing one is overwritten") {
  cosigner::test::TemporaryDirectory directory;
  const auto path = directory.path() / "out";
  REQUIRE(write_file(path.string(), "first, longer"));
  REQUIRE(write_file(path.string(), "second"));
  CHECK(contents(path) == "second");
  CHECK(write_file("/nonexistent/out", "x").error().status == ExitStatus::kCannotWrite);
}

TEST_CASE("that a file cannot be written is said before it is wanted, and nothing is changed") {
  cosigner::test::TemporaryDirectory directory;
  const auto path = directory.path() / "out";
  REQUIRE(check_writable(path.string()));
  CHECK(std::filesystem::is_empty(directory.path()));
  REQUIRE(write_file(path.string(), "kept"));
  REQUIRE(check_writable(path.string()));
  CHECK(contents(path) == "kept");
  CHECK(check_writable("/dev/full"));  // what a device takes is known only by writing to it
  CHECK(write_file("/dev/full", "x").error().status == ExitStatus::kCannotWrite);
  for (const std::string& wrong :
       {std::string("/nonexistent/out"), directory.path().string(), path.string() + "/under"}) {
    CAPTURE(wrong);
    CHECK(check_writable(wrong).error().status == ExitStatus::kCannotWrite);
  }
}

TEST_CASE("the users, each with its process, memory and sessions") {
  const Json reply = Json::parse(R"({"users":[{"user":"alice","state":"ready","generation":3,)"
                                 R"("pid":4711,"memory_bytes":2097152,"processor_ms":5,)"
                                 R"("last_active_ms":2000,"sessions":7,"in_flight":2,"queued":1,)"
                                 R"("restarts":4,"last_death":"signal 9"}]})");
  CHECK(view_users(reply) ==
        "USER   STATE  PID   GENERATION  MEMORY   SESSIONS  IN FLIGHT  QUEUED  RESTARTS  "
        "LAST ACTIVE  LAST DEATH\n"
        "alice  ready  4711  3           2.0 MiB  7         2          1       4         "
        "2 s ago      signal 9\n");
}

TEST_CASE("errors carry their name in both forms") {
  Error error = fail(ErrorCode::kPeerMisbehaved, "A share did not verify.").error();
  error.may_have_executed = true;
  error.peer = "node2";
  error.peer_reason = "bad share";
  const Json json = error_json(error);
  CHECK(json["error"] == "peer_misbehaved");
  CHECK(json["message"] == "A share did not verify.");
  CHECK(json["may_have_executed"] == true);
  CHECK(json["peer"] == "node2");
  CHECK(error_text(error) ==
        "A share did not verify (peer_misbehaved; node2: bad share; it may have executed).");
}

TEST_CASE("a reply's body becomes JSON in its own order, bytes as hex") {
  ipc::ArrayPacker list;
  list.next().signed_integer(-1);
  list.next().null();
  const ByteVector body = ipc::MapPacker()
                              .text("z", "text")
                              .bytes("a", ByteVector{1, 255})
                              .boolean("ok", true)
                              .unsigned_integer("n", UINT64_MAX)
                              .raw("list", list.finish())
                              .finish();
  CHECK(parse_body(body).value().dump() ==
        R"({"z":"text","a":"01ff","ok":true,"n":18446744073709551615,"list":[-1,null]})");
  CHECK_FALSE(parse_body(ByteVector{0xc1}));
}

TEST_CASE("views never fail, whatever a node of another release says") {
  for (const char* text : {"{}", "[]", "null", "3", R"({"users":3,"keys":{},"peers":"x"})",
                           R"({"users":[{}],"keys":[{}],"peers":[{}],"workers":[1],"broker":7})",
                           R"({"node":3,"ready":"yes","degraded":[1,"b"],"peers":[1,null]})"}) {
    const Json json = Json::parse(text);
    CHECK_NOTHROW(view_status(json));
    CHECK_NOTHROW(view_users(json));
    CHECK_NOTHROW(view_keys(json));
    CHECK_NOTHROW(view_peers(json));
    CHECK_NOTHROW(view_object(json));
  }
}

}  // namespace cosigner::ctl
