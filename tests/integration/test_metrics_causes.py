"""Metrics that only move when something goes wrong: each cause is made, and its series is seen to move (others: test_metrics.py)."""
import os

import pytest

from cluster import CommandFailed, wait_until
from control import frame, pack
from crowd import add_crowd_initiator
from faults import FaultCluster
from metrics import Moves, read
from raw_client import RawClient
from stranger import knock_as_stranger, open_to_all

START_TIMEOUT_S = 1


@pytest.fixture(scope="module")
def cluster():
    with FaultCluster({"workers.start_timeout_s": START_TIMEOUT_S}, idle_timeout=600) as running:
        yield running


@pytest.fixture(scope="module")
def key(cluster):
    return cluster.keygen("victim")["public_key"]


def signs(cluster, key):
    def signed():
        try:
            return cluster.sign_and_verify("victim", key, b"m")
        except CommandFailed:
            return None
    wait_until(signed, 20, "the victim to sign")


@pytest.mark.parametrize("point, action, cause", [("request.taken", "exit", "exit"), ("request.taken", "oom", "out_of_memory"),
                                                  ("worker.start", "silence", "start_timeout")])
def test_deaths_by_cause(cluster, key, point, action, cause):
    wait_until(lambda: cluster.worker("victim") or not signs(cluster, key), 20, "the victim's worker")
    if point == "worker.start":
        cluster.evict("victim")
    moves = Moves(cluster)
    deaths = [name for name in moves.before if name.startswith("cosigner_worker_deaths_total")]
    assert len(deaths) == 6
    entry = cluster.faults[1].arm(point, action, "victim")
    with RawClient(cluster) as client:
        answers = client.sign("victim", b"m")
        assert client.until(lambda: len(answers.by_node) == 3, 20), answers.by_node
    assert cluster.faults[1].hits(entry) == 1
    wait_until(lambda: sum(moves.of(name) for name in deaths), 10, "a death")
    assert {name: moves.of(name) for name in deaths} == {name: float(cause in name) for name in deaths}
    signs(cluster, key)


def test_what_waits_for_a_worker_is_counted(cluster):
    """With the zygote stopped a new user's request stays in the mailbox."""
    wait_until(lambda: read(cluster)["cosigner_mailbox_entries"] == 0, 10, "what the last test asked to be over")
    zygote = cluster.status()["zygote"]["pid"]
    cluster.stop_process(zygote)
    with RawClient(cluster) as client:
        client.sign("nobody-yet", b"x" * 1000)
        wait_until(lambda: read(cluster)["cosigner_mailbox_entries"] == 1, 10, "the request to wait")
        now = read(cluster)
        assert 1000 < now["cosigner_mailbox_bytes"] < now["cosigner_mailbox_limit_bytes"]
        cluster.continue_process(zygote)
        wait_until(lambda: read(cluster)["cosigner_mailbox_entries"] == 0, 20, "the request to be answered")


def test_requests_beyond_an_initiators_rate_are_counted(cluster):
    """Node 1 alone knows it."""
    seed = add_crowd_initiator(cluster, requests_per_second=1)
    assert cluster.ctl("reload")["applied"] == ["initiators: crowd added"]
    moves = Moves(cluster)
    with RawClient(cluster, seed=seed) as client:
        asked = [client.sign("hasty", b"m") for _ in range(10)]
        assert client.until(lambda: all("node1" in answers.by_node for answers in asked), 20)
    errors = [answers.error("node1") for answers in asked]
    limited = [error for error in errors if error["name"] == "rate_limited"]
    assert 0 < len(limited) < 10, "the first is served"
    assert all(error["retryable"] and 0 < error["retry_after_ms"] <= 1000 and not error["may_have_executed"] for error in limited)
    name = 'cosigner_requests_refused_total{error="rate_limited"}'
    moves.wait(name, len(limited))
    assert moves.of(name) == len(limited)


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_refused_calls_are_counted(cluster):
    open_to_all(cluster, 1)
    moves = Moves(cluster)
    with knock_as_stranger(cluster, 1) as client:
        client.sendall(frame(90, [1, "status", pack({})]))
        assert b"denied" in client.recv(1 << 16)
    moves.wait("cosigner_control_refused_total")
