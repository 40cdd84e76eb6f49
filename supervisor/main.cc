// cosignerd: the supervisor of one node.

#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>

#include "supervisor/config/cross_check.h"
#include "supervisor/config/host_check.h"
#include "supervisor/control/activation.h"
#include "supervisor/log/set_up.h"
#include "supervisor/service/node.h"

namespace {

using namespace cosigner;
using namespace cosigner::supervisor;

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;
constexpr int kExitConfig = 78;  // EX_CONFIG of sysexits.h

/// As high as it goes; root may go beyond its limit. Where that is too low for the configuration
/// there are fewer workers. Errors: a supervisor without descriptors can neither watch nor start a
/// process.
std::expected<void, ConfigProblem> raise_descriptor_limit(Config& config) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return {};
  }
  const rlim_t needed = descriptors_needed(config.workers.max_workers);
  if (limit.rlim_max < needed) {
    const rlimit raised{needed, needed};
    if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) {
      return {};
    }
  }
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  return fit_workers(config, limit.rlim_max);
}

/// The loop, and its end: what is closing gets its turns, then the loop's own memory goes.
struct OwnLoop {
  uv_loop_t loop;

  OwnLoop() { uv_loop_init(&loop); }
  ~OwnLoop() { close(); }
  OwnLoop(const OwnLoop&) = delete;
  OwnLoop& operator=(const OwnLoop&) = delete;

  void close() {
    for (int turn = 0; open_ && turn < 8; ++turn) {
      uv_run(&loop, UV_RUN_NOWAIT);
      open_ = uv_loop_close(&loop) == UV_EBUSY;
    }
  }

 private:
  bool open_ = true;
};

/// What the signals act on.
struct Stopper {
  uv_loop_t* loop;
  std::unique_ptr<Node>* node;
  bool stopping = false;
};

int serve(Config config) {
  set_up_logging(config);
  if (const std::string missing = missing_workers(config); !missing.empty()) {
    spdlog::warn("{}", missing);
  }
  std::signal(SIGPIPE, SIG_IGN);
  OwnLoop own;
  uv_loop_t& loop = own.loop;
  int status = kExitFailed;
  {
    auto socket = take_control_socket(config.control_socket);
    auto opened = socket ? Node::open(&loop, std::move(config), std::move(*socket))
                         : Expected<std::unique_ptr<Node>>(std::unexpected(socket.error()));
    if (!opened) {
      spdlog::error("{}", opened.error().message);
      return kExitFailed;
    }
    std::unique_ptr<Node> node = std::move(*opened);
    Stopper stopper{&loop, &node};
    std::array<uv_signal_t, 3> signals{};
    for (auto& handle : signals) {
      uv_signal_init(&loop, &handle);
      handle.data = &stopper;
    }
    const uv_signal_cb stop = [](uv_signal_t* handle, int) {
      auto* self = static_cast<Stopper*>(handle->data);
      if (!std::exchange(self->stopping, true)) {
        (*self->node)->stop([self] { uv_stop(self->loop); });
      } else {
        (*self->node)->hurry();
      }
    };
    uv_signal_start(&signals[0], stop, SIGTERM);
    uv_signal_start(&signals[1], stop, SIGINT);
    uv_signal_start(
        &signals[2],
        [](uv_signal_t* handle, int) {
          (*static_cast<Stopper*>(handle->data)->node)->reload_on_signal();
        },
        SIGHUP);
    uv_run(&loop, UV_RUN_DEFAULT);
    status = stopper.stopping ? 0 : kExitFailed;
    for (auto& handle : signals) {
      uv_close(reinterpret_cast<uv_handle_t*>(&handle), nullptr);
    }
    node.reset();
    own.close();
  }
  spdlog::info("stopped");
  spdlog::shutdown();
  return status;
}

int run(int argc, char** argv) {
  CLI::App app{"cosignerd: the supervisor of one cosigner node"};
  std::string path = "/etc/cosigner/cosigner.toml";
  bool check = false;
  app.add_option("--config", path, "configuration file (TOML)")->capture_default_str();
  app.add_flag("--check", check, "check the configuration and its key files, then exit");
  app.set_version_flag("--version", std::string(COSIGNER_VERSION));
  app.footer("Exit status: 0 stopped by order, 1 failed, 2 wrong usage, 78 configuration error.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {  // --help and --version come this way as well
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }

  auto config = check_config(path);
  if (!config) {
    for (const ConfigProblem& problem : config.error()) {
      std::fprintf(stderr, "%s\n", problem.text().c_str());
    }
    return kExitConfig;
  }
  if (const auto raised = raise_descriptor_limit(*config); !raised) {
    std::fprintf(stderr, "%s\n", raised.error().text().c_str());
    return kExitConfig;
  }
  if (check) {
    if (const auto issuer = Issuer::load(*config); !issuer) {
      std::fprintf(stderr, "%s\n", issuer.error().message.c_str());
      return kExitConfig;
    }
    std::puts("The configuration is good.");
    if (const std::string missing = missing_workers(*config); !missing.empty()) {
      std::printf("Started like this, it has %s.\n", missing.c_str());
    }
    return 0;
  }
  return serve(std::move(*config));
}

}  // namespace

int main(int argc, char** argv) {
  const int status = run(argc, argv);
  if (status == kExitUsage || status == kExitConfig) {
    end_activation();
  }
  return status;
}
