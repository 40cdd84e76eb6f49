"""`events --follow` tells every change of every user's state, with a reason: a chain without gaps. `users` tells what has
become of each: its columns follow what happens to a real worker."""
import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

import pytest

from cluster import BIN, Cluster, CommandFailed, wait_until
from raw_client import RawClient


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


@pytest.fixture(scope="module")
def cluster():
    """Requests and workers outlive what a test does with their peers' workers."""
    with Cluster(settings={"workers.max_restarts": 3, "workers.backoff_first_ms": 300, "workers.backoff_cap_ms": 300,
                           "workers.unresponsive_s": 60, "sessions.sign_deadline_ms": 60000,
                           "sessions.delivery_attempts": 60}) as running:
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


def private_bytes(pid):
    """As `users` counts it; None where the kernel does not tell us (proc(5): that takes the right to trace the process)."""
    try:
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (PermissionError, FileNotFoundError, ProcessLookupError):
        return None
    return sum(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith(("Private_Clean:", "Private_Dirty:")))


def row_of(cluster, user):
    """What an operator reads: {column: text} of the table without --json."""
    table = subprocess.run([BIN / "cosignerctl", "users"], capture_output=True, text=True, check=True, timeout=60,
                           env=dict(cluster.env, COSIGNER_SOCKET=str(cluster.socket(1)))).stdout
    header, *rows = [re.split(" {2,}", line) for line in table.splitlines()]
    return dict(zip(header, next(row for row in rows if row[0] == user)))


def test_users_shows_what_has_become_of_each(cluster):
    cluster.wait_ready(1)
    key = cluster.keygen("bob")["public_key"]

    def idle():
        """bob's entry, once nothing of his is in flight or running."""
        entry = cluster.user("bob")
        return entry if entry["state"] == "ready" and entry["sessions"] == entry["in_flight"] == 0 else None
    born = wait_until(idle, 10, "the new key's worker to be idle")
    assert (born["restarts"], born["last_death"], born["queued"]) == (0, "", 0)
    # A worker gives memory back once it rests: the two looks are at the same pages in the end.
    wait_until(lambda: private_bytes(born["pid"]) in (None, cluster.user("bob")["memory_bytes"]), 10,
               "`users` to say what /proc says of bob's memory")
    assert cluster.user("bob")["memory_bytes"] > 100 << 10

    # The time since it last had something to do grows, and a signature sets it back: to less than has passed since it was asked
    # for, where it was half a second more.
    wait_until(lambda: cluster.user("bob")["last_active_ms"] > born["last_active_ms"] + 500, 10, "bob's idle time to grow")
    asked = time.monotonic()
    cluster.sign_and_verify("bob", key, b"activity")
    wait_until(lambda: cluster.user("bob")["last_active_ms"] <= (time.monotonic() - asked) * 1000, 10, "bob to have been active")
    wait_until(idle, 10, "the signature to be over")

    with RawClient(cluster) as client:
        # Three requests that cannot end: without the peers' workers nobody signs.
        peers = [cluster.worker("bob", node) for node in (2, 3)]
        for pid in peers:
            cluster.stop_process(pid)
        requests = [client.sign("bob", b"in hand %d" % number) for number in range(3)]

        def in_hand():
            entry = cluster.user("bob")
            return entry if entry["sessions"] == entry["in_flight"] == 3 else None
        busy = wait_until(in_hand, 10, "three sessions to be seen")
        assert (busy["state"], busy["queued"], busy["pid"]) == ("busy", 0, born["pid"])
        os.kill(busy["pid"], signal.SIGKILL)
        wait_until(lambda: cluster.user("bob")["pid"] == 0, 10, "the death to be seen")
        dead = cluster.user("bob")
        assert (dead["state"], dead["restarts"], dead["last_death"]) == ("absent", 1, "ended by signal 9 (SIGKILL)")
        assert (dead["generation"], dead["sessions"], dead["in_flight"], dead["memory_bytes"]) == (0, 0, 0, None)
        for pid in peers:
            cluster.continue_process(pid)
        assert client.until(lambda: all(len(answers.by_node) == 3 for answers in requests), 20)
        # Each of the three callers is told, once, that its request may have been served by the worker that died.
        for answers in requests:
            assert answers.by_node["node1"] == ["worker_crashed"] and not answers.doubled()
            error = answers.error("node1")
            assert error["may_have_executed"] is True and "ended by signal 9 (SIGKILL)" in error["message"]

    cluster.sign_and_verify("bob", key, b"served again")
    again = wait_until(idle, 10, "the next worker to be idle")
    assert again["pid"] != born["pid"] and again["generation"] > born["generation"]
    assert (again["restarts"], again["last_death"]) == (1, dead["last_death"])
    row = row_of(cluster, "bob")
    assert {name: row[name] for name in row if name not in ("MEMORY", "LAST ACTIVE")} == {
        "USER": "bob", "STATE": "ready", "PID": str(again["pid"]), "GENERATION": str(again["generation"]), "SESSIONS": "0",
        "IN FLIGHT": "0", "QUEUED": "0", "RESTARTS": "1", "LAST DEATH": "ended by signal 9 (SIGKILL)"}
    assert re.fullmatch(r"[0-9.]+ [KM]iB", row["MEMORY"]) and re.fullmatch(r"\d+ .*ago", row["LAST ACTIVE"])
