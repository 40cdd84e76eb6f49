// What one worker reads of another: a packet, what a sealed one holds, the messages in it, and the
// hello's body. All encodings are canonical, so what decodes encodes to the input.

#include "tests/fuzz/require.h"
#include "tests/support/session_messages.h"
#include "worker/session/packet.h"

using namespace cosigner;
using namespace cosigner::worker;

namespace {

template <class T>
std::optional<T> canonical(ByteView input) {
  std::optional<T> value = decode_fields<T>(input);
  fuzz::require(!value || std::ranges::equal(encode_fields(*value), input));
  return value;
}

void read_message(ByteView message) {
  ipc::each(test::AllSessionMessages{}, [&]<class T>(const T& /*kind*/) {
    if (message[0] != static_cast<std::uint8_t>(T::kKind)) {
      return;
    }
    const std::optional<T> value = canonical<T>(message.subspan(1));
    if constexpr (std::is_same_v<T, Start>) {
      if (value) {
        for (const SignedHello& hello : value->hellos) {
          canonical<Hello>(hello.body);
        }
      }
    }
  });
}

void read_packet(ByteView packet) {
  switch (packet_kind(packet).value_or(PacketKind{})) {
    case PacketKind::kHello:
      if (const auto hello = decode_hello_packet(packet)) {
        fuzz::require(std::ranges::equal(encode_hello_packet(*hello), packet));
        canonical<Hello>(hello->body);
      }
      return;
    case PacketKind::kSealed:
      if (const auto sealed = decode_sealed(packet)) {
        const ByteVector header = sealed_header(sealed->sender_generation,
                                                sealed->recipient_generation, sealed->certificate);
        fuzz::require(std::ranges::equal(header, sealed->associated));
        fuzz::require(header.size() + 8 + sealed->ciphertext.size() == packet.size());
      }
      return;
    case PacketKind::kGreeting:
      if (const auto greeting = decode_greeting(packet)) {
        fuzz::require(std::ranges::equal(
            encode_greeting(greeting->answer_wanted, greeting->certificate), packet));
      }
      return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input(data, size);
  read_packet(input);
  // As if it had come out of a sealed one.
  if (const auto contents = decode_contents(input)) {
    std::vector<ByteVector> messages;
    for (const ByteView message : contents->messages) {
      read_message(message);
      messages.push_back(to_vector(message));
    }
    const SecretVector again =
        encode_contents(contents->acknowledge, contents->acknowledged, messages);
    fuzz::require(std::ranges::equal(again, input));
  }
  return 0;
}
