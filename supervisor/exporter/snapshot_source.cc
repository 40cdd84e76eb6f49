#include "supervisor/exporter/snapshot_source.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace cosigner::exporter {

const ipc::MetricsSnapshot* SnapshotSource::get(bool with_text) {
  std::optional<Kept>& kept = with_text ? text_ : state_;
  const Clock::time_point begin = Clock::now();
  if (kept && begin - kept->at < kFresh) {
    return &kept->snapshot;
  }
  kept.reset();
  if (!send(with_text)) {
    return nullptr;
  }
  const std::uint64_t wanted = last_ask_;
  while (!ended_ && wait(begin + kPatience)) {
    read();
    if (kept && kept->snapshot.ask == wanted) {
      return &kept->snapshot;
    }
  }
  kept.reset();
  return nullptr;
}

bool SnapshotSource::send(bool with_text) {
  ipc::MetricsAsk ask;
  ask.ask = ++last_ask_;
  ask.text = with_text;
  if (with_text) {
    text_ask_ = ask.ask;
  }
  const auto frame = ipc::encode_frame(ask, 0);
  if (!frame) {
    return false;
  }
  // Some 40 bytes into an empty buffer: what does not fit shows a supervisor that does not read.
  const ssize_t sent =
      ::send(socket_.get(), frame->data(), frame->size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0 && errno != EAGAIN) {
    ended_ = true;
  }
  return sent == static_cast<ssize_t>(frame->size());
}

bool SnapshotSource::wait(Clock::time_point until) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
  if (left.count() <= 0) {
    return false;
  }
  pollfd ready{.fd = socket_.get(), .events = POLLIN, .revents = 0};
  const int count = ::poll(&ready, 1, static_cast<int>(left.count()));
  return count > 0 || (count < 0 && errno == EINTR);
}

void SnapshotSource::read() {
  std::array<std::uint8_t, 16384> buffer;
  const ssize_t got = ::recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
    ended_ = true;
    return;
  }
  if (got > 0) {
    reader_.feed(ByteView(buffer.data(), static_cast<std::size_t>(got)));
  }
  for (;;) {
    auto frame = reader_.next();
    if (!frame) {
      ended_ = true;
      return;
    }
    if (!*frame) {
      return;
    }
    auto snapshot = ipc::decode<ipc::MetricsSnapshot>(**frame);
    if (!snapshot) {
      ended_ = true;
      return;
    }
    const bool with_text = snapshot->ask == text_ask_;
    (with_text ? text_ : state_) = Kept{std::move(*snapshot), Clock::now()};
  }
}

void SnapshotSource::read_idle() {
  read();
}

}  // namespace cosigner::exporter
