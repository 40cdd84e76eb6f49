#include "supervisor/process/zygote.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <array>
#include <csignal>
#include <cstring>
#include <span>

#include "ipc/seqpacket.h"
#include "supervisor/process/spawn.h"

namespace cosigner::supervisor {

Expected<std::unique_ptr<Zygote>> Zygote::launch(uv_loop_t* loop, const std::string& program,
                                                 Handlers handlers, int kept) {
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) {
    return fail(ErrorCode::kInternal,
                std::string("PR_SET_CHILD_SUBREAPER: ") + std::strerror(errno));
  }
  auto pair = ipc::socket_pair(SOCK_SEQPACKET);
  if (!pair) {
    return std::unexpected(pair.error());
  }
  fcntl(pair->first.get(), F_SETFL, fcntl(pair->first.get(), F_GETFL) | O_NONBLOCK);
  const std::array<int, 2> descriptors{pair->second.get(), kept};
  const auto pid = spawn(program, {"cosigner-worker", "--zygote"},
                         std::span(descriptors).first(kept >= 0 ? 2 : 1));
  if (!pid) {
    return fail(pid.error().code,
                pid.error().message + " (worker_program in the configuration names it)");
  }
  std::unique_ptr<Zygote> zygote(new Zygote(std::move(handlers)));
  Zygote* raw = zygote.get();
  zygote->socket_ = std::move(pair->first);
  auto child = ChildProcess::watch(loop, *pid, [raw](ExitStatus status) { raw->exited(status); });
  if (!child) {
    reap_child(*pid);
    return std::unexpected(child.error());
  }
  zygote->child_ = std::move(*child);
  auto watch =
      FdWatch::open(loop, zygote->socket_.get(), [raw](int events) { raw->on_socket(events); });
  if (!watch) {
    reap_child(*pid);
    return std::unexpected(watch.error());
  }
  zygote->watch_ = std::move(*watch);
  zygote->watch_->want(UV_READABLE);
  return zygote;
}

void Zygote::fork(const ipc::ForkOrder& order, Ends ends) {
  auto frame = ipc::encode_frame(order, 0);
  outstanding_.insert(order.order);
  if (!frame || !socket_) {
    give_up_order(order.order, frame ? "the zygote is not running" : frame.error().message);
    return;
  }
  queue_.push_back({order.order, std::move(*frame), std::move(ends)});
  flush();
}

void Zygote::retire() {
  watch_.reset();
  socket_.reset();
}

void Zygote::on_socket(int events) {
  if ((events & UV_WRITABLE) != 0) {
    flush();
  }
  if ((events & UV_READABLE) != 0) {
    receive();
  }
}

void Zygote::flush() {
  while (!queue_.empty() && socket_) {
    const Queued& next = queue_.front();
    const auto sent = ipc::send_packet(socket_.get(), next.frame, next.ends.socket.get(),
                                       next.ends.crash_pipe.get());
    if (!sent && sent.error().code == ErrorCode::kOverloaded) {
      watch_->want(UV_READABLE | UV_WRITABLE);
      return;
    }
    const std::uint64_t order = next.order;
    queue_.pop_front();
    if (!sent) {
      // Not sent, so not forked: the zygote is dying, or the kernel is short of memory or of
      // descriptors in flight (ENOMEM, ENOBUFS, ETOOMANYREFS), of which no poll tells the end.
      give_up_order(order, sent.error().message);
    }
  }
  if (watch_) {  // an order's end may have retired this zygote
    watch_->want(UV_READABLE);
  }
}

void Zygote::receive() {
  while (socket_) {
    const auto received = ipc::receive_packet(socket_.get());
    if (!received) {
      child_->kill(SIGKILL);  // a zygote that sends nonsense is not to be trusted with forks
      watch_->want(0);
      return;
    }
    if (received->status == ipc::ReceiveStatus::kWouldBlock) {
      return;
    }
    if (received->status == ipc::ReceiveStatus::kEnd) {
      watch_->want(0);  // exited() follows
      return;
    }
    const ipc::Frame& frame = received->packet.frame;
    if (frame.type == ipc::MessageType::kZygoteReady) {
      if (handlers_.on_ready) {
        handlers_.on_ready();
      }
    } else if (const auto result = ipc::decode<ipc::ForkResult>(frame); result) {
      finish_order(result->order, result->pid, result->error);
    }
  }
}

void Zygote::finish_order(std::uint64_t order, pid_t pid, const std::string& error) {
  if (outstanding_.erase(order) != 0) {
    handlers_.on_forked(order, pid, error);
  }
}

void Zygote::give_up_order(std::uint64_t order, const std::string& error) {
  if (outstanding_.erase(order) != 0) {
    handlers_.on_unsent(order, error);
  }
}

void Zygote::exited(ExitStatus status) {
  receive();  // results it sent before it died
  watch_.reset();
  socket_.reset();
  queue_.clear();
  if (!outstanding_.empty()) {
    reap_unknown_children(handlers_.known_children());
    while (!outstanding_.empty()) {
      finish_order(*outstanding_.begin(), 0, "the zygote died: " + status.describe());
    }
  }
  const auto on_exit = handlers_.on_exit;
  on_exit(status);
}

}  // namespace cosigner::supervisor
