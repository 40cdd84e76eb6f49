// A client of the control socket: a byte stream, cut at places that the input chooses, through the
// same pure functions that ControlServer and Commands use, up to the arguments of every command.

#include "ipc/frame.h"
#include "supervisor/control/command_arguments.h"
#include "supervisor/control/control_input.h"
#include "tests/fuzz/require.h"

using namespace cosigner;
using namespace cosigner::supervisor;

namespace {

void read_arguments(const ipc::ControlCall& call) {
  const auto tree = open_arguments(call.arguments);
  if (!tree) {
    return;
  }
  {
    ipc::MapReader none(tree->root(), "arguments");
    static_cast<void>(no_arguments(none));
    fuzz::require(!finish_arguments(none) || tree->root().size() == 0);
  }
  {
    ipc::MapReader reader(tree->root(), "arguments");
    const std::string user = user_argument(reader);
    fuzz::require(!finish_arguments(reader) || (!user.empty() && user.size() <= 128));
  }
  {
    ipc::MapReader reader(tree->root(), "arguments");
    static_cast<void>(follow_argument(reader));
    static_cast<void>(finish_arguments(reader));
  }
  {
    ipc::MapReader reader(tree->root(), "arguments");
    fuzz::require(optional_user_argument(reader).size() <= 128);
    static_cast<void>(finish_arguments(reader));
  }
  {
    ipc::MapReader reader(tree->root(), "arguments");
    const KeyArguments wanted = key_arguments(reader);
    fuzz::require(!finish_arguments(reader) || (!wanted.user.empty() && wanted.key.size() <= 64));
  }
  {
    ipc::MapReader reader(tree->root(), "arguments");
    const PairArguments pair = pair_arguments(reader);
    fuzz::require(!finish_arguments(reader) ||
                  (!pair.user.empty() && !pair.key.empty() && pair.reason.size() <= 1024));
  }
  {
    ipc::MapReader reader(tree->root(), "arguments");
    const PairArguments pair = unban_arguments(reader);
    fuzz::require(!finish_arguments(reader) || !pair.reason.empty());
  }
  {
    ipc::MapReader reader(tree->root(), "arguments");
    const std::string level = level_argument(reader);
    fuzz::require(level.size() <= 16);
    static_cast<void>(finish_arguments(reader));
  }
  {
    ipc::MapReader reader(tree->root(), "arguments");
    const ByteView envelope = envelope_argument(reader);
    fuzz::require(envelope.size() <= call.arguments.size());
    static_cast<void>(finish_arguments(reader));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) {
    return 0;
  }
  const std::size_t step = 1 + data[0];
  const ByteView stream(data + 1, size - 1);
  ipc::FrameReader reader;
  for (std::size_t at = 0; at < stream.size(); at += step) {
    reader.feed(stream.subspan(at, std::min(step, stream.size() - at)));
    for (;;) {
      const auto frame = reader.next();
      if (!frame) {
        return 0;  // what is no frame ends the connection
      }
      if (!*frame) {
        break;
      }
      const auto input = read_control_input(**frame);
      if (!input) {
        return 0;  // so does what is no call
      }
      if (const auto* const call = std::get_if<ipc::ControlCall>(&*input)) {
        read_arguments(*call);
      }
    }
  }
  return 0;
}
