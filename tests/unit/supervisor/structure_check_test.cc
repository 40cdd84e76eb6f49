// The store's file, sound and not.

#include "supervisor/store/structure_check.h"

#include <unistd.h>

#include "tests/unit/supervisor/store_fixture.h"

namespace cosigner::supervisor::test {
namespace {

constexpr std::chrono::seconds kLong{60};

void fill(Store& store) {
  for (std::uint8_t i = 1; i < 200; ++i) {
    ipc::StoreResult result;
    result.session.data.fill(i);
    result.initiator.data.fill(1);
    result.id.data.fill(i);
    result.keep_until_ms = 1000;
    result.answer = ByteVector(500, i);
    REQUIRE(store.store_result("alice", result));
  }
}

}  // namespace

TEST_CASE("structure: a store in use is sound, and goes on while it is looked at") {
  const StoreFixture fixture;
  auto store = fixture.open();
  REQUIRE(store);
  fill(*store);
  CHECK(check_structure(fixture.path(), kLong).soundness == Soundness::kSound);
  REQUIRE(store->begin());  // with a writer at work
  REQUIRE(store->store_pending("alice", StoreFixture::stored(StoreFixture::record(1))));
  const StructureReport report = check_structure(fixture.path(), kLong);
  INFO(report.detail);
  CHECK(report.soundness == Soundness::kSound);
  REQUIRE(store->commit());
}

TEST_CASE("structure: a damaged page is found and named") {
  const StoreFixture fixture;
  {
    auto store = fixture.open();
    REQUIRE(store);
    fill(*store);
  }  // the last connection moves the log into the file
  const auto size = std::filesystem::file_size(fixture.path());
  REQUIRE(size > 40'000);
  {
    std::fstream file(fixture.path(), std::ios::in | std::ios::out | std::ios::binary);
    for (std::uintmax_t page = 2; page < size / 4096; ++page) {
      file.seekp(static_cast<std::streamoff>(page * 4096));
      file.write("nonsense nonsense nonsense", 26);
    }
  }
  const StructureReport report = check_structure(fixture.path(), kLong);
  CHECK(report.soundness == Soundness::kDamaged);
  CHECK_FALSE(report.detail.empty());
}

TEST_CASE("structure: what is no database, or not there, is no sound store") {
  const StoreFixture fixture;
  CHECK(check_structure(fixture.path(), kLong).soundness == Soundness::kUnknown);
  std::ofstream(fixture.path()) << std::string(8192, 'x');
  CHECK(check_structure(fixture.path(), kLong).soundness == Soundness::kDamaged);
}

TEST_CASE("structure: the check ends when its time is over") {
  const StoreFixture fixture;
  auto store = fixture.open();
  REQUIRE(store);
  fill(*store);
  const StructureReport report = check_structure(fixture.path(), std::chrono::milliseconds(0));
  CHECK(report.soundness == Soundness::kUnknown);
  CHECK(report.detail.find("longer") != std::string::npos);
}

}  // namespace cosigner::supervisor::test
