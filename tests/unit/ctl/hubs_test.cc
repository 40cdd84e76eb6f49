// What init writes for a cluster with several hubs, read by a real nats-server.

#include <catch2/catch.hpp>
#include <chrono>
#include <fstream>

#include "supervisor/ctl/setup/authority.h"
#include "supervisor/ctl/setup/membership.h"
#include "supervisor/ctl/setup/support.h"
#include "tests/unit/ctl/temporary_directory.h"

namespace cosigner::ctl {
namespace {

/// nats-server reads the file and everything that it names.
bool accepted_by_nats_server(const std::filesystem::path& configuration) {
  return run_program({"nats-server", "-t", "-c", configuration.string()}, "");
}

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
}

}  // namespace

TEST_CASE("setup: nats-server reads the configurations of a cluster with one, two and three hubs") {
  const std::vector<std::string> all = {"h1.example.net:7422", "[2001:db8::1]:7422", "10.0.0.3:81"};
  for (std::size_t count = 1; count <= all.size(); ++count) {
    INFO(count << " hubs");
    const cosigner::test::TemporaryDirectory root;
    const NodeDirectory directory(root.path());
    SystemRandom random;
    const auto made = make_node(directory,
                                {.cluster = "main",
                                 .node = "a",
                                 .broker_listen = "127.0.0.1:4222",
                                 .form = CredentialForm::kPlain,
                                 .key_encryption_key = std::nullopt},
                                random);
    REQUIRE(made);
    auto authority =
        Authority::create(directory,
                          {.cluster = "main",
                           .hubs = {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count)},
                           .hub_listen = "127.0.0.1:4223",
                           .threshold = 2,
                           .initiator = made->card.identity},
                          setup::now_s(), random);
    REQUIRE(authority);
    REQUIRE(authority->admit(made->sealed));
    REQUIRE(setup::publish_here(directory, *authority));

    CHECK(accepted_by_nats_server(directory.broker() / "leaf.conf"));
    CHECK(accepted_by_nats_server(directory.broker() / "hub.conf"));
    const auto leaf = read_file(directory.broker() / "leaf.conf");
    REQUIRE(leaf);
    for (std::size_t i = 0; i < all.size(); ++i) {
      CHECK((leaf->find("tls://" + all[i]) != std::string::npos) == (i < count));
    }
    // The others' files name their place on their own hosts; here they lie elsewhere.
    for (const char* host : {"2001:db8::1", "10.0.0.3"}) {
      const auto there = directory.authority() / (std::string("hub-") + host);
      if (!std::filesystem::exists(there)) {
        continue;
      }
      INFO(host);
      auto text = read_file(there / "hub.conf").value();
      CHECK(text.find("nats-route://h1.example.net:6222") != std::string::npos);
      CHECK((text.find("nats-route://[2001:db8::1]:6222") != std::string::npos) ==
            (std::string(host) == "10.0.0.3"));
      CHECK(text.find("listen: \"[::]:") != std::string::npos);  // there is an IPv6 hub
      replace_all(text, "/etc/cosigner/broker/", there.string() + "/");
      std::ofstream(there / "moved.conf") << text;
      CHECK(accepted_by_nats_server(there / "moved.conf"));
    }
    CHECK(std::filesystem::exists(directory.authority() / "hub-2001:db8::1") == (count > 1));
  }
}

}  // namespace cosigner::ctl
