// How a user's keys are cut into frames.

#include "ipc/start_keys.h"

#include <catch2/catch.hpp>

#include "ipc/frame.h"

using namespace cosigner;
using namespace cosigner::ipc;

namespace {

std::vector<StoredKey> keys(std::size_t count, std::size_t share_bytes) {
  std::vector<StoredKey> out(count);
  for (std::size_t i = 0; i < count; ++i) {
    out[i].key = "key" + std::to_string(i);
    out[i].record.resize(700);
    out[i].certificate.resize(300);
    out[i].sealed_share.resize(share_bytes);
  }
  return out;
}

}  // namespace

TEST_CASE("start keys: a thousand large ones are cut into parts that fit a frame, none is lost") {
  constexpr std::size_t kEcdsaShare = 46'800;  // three participants
  const auto parts = split_start_keys(keys(1000, kEcdsaShare));
  REQUIRE(parts);
  CHECK(parts->size() > 20);
  std::size_t next = 0;
  for (const auto& part : *parts) {
    CHECK_FALSE(part.empty());
    for (const StoredKey& key : part) {
      REQUIRE(key.key == "key" + std::to_string(next++));
    }
    const auto frame = encode_frame(StartKeys{.keys = part}, 1);
    REQUIRE(frame);
    CHECK(frame->size() <= kStartPartBytes);
    const auto decoded = decode<StartKeys>(*parse_frame(as_view(*frame)));
    REQUIRE(decoded);
    CHECK(decoded->keys.size() == part.size());
  }
  CHECK(next == 1000);
}

TEST_CASE("start keys: few are one part, none are one empty part") {
  CHECK(split_start_keys({})->size() == 1);
  CHECK(split_start_keys({})->front().empty());
  CHECK(split_start_keys(keys(100, 200))->size() == 1);
}

TEST_CASE("start keys: very many small ones stay below what one list may hold") {
  const auto parts = split_start_keys(keys(20'000, 10));
  REQUIRE(parts);
  for (const auto& part : *parts) {
    CHECK(encode_frame(StartKeys{.keys = part}, 1));
  }
}

TEST_CASE("start keys: a large key has a part of its own, and fits") {
  std::vector<StoredKey> three = keys(3, 10);
  three[1].sealed_share.resize(3U << 20);
  const auto parts = split_start_keys(std::move(three));
  REQUIRE(parts);
  REQUIRE(parts->size() == 3);
  CHECK(encode_frame(StartKeys{.keys = (*parts)[1]}, 1));
}

TEST_CASE("start keys: more than a process takes is an error that says so") {
  const auto refused = split_start_keys(keys(kMaxStartBytes / (1U << 20) + 1, 1U << 20));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::kOverloaded);
  CHECK(refused.error().message.find("256 MiB") != std::string::npos);
}
