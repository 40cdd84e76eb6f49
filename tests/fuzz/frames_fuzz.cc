// What a supervisor reads of its children, who may be captured: a byte stream, cut at places that
// the input chooses, into frames and then into messages; and what one leaves in its crash pipe.
// What decodes must encode to something that decodes to the same again.

#include <algorithm>

#include "ipc/crash_record.h"
#include "ipc/frame.h"
#include "tests/fuzz/require.h"
#include "tests/support/all_messages.h"
#include "tests/support/crash_record_bytes.h"

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

// Its text goes to the log and to operators' terminals as it is.
void try_crash_records(ByteView bytes) {
  if (const auto record = decode_crash_records(bytes)) {
    fuzz::require(decode_crash_records(test::crash_record_bytes(*record)) == record);
    fuzz::require(record->stack.size() <= kMaxCrashFrames);
    fuzz::require(std::ranges::all_of(record->text(), [](char c) { return c >= ' ' && c <= '~'; }));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) {
    return 0;
  }
  const std::size_t step = 1 + data[0];
  const ByteView stream(data + 1, size - 1);
  try_crash_records(stream);
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
