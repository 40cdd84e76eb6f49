// An error that a node gives over its control socket arrives whole: whether to ask again, and when.

#include <uv.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "supervisor/control/control_server.h"
#include "supervisor/ctl/control_client.h"
#include "tests/unit/ctl/temporary_directory.h"

using namespace cosigner;

namespace {

/// A real ControlServer on a loop of its own that refuses everything with `error`.
class RefusingNode {
 public:
  explicit RefusingNode(Error error) : error_(std::move(error)) {
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
        [this](std::shared_ptr<supervisor::ControlRequest> call) { call->fail(error_); },
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
                       .retry_after_ms = 200,
                       .peer = {},
                       .peer_reason = {}};
  CHECK(told(starting) == starting);
  const Error died{.code = ErrorCode::kWorkerCrashed,
                   .message = "This node's gateway died.",
                   .may_have_executed = true,
                   .retryable = true,
                   .peer = {},
                   .peer_reason = {}};
  CHECK(told(died) == died);
  const Error wrong{
      .code = ErrorCode::kBadRequest, .message = "No.", .peer = {}, .peer_reason = {}};
  CHECK(told(wrong) == wrong);
}
