#include "supervisor/process/crash_pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace cosigner::supervisor {

Expected<CrashPipe> CrashPipe::open() {
  int ends[2] = {-1, -1};
  // Neither end ever waits: the handler of a dying process must not, and the loop may not.
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
    return fail(ErrorCode::kInternal, std::string("pipe: ") + std::strerror(errno));
  }
  CrashPipe pipe;
  pipe.reader_.reset(ends[0]);
  pipe.writer_.reset(ends[1]);
  return pipe;
}

std::optional<ipc::CrashRecord> CrashPipe::read() {
  if (!reader_) {
    return std::nullopt;
  }
  std::array<std::uint8_t, 2 * ipc::kMaxCrashRecord> buffer{};  // the handler writes two at most
  const ssize_t got = ::read(reader_.get(), buffer.data(), buffer.size());
  reader_.reset();
  if (got <= 0) {
    return std::nullopt;
  }
  return ipc::decode_crash_records(ByteView(buffer).first(static_cast<std::size_t>(got)));
}

}  // namespace cosigner::supervisor
