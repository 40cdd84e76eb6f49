#pragma once
// A store on disk, three nodes' identities, and records they may acknowledge.

#include <sqlite3.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "ipc/key_record.h"
#include "supervisor/store/store.h"
#include "tests/support/seeded_random.h"

namespace cosigner::supervisor::test {

class StoreFixture {
 public:
  StoreFixture() {
    std::string pattern = (std::filesystem::temp_directory_path() / "cosigner-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    directory_ = pattern;
    SeededRandom random(7);
    for (const char* name : {"node1", "node2", "node3"}) {
      identities.push_back(IdentityKey::generate(random));
      peers.push_back({name, identities.back().public_key()});
    }
    key_encryption_key = random.bytes<Bytes<32>>();
  }
  ~StoreFixture() { std::filesystem::remove_all(directory_); }
  StoreFixture(const StoreFixture&) = delete;
  StoreFixture& operator=(const StoreFixture&) = delete;

  [[nodiscard]] std::string path() const { return directory_ + "/cosigner.db"; }
  [[nodiscard]] Expected<Store> open() const {
    return Store::open(path(), key_encryption_key, {"demo", "node1", peers});
  }

  /// Distinct `variant`s are distinct records.
  [[nodiscard]] static KeyRecord record(std::uint64_t epoch, std::uint8_t variant = 1) {
    KeyRecord out;
    out.cluster = "demo";
    out.user = "alice";
    out.key = "main";
    out.epoch = epoch;
    out.threshold = 2;
    out.participants = {{1, "node1"}, {2, "node2"}, {3, "node3"}};
    out.public_key = ByteVector(32, 9);
    out.public_shares = {ByteVector(32, 1), ByteVector(32, 2), ByteVector(32, 3)};
    out.chain_code.data.fill(4);
    out.transcript.data.fill(variant);
    out.session.data.fill(static_cast<std::uint8_t>(0x10 * epoch + variant));
    return out;
  }
  [[nodiscard]] static ipc::StoredKey stored(const KeyRecord& about) {
    return {.key = about.key,
            .epoch = about.epoch,
            .state = ipc::KeyState::kPending,
            .session = about.session,
            .record = encode_key_record(about),
            .sealed_share = to_vector(as_bytes("sealed share of epoch " +
                                               std::to_string(about.epoch) + " and its marker")),
            .certificate = {}};
  }
  [[nodiscard]] std::vector<Acknowledgement> acknowledge(const KeyRecord& about) const {
    const ByteVector bytes = encode_key_record(about);
    std::vector<Acknowledgement> out;
    for (std::size_t i = 0; i < 3; ++i) {
      Statement statement = acknowledgement_statement(
          about, bytes, {.node = peers[i].node, .generation = 3 + i, .signature = {}});
      sign_statement(statement, identities[i]);
      out.push_back(to_acknowledgement(statement));
    }
    return out;
  }
  [[nodiscard]] ipc::StoreActivate activation(const KeyRecord& about) const {
    ipc::StoreActivate out;
    out.key = about.key;
    out.epoch = about.epoch;
    out.session = about.session;
    out.certificate = encode_commit_certificate(acknowledge(about));
    return out;
  }
  [[nodiscard]] Statement refusal(const KeyRecord& about, std::size_t by = 1) const {
    Statement out{.kind = StatementKind::kKeyRefusal,
                  .cluster = "demo",
                  .node = peers[by].node,
                  .user = about.user,
                  .generation = 5,
                  .key = about.key,
                  .epoch = about.epoch,
                  .session = about.session,
                  .digest = acknowledgement_digest(encode_key_record(about)),
                  .signature = {}};
    sign_statement(out, identities[by]);
    return out;
  }
  [[nodiscard]] static ipc::StoreDiscard discarding(const KeyRecord& about,
                                                    const Statement& refusal) {
    ipc::StoreDiscard out;
    out.key = about.key;
    out.epoch = about.epoch;
    out.session = about.session;
    out.refusal = encode_statement(refusal);
    return out;
  }
  [[nodiscard]] static ipc::StoreRefusal refusing(const KeyRecord& about) {
    ipc::StoreRefusal out;
    out.key = about.key;
    out.epoch = about.epoch;
    out.session = about.session;
    out.digest = acknowledgement_digest(encode_key_record(about));
    return out;
  }
  /// Does any file of the store hold these bytes?
  [[nodiscard]] bool on_disk(std::string_view bytes) const {
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      std::ifstream file(entry.path(), std::ios::binary);
      const std::string all((std::istreambuf_iterator<char>(file)), {});
      if (all.find(bytes) != std::string::npos) {
        return true;
      }
    }
    return false;
  }

  std::vector<IdentityKey> identities;
  std::vector<ipc::Peer> peers;
  Bytes<32> key_encryption_key;

 private:
  std::string directory_;
};

/// What someone with access to the file might do.
inline void edit(const std::string& path, const std::string& sql) {
  sqlite3* database = nullptr;
  REQUIRE(sqlite3_open(path.c_str(), &database) == SQLITE_OK);
  char* message = nullptr;
  const int status = sqlite3_exec(database, sql.c_str(), nullptr, nullptr, &message);
  INFO(sql << ": " << (message != nullptr ? message : ""));
  REQUIRE(status == SQLITE_OK);
  REQUIRE(sqlite3_changes(database) >= 0);
  sqlite3_close(database);
}

template <class T>
ErrorCode code_of(const Expected<T>& result) {
  REQUIRE_FALSE(result.has_value());
  return result.error().code;
}

}  // namespace cosigner::supervisor::test
