#pragma once
// The parts of a node that a test puts together itself: a directory with real keys and a real
// configuration, a loop, the store, the issuer, and a zygote that is a script: what a hung or dying
// one does can be had from no real one.

#include <uv.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <fstream>

#include "ipc/frame.h"
#include "ipc/zygote_messages.h"
#include "supervisor/config/config.h"
#include "supervisor/devcluster/node_files.h"
#include "supervisor/service/issuer.h"
#include "supervisor/service/process_tree.h"
#include "supervisor/store/store_thread.h"
#include "tests/unit/ctl/temporary_directory.h"

namespace cosigner::supervisor::test {

class Loop {
 public:
  Loop() { REQUIRE(uv_loop_init(&loop_) == 0); }
  ~Loop() {
    while (uv_run(&loop_, UV_RUN_NOWAIT) != 0 && ++turns_ < 1000) {
    }
    uv_loop_close(&loop_);
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  uv_loop_t* get() { return &loop_; }

  /// Runs until the condition holds; false after `seconds`.
  template <class Condition>
  bool until(Condition condition, int seconds = 20) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    LoopTimer alarm(&loop_, [] {});
    alarm.start(5, 5);  // so that a turn of the loop ends
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) {
        return false;
      }
      uv_run(&loop_, UV_RUN_ONCE);
    }
    return true;
  }

 private:
  uv_loop_t loop_{};
  int turns_ = 0;
};

/// Keys, peers and a configuration on disk, and what is read from it.
class NodeFiles {
 public:
  NodeFiles() {
    SystemRandom random;
    const devcluster::NodeLayout layout{"node1", directory_.path() / "node1"};
    const auto identity = devcluster::make_broker_identity(
        "dev", {"node1", "node2"}, static_cast<std::int64_t>(wall_seconds()), random);
    const auto self = devcluster::make_node_keys(layout, identity.nodes.at("node1"), random);
    REQUIRE(self);
    const ipc::Peer other{"node2", IdentityKey::generate(random).public_key()};
    REQUIRE(devcluster::write_node_configuration(layout,
                                                 {.cluster = "dev",
                                                  .broker_url = "nats://127.0.0.1:4222",
                                                  .broker_account = identity.account,
                                                  .overrides = {}},
                                                 {*self, other},
                                                 IdentityKey::generate(random).public_key()));
    auto loaded = load_config(layout.configuration().string());
    REQUIRE(loaded);
    config = std::move(*loaded);
  }

  /// A program for Config::worker_program. Its socket is descriptor 3.
  [[nodiscard]] std::string script(const std::string& text,
                                   const std::string& interpreter = "/bin/sh") const {
    const auto path = directory_.path() / "zygote";
    const auto mine = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    std::filesystem::copy_file(mine / "script-runner", path);
    const std::string file = path.string() + ".script";
    std::ofstream(file) << "#!" << interpreter << "\n" << text << "\n";
    std::filesystem::permissions(file, std::filesystem::perms::owner_all);
    return path.string();
  }
  /// A zygote that says it is ready and then answers nothing, nor ends when its socket does.
  [[nodiscard]] std::string mute_zygote(const std::string& first = "") const {
    const auto frame = ipc::encode_frame(ipc::ZygoteReady{.pid = 1}, 0);
    REQUIRE(frame);
    const auto path = directory_.path() / "ready.frame";
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(frame->data()),
               static_cast<std::streamsize>(frame->size()));
    return script("cat " + path.string() + " >&3\n" + first + "\nexec sleep 1000");
  }
  [[nodiscard]] std::unique_ptr<StoreThread> open_store(Loop& loop, const Issuer& issuer) const {
    auto store = Store::open(config.state_directory + "/cosigner.db", issuer.key_encryption_key(),
                             {config.cluster, config.node, config.peers});
    REQUIRE(store);
    return std::make_unique<StoreThread>(loop.get(), std::move(*store));
  }

  Config config;

 private:
  cosigner::test::TemporaryDirectory directory_;
};

}  // namespace cosigner::supervisor::test
