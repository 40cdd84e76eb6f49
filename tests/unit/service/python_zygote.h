#pragma once
// A zygote in Python, for children that no real program would be.

#include <string>

namespace cosigner::supervisor::test {

/// `child` is Python that defines `child(fd)`: what a fork does with its socket; it does not
/// return. It has pack(), frame(kind, fields, generation) and the modules os, socket, struct, time.
/// Orders are taken to count from one. `result`: what is said of `order`, whose child is `pid`.
inline std::string python_zygote(const std::string& child,
                                 const std::string& result = "[order, pid, \"\"]") {
  return R"(import os, socket, struct, time
def pack(value):
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return struct.pack(">BQ", 0xcf, value)
    if isinstance(value, str):
        return struct.pack(">BI", 0xdb, len(value.encode())) + value.encode()
    if isinstance(value, bytes):
        return struct.pack(">BI", 0xc6, len(value)) + value
    return struct.pack(">BI", 0xdd, len(value)) + b"".join(pack(each) for each in value)
def frame(kind, fields, generation):
    body = b"\x94\x01" + struct.pack(">BHBQ", 0xcd, kind, 0xcf, generation) + pack(fields)
    return struct.pack(">I", len(body)) + body
)" + child +
         R"(
zygote = socket.socket(fileno=3)
zygote.send(frame(1, [os.getpid()], 0))
order = 0
while True:
    data, fds, _, _ = socket.recv_fds(zygote, 1 << 16, 2)
    if not data:
        os._exit(0)
    order += 1
    reading, writing = os.pipe()
    middle = os.fork()
    if middle == 0:
        forked = os.fork()
        if forked == 0:
            zygote.close()
            os.close(reading)
            os.close(writing)
            child(fds[0])
        os.write(writing, struct.pack(">I", forked))
        os._exit(0)
    os.waitpid(middle, 0)
    pid = struct.unpack(">I", os.read(reading, 4))[0]
    for fd in (reading, writing, *fds):
        os.close(fd)
    zygote.send(frame(3, )" +
         result + R"(, 0))
)";
}

}  // namespace cosigner::supervisor::test
