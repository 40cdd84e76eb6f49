"""Bans of a pair's OT state through real processes: strikes, the third bans, restarts forget nothing, signatures avoid the
pair, unban renews, and the pair signs again.

A worker that dies during a check of a peer's messages is what makes a strike. The test stops a signing worker until its
supervisor says that a check is under way, and kills it there: no time is guessed, and no hook is in the programs."""
import os
import signal
import threading
import time

import pytest

from cluster import BOTH, SINGLE_UNLESS_FULL, Cluster, CommandFailed, alive, wait_until
from metrics import Moves, read
from raw_client import RawClient

SCHEME = "ecdsa-secp256k1"


@pytest.fixture(scope="module")
def cluster(request):
    with Cluster(topology=request.param) as running:
        running.key = running.keygen("ann", scheme=SCHEME)["public_key"]
        yield running


def sign(cluster, number, node=1, timeout=20):
    return cluster.ctl("sign", "--user", "ann", "--key", "k", "--digest-hex", f"{number:064x}", "--timeout", timeout,
                       node=node)


def stop_node(cluster, node):
    """The whole node is gone: its supervisor is killed, and takes its children along."""
    pid = cluster.supervisor(node)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), 10, f"node{node}'s supervisor to be gone")
    for other in (1, 2, 3):
        if other != node:
            wait_until(lambda at=other: not peer_present(cluster, at, node), 20, f"node{other} to miss node{node}")


def peer_present(cluster, at, node):
    return next(peer["present"] for peer in cluster.status(at)["peers"] if peer["node"] == f"node{node}")


def bans(cluster, node=1):
    return cluster.ctl("bans", "--user", "ann", node=node)["bans"]


class Background:
    """Keeps eight requests in flight at a node, whatever comes of them, so that its worker nearly always has a check to make."""

    def __init__(self, cluster, node):
        self.cluster, self.node, self.halt = cluster, node, threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        with RawClient(self.cluster, self.node) as client:
            running = []
            while not self.halt.is_set() and not client.closed:
                running = [answers for answers in running if not answers.by_node and answers.failed is None]
                while len(running) < 8:
                    running.append(client.sign("ann", os.urandom(32), scheme=SCHEME, seconds=5))
                client.pump(0.02)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.halt.set()
        self.thread.join(60)


def kill_in_a_check(cluster, node, seconds=60):
    """SIGSTOP at some moment; if a check is open then, SIGKILL, else go on and try again."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pid = cluster.worker("ann", node)
        if not pid:
            continue
        try:
            cluster.stop_process(pid)
        except ProcessLookupError:
            continue
        # Frames that are on their way count: the supervisor has read them when it has answered twice.
        cluster.ctl("user", "ann", node=node)
        if cluster.ctl("user", "ann", node=node).get("checking", 0) > 0:
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not alive(pid), 10, "the killed worker to be gone")
            return
        cluster.continue_process(pid)
    raise AssertionError("no check was met")


@pytest.mark.parametrize("cluster", BOTH, indirect=True)
def test_strikes_ban_and_an_unban_renews(cluster):
    sign(cluster, 1)
    assert bans(cluster) == []
    # With node 3 away, nodes 1 and 2 sign, and every check of node 1 is of node 2's messages.
    stop_node(cluster, 3)
    with Background(cluster, 1):
        for strike in (1, 2, 3):
            kill_in_a_check(cluster, 1)
            wait_until(lambda: sum(pair["strikes"] for pair in bans(cluster)) >= strike, 20, f"strike {strike}")
            try:
                cluster.ctl("clear", "--user", "ann")  # its restarts are not what is tried here
            except CommandFailed as failure:
                assert failure.error == "unknown_user", failure
    pair = next(pair for pair in bans(cluster) if pair["peer"] == "node2")
    assert pair["banned"] and pair["why"] == "strikes" and pair["strikes"] >= 3 and pair["since_ms"] > 0, pair
    assert pair["key"] == "k" and pair["epoch"] == 1 and pair["user"] == "ann", pair
    assert [read(cluster, node)["cosigner_bans"] for node in (1, 2)] == [1, 0]
    with pytest.raises(CommandFailed) as refused:
        sign(cluster, 2)
    assert refused.value.error == "banned", refused.value.body
    assert "node1" in str(refused.value.body) and "node2" in str(refused.value.body), refused.value.body

    # It survives the supervisor, and with node 3 back every node signs, by a set without the pair.
    os.kill(cluster.supervisor(1), signal.SIGKILL)
    wait_until(lambda: not peer_present(cluster, 2, 1), 20, "node2 to miss node1")
    cluster.restart_node(1)
    cluster.restart_node(3)
    for node in (1, 2, 3):
        cluster.wait_ready(node)
    assert [(pair["peer"], pair["banned"]) for pair in bans(cluster)] == [("node2", True)]
    assert read(cluster)["cosigner_bans"] == 1
    for number in range(10, 22):
        assert sign(cluster, number, node=number % 3 + 1)["public_key"] == cluster.key
    cluster.evict("ann", 1)
    sign(cluster, 30)
    assert bans(cluster)[0]["banned"]

    # Only with a reason, only what is banned, and only here.
    for arguments, error in ((("unban", "--peer", "node3", "--reason", "x"), "bad_request"),
                             (("renew", "--peer", "node2"), "banned"),
                             (("unban", "--peer", "node9", "--reason", "x"), "bad_request")):
        with pytest.raises(CommandFailed) as refused:
            cluster.ctl(*arguments, "--user", "ann", "--key", "k")
        assert refused.value.error == error, refused.value.body
    done = cluster.ctl("unban", "--user", "ann", "--key", "k", "--peer", "node2", "--reason", "a test killed it",
                       "--timeout", 30)
    assert done["renewed"]
    listing = cluster.ctl("bans", "--user", "ann")
    assert listing["bans"] == []
    assert read(cluster)["cosigner_bans"] == 0
    assert [(order["reason"], order["lifts_ban"], order["peer"]) for order in listing["orders"]] == [
        ("a test killed it", True, "node2")]
    assert listing["orders"][0]["ordered_by"] == f"uid {os.geteuid()}"

    # The pair signs again, alone.
    stop_node(cluster, 3)
    for number in range(40, 44):
        assert sign(cluster, number, node=number % 2 + 1)["public_key"] == cluster.key
    cluster.restart_node(3)
    for node in (1, 2, 3):
        cluster.wait_ready(node)


@pytest.mark.parametrize("cluster", SINGLE_UNLESS_FULL, indirect=True)
def test_a_renewal_without_a_ban(cluster):
    sign(cluster, 100)
    done = cluster.ctl("renew", "--user", "ann", "--key", "k", "--peer", "node3", "--timeout", 30, node=2)
    assert done["renewed"]
    stop_node(cluster, 1)
    assert sign(cluster, 101, node=2)["public_key"] == cluster.key
    cluster.restart_node(1)
    for node in (1, 2, 3):
        cluster.wait_ready(node)
    assert sign(cluster, 102)["public_key"] == cluster.key


@pytest.mark.parametrize("cluster", SINGLE_UNLESS_FULL, indirect=True)
def test_an_order_waits_for_the_peer(cluster):
    """Its worker is not there: the command says so and the order stands; the user's next request brings both together."""
    sign(cluster, 200)
    cluster.evict("ann", 2)
    with pytest.raises(CommandFailed) as waiting:
        cluster.ctl("renew", "--user", "ann", "--key", "k", "--peer", "node2", "--timeout", 1)
    assert waiting.value.code == 75, waiting.value
    assert [pair["renewal"] for pair in bans(cluster)] == ["ordered"]
    cluster.ctl("restart", "--user", "ann")  # a new worker finds the order in its start
    sign(cluster, 201)
    wait_until(lambda: bans(cluster) == [], 30, "the renewal")
    assert sign(cluster, 202)["public_key"] == cluster.key


@pytest.mark.parametrize("cluster", SINGLE_UNLESS_FULL, indirect=True)
def test_an_order_is_sent_again_until_it_is_acknowledged(cluster):
    sign(cluster, 300)
    renew = ("renew", "--user", "ann", "--key", "k", "--peer", "node2", "--timeout")
    assert cluster.ctl(*renew, 30)["renewed"]  # so the two workers know each other
    moves = Moves(cluster)
    worker = cluster.worker("ann", 2)
    cluster.stop_process(worker)
    with pytest.raises(CommandFailed) as waiting:
        cluster.ctl(*renew, 1)
    assert waiting.value.code == 75, waiting.value
    moves.wait("cosigner_deliveries_retried_total")
    cluster.continue_process(worker)
    sign(cluster, 301)
    wait_until(lambda: bans(cluster) == [], 30, "the renewal")
    assert sign(cluster, 302)["public_key"] == cluster.key
