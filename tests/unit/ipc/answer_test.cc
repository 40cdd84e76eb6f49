// Answers: their bytes, and what can be read of them.

#include "ipc/answer.h"

#include "ipc/pack.h"
#include "tests/unit/ipc/answer_cluster.h"

using namespace cosigner;
using namespace cosigner::test;

TEST_CASE("answers go round, and unknown error names become internal") {
  const Cluster cluster;
  for (const RequestAnswer& answer :
       {cluster.signed_answer(), cluster.keygen_answer(cluster.record()),
        error_answer(cluster.sign, cluster.sign_session,
                     Error{.code = ErrorCode::kPeerMisbehaved,
                           .message = "m",
                           .may_have_executed = true,
                           .retryable = true,
                           .retry_after_ms = 250,
                           .peer = "node2",
                           .peer_reason = "echo"})}) {
    const ByteVector bytes = encode_answer(answer);
    REQUIRE(decode_answer(bytes));
    CHECK(*decode_answer(bytes) == answer);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      CHECK_FALSE(decode_answer(ByteView(bytes).first(i)));
    }
    for (const AnswerEnvelope& envelope : {cluster.wrap(1, answer), cluster.refuse(1, answer)}) {
      const ByteVector wrapped = encode_answer_envelope(envelope);
      REQUIRE(decode_answer_envelope(wrapped));
      CHECK(*decode_answer_envelope(wrapped) == envelope);
    }
  }
  const ByteVector error = ipc::MapPacker()
                               .text("name", "brand_new")
                               .text("message", "")
                               .boolean("may_have_executed", false)
                               .boolean("retryable", false)
                               .unsigned_integer("retry_after_ms", 0)
                               .text("peer", "")
                               .text("peer_reason", "")
                               .finish();
  const auto answer = decode_answer(ipc::MapPacker()
                                        .unsigned_integer("version", 1)
                                        .bytes("session", ByteVector(32))
                                        .text("op", "dance")
                                        .text("user", "")
                                        .text("key", "")
                                        .boolean("ok", false)
                                        .raw("error", error)
                                        .finish());
  REQUIRE(answer);
  CHECK(std::get<Error>(answer->content).code == ErrorCode::kInternal);
}

TEST_CASE("what an answer says, read without the rest of it") {
  const Cluster cluster;
  CHECK(answer_outcome(encode_answer(cluster.signed_answer())) == "ok");
  CHECK(answer_outcome(encode_answer(cluster.keygen_answer(cluster.record()))) == "ok");
  for (const ErrorCode code : {ErrorCode::kPeerTimeout, ErrorCode::kBanned, ErrorCode::kInternal}) {
    const ByteVector bytes =
        encode_answer(error_answer(cluster.sign, cluster.sign_session, error_of(code)));
    CHECK(answer_outcome(bytes) == error_name(code));
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      CHECK(answer_outcome(ByteView(bytes).first(i)) == "internal");
    }
  }
  const auto answer = [](std::uint64_t version, bool ok, std::string_view content,
                         const ByteVector& body) {
    return ipc::MapPacker()
        .unsigned_integer("version", version)
        .boolean("ok", ok)
        .raw(content, body)
        .finish();
  };
  const ByteVector banned = ipc::MapPacker().text("name", "banned").finish();
  const ByteVector nameless = ipc::MapPacker().text("message", "banned").finish();
  CHECK(answer_outcome(answer(1, false, "error", banned)) == "banned");
  CHECK(answer_outcome(answer(1, false, "error", nameless)) == "internal");
  CHECK(answer_outcome(answer(1, false, "result", banned)) == "internal");
  CHECK(answer_outcome(answer(1, true, "result", nameless)) == "ok");
  CHECK(answer_outcome(answer(1, true, "error", banned)) == "internal");
  CHECK(answer_outcome(answer(2, true, "result", nameless)) == "internal");
  CHECK(answer_outcome({}) == "internal");
  CHECK(answer_outcome(ByteVector(1, 0xc0)) == "internal");
}
