#include "supervisor/control/control_input.h"

namespace cosigner::supervisor {
namespace {

template <class Message>
std::optional<ControlInput> as(const ipc::Frame& frame) {
  auto decoded = ipc::decode<Message>(frame);
  return decoded ? std::optional<ControlInput>(std::move(*decoded)) : std::nullopt;
}

}  // namespace

std::optional<ControlInput> read_control_input(const ipc::Frame& frame) {
  switch (frame.type) {
    case ipc::MessageType::kControlCall:
      return as<ipc::ControlCall>(frame);
    case ipc::MessageType::kControlCancel:
      return as<ipc::ControlCancel>(frame);
    default:
      return std::nullopt;
  }
}

}  // namespace cosigner::supervisor
