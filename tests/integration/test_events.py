"""`events --follow` tells every change of every user's state, with a reason: a chain without gaps."""
import json
import os
import signal
import subprocess
import threading

import pytest

from cluster import BIN, Cluster, CommandFailed, wait_until


class Follower:
    def __init__(self, cluster, node=1):
        env = dict(cluster.env, COSIGNER_SOCKET=str(cluster.socket(node)))
        self.process = subprocess.Popen([BIN / "cosignerctl", "--json", "events", "--follow"], env=env, text=True,
                                        stdout=subprocess.PIPE)
        self.seen = []
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.seen.append(json.loads(line))

    def of(self, user):
        return [event for event in self.seen if event["what"] == "user" and event["user"] == user]

    def wait_for(self, user, from_, to, reason=""):
        """Waits until the user's last change but one of any kind is past this one."""
        def found():
            return [event for event in self.of(user) if (event["from"], event["to"]) == (from_, to) and reason in event["reason"]]
        return wait_until(found, 10, f"{user} to go from {from_} to {to} ({reason}); seen: {self.of(user)}")[-1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)
        self.thread.join(10)


@pytest.fixture
def cluster():
    with Cluster(settings={"workers.max_restarts": 3, "workers.backoff_first_ms": 300, "workers.backoff_cap_ms": 300}) as running:
        yield running


def test_every_change_is_told_with_its_reason(cluster):
    with Follower(cluster) as follower:
        key = cluster.keygen("ann")["public_key"]
        follower.wait_for("ann", "absent", "starting", "a request")
        born = follower.wait_for("ann", "starting", "ready", "subscribed")["generation"]
        assert born > 0
        follower.wait_for("ann", "ready", "busy", "work")
        follower.wait_for("ann", "busy", "ready", "done")

        cluster.evict("ann")
        assert follower.wait_for("ann", "ready", "draining", "evicted")["generation"] == born
        assert follower.wait_for("ann", "draining", "absent", "gone")["generation"] == born

        cluster.sign_and_verify("ann", key, b"m")
        cluster.ctl("restart", "--user", "ann")
        wait_until(lambda: any(e["to"] == "draining" and "restart" in e["reason"] for e in follower.of("ann")), 10, "the restart")

        for death in range(3):
            wait_until(lambda: signs(cluster, key) and serving(cluster), 10, "ann to sign with a worker at node1")
            os.kill(cluster.worker("ann"), signal.SIGSEGV)
            wait_until(lambda: len([e for e in follower.of("ann") if "SIGSEGV" in e["reason"] and e["generation"]]) == death + 1,
                       10, "the death to be told")
        deaths = [event for event in follower.of("ann") if "SIGSEGV" in event["reason"]]
        assert [event["to"] for event in deaths] == ["absent", "backoff", "quarantined"]
        assert len([event for event in follower.seen if event["what"] == "crash"]) == 3
        cluster.ctl("clear", "--user", "ann")
        follower.wait_for("ann", "quarantined", "absent", "cleared by order")
        cluster.ctl("quarantine", "--user", "ann")
        follower.wait_for("ann", "absent", "quarantined", "by order")

        gateway = cluster.status()["gateway"]["pid"]
        os.kill(gateway, signal.SIGKILL)
        wait_until(lambda: [e for e in follower.seen if e["what"] == "node" and "no gateway" in e["reason"]], 10, "the gateway's death")
        wait_until(lambda: [e for e in follower.seen if e["what"] == "node"][-1]["to"] == "ready", 10, "the node to be ready")

        chain(follower.of("ann"))
        nodes = [event for event in follower.seen if event["what"] == "node"]
        assert all(before["to"] == after["from"] for before, after in zip(nodes, nodes[1:]))

    # What is kept leaves out what happens with every request, and nothing else.
    kept = [json.loads(line) for line in subprocess.run(
        [BIN / "cosignerctl", "--json", "events"], env=cluster.env, capture_output=True, text=True, check=True).stdout.splitlines()]
    mine = [event for event in kept if event.get("what") == "user" and event["user"] == "ann"]
    every = {"ready", "busy"}
    assert mine == [event for event in follower.of("ann") if not {event["from"], event["to"]} <= every]


def signs(cluster, key):
    try:
        return cluster.sign_and_verify("ann", key, b"m")
    except CommandFailed:
        return None


def serving(cluster):
    return (cluster.user("ann") or {}).get("state") in ("ready", "busy")


def chain(events):
    assert events[0]["from"] == "absent"
    for before, after in zip(events, events[1:]):
        assert before["to"] == after["from"], (before, after)
    for event in events:
        assert event["reason"] and event["from"] != event["to"] and event["at_ms"] > 0
        if {event["from"], event["to"]} & {"ready", "busy", "draining"}:
            assert event["generation"] > 0, event
