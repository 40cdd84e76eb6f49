#pragma once
// The files of a node's configuration, for tests that spoil them.

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>

#include "ipc/key_file.h"
#include "supervisor/broker/nkey.h"
#include "supervisor/config/config.h"
#include "tests/support/seeded_random.h"

namespace cosigner::supervisor::test {

/// A good configuration, in a directory of its own.
class Files {
 public:
  Files() {
    std::string pattern = (std::filesystem::temp_directory_path() / "cosigner-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    directory = pattern;
    SeededRandom random(1);
    for (const char* name : {"identity.key", "kek.key"}) {
      REQUIRE(create_key_file(directory + "/" + name, random));
    }
    for (const char* name : {"worker.seed", "gateway.seed"}) {
      write(name,
            std::string(broker::Nkey::generate(broker::NkeyKind::kAccount, random).seed_text()) +
                "\n");
      REQUIRE(::chmod((directory + "/" + name).c_str(), 0600) == 0);
    }
    identity = to_hex(load_identity_file(directory + "/identity.key")->public_key().view());
    write("cosigner-worker", "#!/bin/sh\n");
    REQUIRE(::chmod((directory + "/cosigner-worker").c_str(), 0755) == 0);
    account = broker::Nkey::generate(broker::NkeyKind::kAccount, random).public_text();
    write("cosigner.toml", main());
    write("peers.toml", peers());
    write("initiators.toml", initiators());
  }
  ~Files() { std::filesystem::remove_all(directory); }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(directory + "/" + name) << text;
  }
  [[nodiscard]] std::string main() const {
    return "cluster = \"demo\"\n"                     // 1
           "node = \"node1\"\n"                       // 2
           "state_directory = \"state\"\n"            // 3
           "control_socket = \"control.sock\"\n"      // 4
           "identity_key_file = \"identity.key\"\n"   // 5
           "key_encryption_key_file = \"kek.key\"\n"  // 6
           "peers_file = \"peers.toml\"\n"            // 7
           "initiators_file = \"initiators.toml\"\n"  // 8
           "worker_program = \"cosigner-worker\"\n"   // 9
           "[broker]\n"                               // 10
           "url = \"nats://127.0.0.1:4222\"\n"        // 11
           "account = \"" +
           account +
           "\"\n"                                           // 12
           "worker_signing_key_file = \"worker.seed\"\n"    // 13
           "gateway_signing_key_file = \"gateway.seed\"\n"  // 14
           "[workers]\n"                                    // 15
           "idle_timeout_s = 7\n"                           // 16
           "[sessions]\n"                                   // 17
           "attempt_timer_ms = 250\n";                      // 18
  }
  [[nodiscard]] std::string peers() const {
    return "[[peer]]\nnode = \"node2\"\nidentity = \"" + std::string(64, '2') +
           "\"\n[[peer]]\nnode = \"node1\"\nidentity = \"" + identity + "\"\n";
  }
  static std::string initiators() {
    return "[[initiator]]\nname = \"app\"\npublic_key = \"" + std::string(64, '3') +
           "\"\noperations = [\"sign\"]\nusers = [\"a*\"]\nrequests_per_second = 5\n";
  }
  [[nodiscard]] auto load() const { return load_config(directory + "/cosigner.toml"); }

  std::string directory;
  std::string account;
  std::string identity;
};

}  // namespace cosigner::supervisor::test
