"""What a node tells systemd (sd_notify), read from a socket of our own: READY when it can serve, RELOADING, STOPPING, and
WATCHDOG for as long as its loop turns."""
import os
import signal
import socket
import subprocess
import time

import pytest

from cluster import BIN, Cluster, CommandFailed, wait_until


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


def test_ready_is_withheld_until_the_gateway_is_connected(tmp_path):
    """Its nats-server takes the connection and says nothing: the node lives, serves its operator, and is not ready."""
    with Cluster(topology="leaf") as cluster:
        broker = cluster.broker(3)
        stop(cluster, 3)
        cluster.stop_process(broker)

        def status():
            try:
                return cluster.status(3)
            except CommandFailed:
                return None
        with Notifications(tmp_path) as told:
            start = subprocess.Popen([BIN / "cosigner-devcluster", "start", "--dir", cluster.home, "--node", "3"],
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            try:
                seen = wait_until(status, 20, "node3 to answer its operator")
                assert seen["ready"] is False and any("no gateway" in why for why in seen["degraded"]), seen
                # A node that is not ready is no node that hangs.
                wait_until(lambda: told.read().count("WATCHDOG=1") >= 3, 10, "the watchdog's messages")
                assert "READY=1" not in told.read()
                assert any(line.startswith("STATUS=not ready") and "no gateway" in line for line in told.lines), told.lines
            finally:
                cluster.continue_process(broker)
                said, _ = start.communicate(timeout=60)
            assert start.returncode == 0, said
            told.wait("READY=1")
            wait_until(lambda: told.read() and last_status(told).startswith("STATUS=serving"), 10, "STATUS=serving")

            # Later on the gateway dies: systemd sees it in the status, and READY is said once in a life.
            told.lines.clear()
            os.kill(cluster.status(3)["gateway"]["pid"], signal.SIGKILL)
            wait_until(lambda: any(line.startswith("STATUS=not ready; no gateway") for line in told.read()), 10,
                       "the status without a gateway")
            wait_until(lambda: last_status(told).startswith("STATUS=serving"), 20, "STATUS=serving again")
            assert "READY=1" not in told.lines


def last_status(told):
    return [line for line in told.read() if line.startswith("STATUS=")][-1]
