// A byte stream, cut at places that the input chooses, into frames and then into messages. What
// decodes must encode to something that decodes to the same again.

#include "ipc/frame.h"
#include "tests/fuzz/require.h"
#include "tests/support/all_messages.h"

using namespace cosigner;
using namespace cosigner::ipc;

namespace {

template <class Message>
void try_decode(const Frame& frame) {
  if (const auto message = decode<Message>(frame)) {
    const SecretVector once = encode(*message);
    const auto again = decode<Message>(as_view(once));
    fuzz::require(again.has_value() && encode(*again) == once);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) {
    return 0;
  }
  const std::size_t step = 1 + data[0];
  const ByteView stream(data + 1, size - 1);
  FrameReader reader;
  for (std::size_t at = 0; at < stream.size(); at += step) {
    reader.feed(stream.subspan(at, std::min(step, stream.size() - at)));
    for (;;) {
      const auto frame = reader.next();
      if (!frame) {
        return 0;
      }
      if (!*frame) {
        break;
      }
      each(AllMessages{},
           [&]<class Message>(const Message& /*kind*/) { try_decode<Message>(**frame); });
    }
  }
  return 0;
}
