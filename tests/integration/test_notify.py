"""What a node tells systemd (sd_notify), read from a socket of our own: READY when it can serve, RELOADING, STOPPING, and
WATCHDOG for as long as its loop turns."""
import os
import signal
import socket
import time

import pytest

from cluster import Cluster, wait_until


class Notifications:
    """$NOTIFY_SOCKET for the processes started while it is open."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.setblocking(False)
        self.lines = []

    def __enter__(self):
        os.environ.update(NOTIFY_SOCKET=self.path, WATCHDOG_USEC="1000000")
        return self

    def __exit__(self, *_):
        for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC"):
            os.environ.pop(name)
        self.socket.close()

    def read(self):
        while True:
            try:
                self.lines += self.socket.recv(65536).decode().splitlines()
            except BlockingIOError:
                return self.lines

    def wait(self, line, seconds=20):
        wait_until(lambda: line in self.read(), seconds, f"{line} from the node")


@pytest.fixture
def cluster():
    with Cluster() as one:
        yield one


def stop(cluster, node):
    pid = cluster.supervisor(node)
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), 20, f"node{node} to stop")


def test_ready_means_that_the_peers_are_known(cluster, tmp_path):
    stop(cluster, 3)
    with Notifications(tmp_path) as told:
        cluster.restart_node(3)
        told.wait("READY=1")
        # Seen from outside a moment later; what was absent then and is present now is caught by the order of the log.
        log = cluster.log(3)
        ready = log.rindex("ready after")
        for peer in ("node1", "node2"):
            assert log.rindex(f"peer {peer} is present") < ready, log[-2000:]
        assert any(line.startswith("STATUS=") for line in told.read())
        count = told.read().count("WATCHDOG=1")
        wait_until(lambda: told.read().count("WATCHDOG=1") > count + 1, 10, "the watchdog's messages")

        told.lines.clear()
        begun = time.monotonic_ns() // 1000
        os.kill(cluster.supervisor(3), signal.SIGHUP)
        told.wait("READY=1")
        assert "RELOADING=1" in told.lines and told.lines.index("RELOADING=1") < told.lines.index("READY=1")
        at = [int(line.partition("=")[2]) for line in told.lines if line.startswith("MONOTONIC_USEC=")]
        assert len(at) == 1 and begun <= at[0] <= time.monotonic_ns() // 1000

        stop(cluster, 3)
        told.wait("STOPPING=1")
    cluster.restart_node(3)


def test_a_node_whose_peers_are_away_becomes_ready_all_the_same(cluster, tmp_path):
    for node in (2, 3):
        stop(cluster, node)
    with Notifications(tmp_path) as told:
        cluster.restart_node(3)
        told.wait("READY=1")
        assert cluster.status(3)["degraded"]  # node2 is absent, and it says so
    cluster.restart_node(2)
