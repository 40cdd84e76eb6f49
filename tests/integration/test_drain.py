"""Nodes that shut down one after another, as a client sees them that asks again while it has no answer: as long as t nodes
are at work on its request, nobody tells it otherwise."""
import json
import os
import pathlib
import signal
import subprocess

import pytest

from cluster import Cluster, alive, wait_until

CLIENT = pathlib.Path(__file__).parents[1] / "client-js"


class SteadyClient:
    """tests/client-js/steady.mjs, one request at a time; each is published again every 500 ms until it is answered."""

    def __init__(self, cluster):
        self.process = subprocess.Popen(["node", CLIENT / "steady.mjs", cluster.home, "1"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def begin_no_more(self):
        self.process.stdin.close()

    def result(self):
        output = self.process.stdout.read()
        self.process.wait(60)
        return json.loads(output)["ed25519"]

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def cluster():
    subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=CLIENT, check=True, timeout=300)
    # Long enough for a request to outlive what the test does with the nodes.
    with Cluster(settings={"sessions.attempt_timer_ms": 5000, "sessions.sign_deadline_ms": 60000,
                           "sessions.delivery_attempts": 60, "workers.unresponsive_s": 60,
                           "workers.stop_timeout_s": 60}) as one:
        yield one


def counters(cluster, node):
    return cluster.status(node)["counters"]


def asked_again(cluster, client, node, times):
    """Waits until a request that this node has no answer to was published again, `times` times."""
    before = counters(cluster, node)

    def seen():
        nonlocal before
        assert client.process.poll() is None, "the client has given up: " + client.process.stdout.read()
        now = counters(cluster, node)
        if now["answers"] != before["answers"]:
            before = now
        return now["requests"] >= before["requests"] + times
    wait_until(seen, 30, f"repeats of an unanswered request at node{node}")


def drain(cluster, node):
    supervisor = cluster.supervisor(node)
    os.kill(supervisor, signal.SIGTERM)
    wait_until(lambda: "shutting down" in cluster.status(node)["degraded"], 10, f"node{node} to drain")
    return supervisor


def test_a_request_that_outlives_one_drain_is_not_refused_by_the_next(cluster):
    client = SteadyClient(cluster)
    try:
        user = next(entry["user"] for entry in cluster.ctl("users")["users"] if entry["user"].startswith("steady-"))
        wait_until(lambda: all(cluster.worker(user, node) for node in (1, 2, 3)), 10, "a worker on each node")
        first, third = cluster.worker(user, 1), cluster.worker(user, 3)
        # node1 drains for as long as its worker stands still, and refuses whatever comes meanwhile.
        cluster.stop_process(first)
        stopping = [drain(cluster, 1)]
        # Of the other two one stands still: a request waits. That it is at node2's worker is shown by its repeats.
        cluster.stop_process(third)
        asked_again(cluster, client, 2, 2)
        client.begin_no_more()
        stopping.append(drain(cluster, 2))
        asked_again(cluster, client, 2, 2)
        cluster.continue_process(third)
        result = client.result()
        assert result["failed"] == 0, result
        cluster.continue_process(first)
        wait_until(lambda: not any(map(alive, stopping)), 30, "both nodes to stop")
    finally:
        client.close()
    for node in (1, 2):
        cluster.restart_node(node)
