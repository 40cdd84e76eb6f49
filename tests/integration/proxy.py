"""proxy.py PORT: a process that passes TCP connections to 127.0.0.1:PORT on. Prints the port it listens on. Stopped (SIGSTOP) it is a
cut cable: nothing comes through and no connection ends."""
import asyncio
import subprocess
import sys


async def pour(reader, writer):
    try:
        while chunk := await reader.read(1 << 16):
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


async def serve(port):
    async def connected(reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionError:
            writer.close()
            return
        await asyncio.gather(pour(reader, far_writer), pour(far_reader, writer))
    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Proxy:
    """One, while the block lasts: its `port` and `pid`."""

    def __init__(self, port):
        self.target = port

    def __enter__(self):
        self.process = subprocess.Popen([sys.executable, __file__, str(self.target)], stdout=subprocess.PIPE, text=True)
        self.pid, self.port = self.process.pid, int(self.process.stdout.readline())
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
