// What a captured gateway may cost: a script in its place says what no honest one says.

#include "supervisor/service/gateway_link.h"

#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <sstream>

#include "supervisor/metrics/node_metrics.h"
#include "tests/unit/service/node_fixture.h"
#include "tests/unit/service/python_zygote.h"

namespace cosigner::supervisor::test {
namespace {

/// A zygote whose forks are gateways that do `behaviour` once they are ready: `send(type, fields)`,
/// and `receive()` for the type of the next frame. Generations here are always 7.
std::string captured_gateway(const std::string& key_hex, const std::string& behaviour) {
  return python_zygote(R"(def child(fd):
    pair = socket.socket(fileno=fd)
    pair.setblocking(True)
    key = bytes.fromhex(")" +
                       key_hex + R"(")
    def send(kind, fields):
        pair.sendall(frame(kind, fields, 7))
    def exactly(size):
        data = b""
        while len(data) < size:
            part = pair.recv(size - len(data))
            if not part:
                os._exit(0)
            data += part
        return data
    def receive():
        body = exactly(struct.unpack(">I", exactly(4))[0])
        return struct.unpack(">H", body[3:5])[0]
    send(60, [key, key])
    receive()
    send(62, [1])
)" + behaviour +
                       R"(
    while True:
        receive()
)");
}

/// Everything logged while it lives.
class LogLines {
 public:
  LogLines() : before_(spdlog::default_logger()) {
    spdlog::set_default_logger(std::make_shared<spdlog::logger>(
        "test", std::make_shared<spdlog::sinks::ostream_sink_st>(text_)));
  }
  ~LogLines() { spdlog::set_default_logger(before_); }
  LogLines(const LogLines&) = delete;
  LogLines& operator=(const LogLines&) = delete;
  [[nodiscard]] std::size_t count(std::string_view what) const {
    std::size_t out = 0;
    const std::string all = text_.str();
    for (std::size_t at = all.find(what); at != std::string::npos; at = all.find(what, at + 1)) {
      ++out;
    }
    return out;
  }

 private:
  std::ostringstream text_;
  std::shared_ptr<spdlog::logger> before_;
};

struct CapturedGateway {
  Loop loop;
  NodeFiles files;
  SystemRandom random;
  LogLines log;
  Issuer issuer;
  ProcessTree tree;
  NodeMetrics metrics{{.version = "test", .cluster = "dev", .node = "node1", .peers = {"node2"}}};
  std::size_t presences = 0;
  std::size_t changes = 0;
  std::size_t requests = 0;
  bool gone = false;
  std::chrono::steady_clock::time_point began = std::chrono::steady_clock::now();
  GatewayLink link;

  explicit CapturedGateway(const std::string& behaviour, std::size_t initiators = 1)
      : issuer(load(files.config)),
        tree(loop.get(), files.script(script(random, behaviour), "/usr/bin/python3"), random,
             [] {}),
        link(loop.get(), fill(files.config, initiators), issuer, tree, metrics, random,
             {.request = [this](const std::string&, const RequestInfo&,
                                const ByteVector&) { ++requests; },
              .presence = [this](const std::string&, bool) { ++presences; },
              .take_generation = [] { return std::optional<std::uint64_t>(7); },
              .on_change = [this] { ++changes; },
              .on_gone = [this] { gone = true; }}) {
    REQUIRE(tree.start());
    link.start();
  }
  ~CapturedGateway() {
    link.stop(0);
    loop.until([this] { return gone; });
    tree.stop();
    loop.until([this] { return tree.pid() == 0; });
  }
  CapturedGateway(const CapturedGateway&) = delete;
  CapturedGateway& operator=(const CapturedGateway&) = delete;

  static Issuer load(const Config& config) {
    auto issuer = Issuer::load(config);
    REQUIRE(issuer);
    return std::move(*issuer);
  }
  static std::string script(Random& random, const std::string& behaviour) {
    const auto key = IdentityKey::generate(random).public_key();
    return captured_gateway(to_hex(key.view()), behaviour);
  }
  static const Config& fill(Config& config, std::size_t initiators) {
    config.initiators.resize(initiators, config.initiators.at(0));
    for (auto& initiator : config.initiators) {
      initiator.name.resize(300, 'x');
    }
    return config;
  }
  /// What a rate of one a second allows by now.
  [[nodiscard]] std::size_t seconds() const {
    return 2 + static_cast<std::size_t>(std::chrono::duration_cast<std::chrono::seconds>(
                                            std::chrono::steady_clock::now() - began)
                                            .count());
  }
};

}  // namespace

TEST_CASE("gateway link: what a captured gateway repeats reaches workers and journal at a rate") {
  CapturedGateway node(R"(
    for k in range(20001):
        send(70, ["node2", k % 2 == 0])
    for k in range(2000):
        send(71, [k % 2 == 0, "detail" * 1000])
    for k in range(2000):
        send(42, [3, "flood" + "x" * 1000, ""])
    for k in range(200):
        send(27, [0])
    send(70, ["nobody", True])
    renewed = 0
    pair.settimeout(1.5)
    try:
        while True:
            renewed += receive() == 28
    except socket.timeout:
        pass
    pair.settimeout(None)
    send(42, [3, "renewed %d times, the end" % renewed, ""])
)");
  REQUIRE(node.loop.until([&] { return node.log.count("the end") == 1; }, 60));
  CHECK(node.link.restarts() == 0);
  CHECK(node.link.ready());
  CHECK(node.presences >= 1);
  CHECK(node.presences <= 4 + node.seconds());
  CHECK(node.link.present().contains("node2"));  // the last state
  CHECK_FALSE(node.link.present().contains("nobody"));
  CHECK(node.log.count("broker: ") <= 4 + node.seconds());
  CHECK(node.changes <= 10 + node.seconds());
  std::size_t renewals = 0;
  for (std::size_t times = 1; times <= node.seconds(); ++times) {
    renewals += node.log.count("renewed " + std::to_string(times) + " times");
  }
  CHECK(renewals == 1);
  CHECK(node.log.count("floodx") >= 1);
  CHECK(node.log.count("floodx") <= 50 * node.seconds());
}

TEST_CASE("gateway link: a request without an envelope ends the gateway") {
  CapturedGateway node(R"(
    send(63, [1, "alice", "k", "sign", "", bytes(32), b"\x01"])
    send(63, [2, "alice", "k", "sign", "", bytes(32), b""])
)");
  REQUIRE(node.loop.until([&] { return node.link.restarts() >= 1; }));
  CHECK(node.requests >= 1);
  CHECK(node.log.count("a request without one") >= 1);
}

TEST_CASE("gateway link: a configuration that fits no frame is named as the reason") {
  CapturedGateway node("    pass\n", 20'000);
  REQUIRE(node.loop.until([&] { return node.link.restarts() >= 1; }));
  CHECK(node.log.count("too many initiators") >= 1);
  CHECK_FALSE(node.link.ready());
}

TEST_CASE("gateway link: a publish that no repetition helps is not called retryable") {
  for (const auto& [name, retryable] : {std::pair<std::string, bool>{"bad_request", false},
                                        {"peer_unreachable", true},
                                        {"overloaded", true}}) {
    CapturedGateway node(R"(
    receive()
    send(67, [1, ")" + name +
                         R"(", "said so"])
)");
    REQUIRE(node.loop.until([&] { return node.link.ready(); }));
    std::optional<Error> failed;
    REQUIRE(node.link.publish(ByteVector(10), {.on_answer = [](const ByteVector&) {},
                                               .on_failed = [&](const Error& e) { failed = e; }}));
    REQUIRE(node.loop.until([&] { return failed.has_value(); }));
    CHECK(error_name(failed->code) == name);
    CHECK(failed->retryable == retryable);
  }
}

}  // namespace cosigner::supervisor::test
