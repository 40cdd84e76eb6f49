// An error that a node gives over its control socket arrives whole: whether to ask again, and when.

#include <uv.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <set>
#include <thread>

#include "supervisor/control/control_server.h"
#include "supervisor/ctl/control_client.h"
#include "tests/unit/ctl/temporary_directory.h"

using namespace cosigner;

namespace {

/// A real ControlServer on a loop of its own that refuses everything with `error`.
class RefusingNode {
 public:
  /// `at_its_end`: it leaves calls open, and refuses them when stop() is called.
  explicit RefusingNode(Error error, bool at_its_end = false) : error_(std::move(error)) {
    path_ = (directory_.path() / "control.sock").string();
    uv_loop_init(&loop_);
    uv_async_init(&loop_, &stop_, [](uv_async_t* handle) {
      auto* self = static_cast<RefusingNode*>(handle->data);
      self->server_.reset();
      uv_close(reinterpret_cast<uv_handle_t*>(handle), nullptr);
    });
    stop_.data = this;
    auto server = supervisor::ControlServer::listen(
        &loop_, path_,
        [this, at_its_end](std::shared_ptr<supervisor::ControlRequest> call) {
          if (!at_its_end) {
            call->fail(error_);
          } else if (call->command() == "stop") {
            server_->stop(error_, nullptr);
          } else {
            open_.push_back(std::move(call));
          }
        },
        [](const supervisor::ControlPeer&) { return true; }, {});
    REQUIRE(server);
    server_ = std::move(*server);
    thread_ = std::thread([this] { uv_run(&loop_, UV_RUN_DEFAULT); });
  }
  ~RefusingNode() {
    uv_async_send(&stop_);
    thread_.join();
    uv_loop_close(&loop_);
  }
  RefusingNode(const RefusingNode&) = delete;
  RefusingNode& operator=(const RefusingNode&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  Error error_;
  test::TemporaryDirectory directory_;
  std::string path_;
  uv_loop_t loop_{};
  uv_async_t stop_{};
  std::unique_ptr<supervisor::ControlServer> server_;
  std::vector<std::shared_ptr<supervisor::ControlRequest>> open_;
  std::thread thread_;
};

Error told(const Error& error) {
  const RefusingNode node(error);
  auto client = ctl::ControlClient::connect(node.path());
  REQUIRE(client);
  const auto reply = client->call("submit", ctl::no_arguments());
  REQUIRE_FALSE(reply);
  return reply.error().error;
}

}  // namespace

TEST_CASE("a node's refusal says whether it may be retried, and after how long") {
  // What GatewayLink::publish says while a gateway starts.
  const Error starting{.code = ErrorCode::kOverloaded,
                       .message = "This node's gateway is starting; ask again.",
                       .retryable = true,
                       .retry_after_ms = 200};
  CHECK(told(starting) == starting);
  const Error died{.code = ErrorCode::kWorkerCrashed,
                   .message = "This node's gateway died.",
                   .may_have_executed = true,
                   .retryable = true};
  CHECK(told(died) == died);
  const Error wrong{.code = ErrorCode::kBadRequest, .message = "No."};
  CHECK(told(wrong) == wrong);
}

TEST_CASE("a node that stops ends each call under way with one final reply") {
  const Error stopping{.code = ErrorCode::kShuttingDown,
                       .message = "This node shut down before the call was done.",
                       .may_have_executed = true,
                       .retryable = true};
  const RefusingNode node(stopping, true);
  auto client = ctl::ControlClient::connect(node.path());
  REQUIRE(client);
  const auto first = client->send("submit", ctl::no_arguments());
  const auto second = client->send("events", ctl::no_arguments());
  const auto last = client->send("stop", ctl::no_arguments());
  REQUIRE(last);
  std::set<std::uint64_t> ended;
  for (;;) {
    const auto reply = client->receive(std::chrono::seconds(20));
    if (!reply) {
      break;  // the connection's end, after the replies
    }
    REQUIRE(*reply);
    CHECK((*reply)->final);
    CHECK(ctl::reply_error(**reply) == stopping);
    CHECK(ended.insert((*reply)->call).second);
  }
  CHECK(ended == std::set{*first, *second, *last});
  CHECK_FALSE(ctl::ControlClient::connect(node.path()));
}
