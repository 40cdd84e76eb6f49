// Writes a seed corpus: one well-formed input of each kind for each target.
// usage: fuzz-seeds DIRECTORY

#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>

#include "ipc/answer.h"
#include "ipc/crash_record.h"
#include "ipc/frame.h"
#include "ipc/pack.h"
#include "ipc/request.h"
#include "tests/support/all_messages.h"
#include "tests/support/crash_record_bytes.h"
#include "tests/support/seeded_random.h"
#include "tests/support/session_messages.h"
#include "worker/session/packet.h"

using namespace cosigner;

namespace {

class Corpus {
 public:
  explicit Corpus(std::filesystem::path root) : root_(std::move(root)) {}
  void add(const std::string& target, ByteView bytes) {
    const auto directory = root_ / target;
    std::filesystem::create_directories(directory);
    std::ofstream out(directory / ("seed-" + std::to_string(count_++)), std::ios::binary);
    out << as_text(bytes);
  }

 private:
  std::filesystem::path root_;
  int count_ = 0;
};

void add_frames(Corpus& corpus) {
  each(ipc::AllMessages{}, [&](const auto& message) {
    ByteVector input = {255};  // the step in which the target feeds the rest
    const auto frame = ipc::encode_frame(message, 1);
    input.insert(input.end(), frame->begin(), frame->end());
    corpus.add("frames", input);
  });
}

void add_start_messages(Corpus& corpus) {
  ipc::WorkerStart start;
  start.cluster = "demo";
  start.node = "node1";
  start.user = "alice";
  start.sealing_key.resize(32);
  start.peers = {{.node = "node1", .identity = {}}, {.node = "node2", .identity = {}}};
  start.initiators.resize(1);
  start.initiators[0].operations = {"*"};
  start.initiators[0].users = {"*"};
  start.keys.resize(1);
  start.present = {"node2"};
  ByteVector input = {255};
  const auto frame = ipc::encode_frame(start, 1);
  input.insert(input.end(), frame->begin(), frame->end());
  corpus.add("frames", input);
}

// As a handler writes them: first what is certain, then the same with the stack.
void add_crash_records(Corpus& corpus) {
  ipc::CrashRecord record{.signal = 11,
                          .fault = ipc::FaultPlace::kModule,
                          .generation = 3,
                          .request = 17,
                          .session = {},
                          .fault_at = {"libc.so.6", 0x1a2b},
                          .stack = {{"cosigner-worker", 0x1234}}};
  ByteVector input = {255};
  const auto append = [&] {
    const ByteVector bytes = test::crash_record_bytes(record);
    input.insert(input.end(), bytes.begin(), bytes.end());
  };
  append();
  record.stack.insert(record.stack.end(), {{"libc.so.6", 0x27fff}, {"", 0}});
  append();
  corpus.add("frames", input);
  record.kind = ipc::CrashKind::kOutOfMemory;
  record.signal = 0;
  append();
  corpus.add("frames", input);
}

void add_control_calls(Corpus& corpus) {
  const auto add = [&corpus](const auto&... messages) {
    ByteVector input = {255};
    const auto append = [&input](const auto& message) {
      const auto frame = ipc::encode_frame(message, 0);
      input.insert(input.end(), frame->begin(), frame->end());
    };
    (append(messages), ...);
    corpus.add("control", input);
  };
  const auto call = [](const char* command, ByteVector arguments) {
    return ipc::ControlCall{.call = 7, .command = command, .arguments = std::move(arguments)};
  };
  using ipc::MapPacker;
  add(call("status", {}));
  add(call("evict", MapPacker().text("user", "alice").finish()), ipc::ControlCancel{.call = 7});
  add(call("bans", MapPacker().text("user", "alice").finish()));
  add(call("verify", MapPacker().text("user", "alice").text("key", "main").finish()));
  add(call("renew", MapPacker()
                        .text("user", "alice")
                        .text("key", "main")
                        .text("peer", "node2")
                        .text("reason", "restored from a backup")
                        .finish()));
  add(call("events", MapPacker().boolean("follow", true).finish()));
  add(call("log-level", MapPacker().text("level", "debug").finish()));
  add(call("submit", MapPacker()
                         .bytes("envelope", ByteVector{1, 2, 3})
                         .bytes("session", ByteVector(32))
                         .finish()));
}

void add_packets(Corpus& corpus) {
  using worker::encode_contents;
  std::vector<ByteVector> all;
  ipc::each(test::AllSessionMessages{}, [&]<class T>(const T& /*kind*/) {
    all.push_back(worker::encode_message(test::filled<T>()));
    corpus.add("packets", as_view(encode_contents(true, {}, {all.back()})));
  });
  corpus.add("packets", as_view(encode_contents(false, {1, 2}, all)));
  auto hello = test::filled<worker::SignedHello>();
  hello.body = worker::encode_fields(test::filled<worker::Hello>());
  corpus.add("packets", worker::encode_hello_packet(hello));
  auto start = test::filled<worker::Start>();
  start.hellos.assign(2, hello);
  corpus.add("packets", as_view(encode_contents(true, {}, {worker::encode_message(start)})));
  corpus.add("packets", worker::encode_greeting(true, ByteVector{1, 2, 3}));
  ByteVector sealed = worker::sealed_header(1, 2, ByteVector{1, 2, 3});
  sealed.resize(sealed.size() + 40);  // sequence, a short ciphertext
  corpus.add("packets", sealed);
}

Request example(const IdentityKey& key, Operation operation) {
  Request out;
  out.cluster = "demo";
  out.initiator = key.public_key();
  out.operation = operation;
  out.user = "alice";
  out.key = "main";
  out.issued_at_ms = 1'790'000'000'000;
  out.expires_at_ms = out.issued_at_ms + 1000;
  if (operation == Operation::kKeygen) {
    out.threshold = 2;
    out.participants = {"node1", "node2"};
  } else {
    out.message = {1, 2, 3};
  }
  return out;
}

KeyRecord example_record() {
  KeyRecord out;
  out.cluster = "demo";
  out.user = "alice";
  out.key = "main";
  out.epoch = 1;
  out.threshold = 2;
  out.participants = {{1, "node1"}, {2, "node2"}};
  out.public_key.resize(32);
  out.public_shares.assign(2, ByteVector(32));
  return out;
}

void add_answer(Corpus& corpus, const RequestAnswer& answer, const Certificate& certificate) {
  const ByteVector bytes = encode_answer(answer);
  corpus.add("answer", bytes);
  AnswerEnvelope envelope{.node = "node1", .answer = bytes, .origin = Statement{}};
  corpus.add("answer", encode_answer_envelope(envelope));
  envelope.origin = GatewaySignature{encode_certificate(certificate), {}};
  corpus.add("answer", encode_answer_envelope(envelope));
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::cerr << "usage: fuzz-seeds DIRECTORY\n";
    return 64;
  }
  Corpus corpus(arguments[1]);
  SeededRandom random(1);
  const IdentityKey key = IdentityKey::generate(random);

  add_frames(corpus);
  add_start_messages(corpus);
  add_crash_records(corpus);
  add_control_calls(corpus);
  add_packets(corpus);

  for (const auto operation : {Operation::kKeygen, Operation::kSign}) {
    const Request request = example(key, operation);
    corpus.add("request", encode_request(request));
    corpus.add("request", sign_request(request, key)->envelope);
  }
  Request child = example(key, Operation::kSign);
  child.scheme = Scheme::kEcdsaSecp256k1;
  child.message.assign(32, 1);
  child.path = {44, 60, 0, 0, 5};
  corpus.add("request", encode_request(child));

  Certificate certificate;
  certificate.cluster = "demo";
  certificate.node = "node1";
  certificate.user = "alice";
  certificate.not_after = 3600;
  sign_certificate(certificate, key);
  corpus.add("identity", encode_certificate(certificate));
  Statement statement;
  statement.cluster = "demo";
  statement.node = "node1";
  sign_statement(statement, key);
  corpus.add("identity", encode_statement(statement));

  const KeyRecord record = example_record();
  const std::vector<Acknowledgement> acknowledgements(
      2, {.node = "node1", .generation = 1, .signature = {}});
  corpus.add("answer", encode_key_record(record));
  corpus.add("answer", encode_commit_certificate(acknowledgements));
  RequestAnswer answer;
  answer.operation = "sign";
  answer.content = SignResult{};
  add_answer(corpus, answer, certificate);
  answer.operation = "keygen";
  answer.content = KeygenResult{.scheme = Scheme::kEd25519,
                                .epoch = 1,
                                .public_key = ByteVector(32),
                                .record = encode_key_record(record),
                                .acknowledgements = acknowledgements};
  add_answer(corpus, answer, certificate);
  answer.content = Error{};
  add_answer(corpus, answer, certificate);
  return 0;
}
