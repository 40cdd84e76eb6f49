"""Victim and monitor: one user's worker fails in a loop at every named place; another user's signatures stay as fast as
they were, and every request of the victim, a signature or a key generation, gets exactly one typed answer from each node.
Not here: drain.asked, which a worker reaches only when its whole node stops (test_faults.py). Prints what it measured; under
--full it runs 60 s at each place and asserts that the monitor's p99 stays within twice its undisturbed value.

A machine's speed drifts by tens of percent within minutes, so what is undisturbed is measured beside each place: a quarter of
the place's time before it and as long after it, both samples taken together. (The sample after a place is the one before the
next.) 29 places of 60 s are 37 minutes so.

COSIGNER_MONITOR_SECONDS=S        at each place
COSIGNER_MONITOR_PLACES=0:7       only the first seven places in the order of their names (7:7: the next seven), or
COSIGNER_MONITOR_PLACES=NAME,...  only these
"""
import collections
import itertools
import json
import os
import subprocess
import tempfile
import time

from cluster import BIN, CommandFailed
from faults import CAUSES, FaultCluster, points
from raw_client import RawClient

FULL = "COSIGNER_TEST_FULL" in os.environ
SECONDS = float(os.environ.get("COSIGNER_MONITOR_SECONDS", "60" if FULL else "0.5"))
ROUNDABOUT = ("worker.hello", "worker.start", "worker.ready", "evict.asked", "evict.replied")  # reached by way of an eviction


def chosen(places):
    """Those that COSIGNER_MONITOR_PLACES names; all if it is not set."""
    wanted = os.environ.get("COSIGNER_MONITOR_PLACES")
    if wanted is None:
        return places
    if ":" in wanted:
        first, count = map(int, wanted.split(":"))
        some = places[first:first + count]
    else:
        some = wanted.split(",")
    assert some and set(some) <= set(places), f"COSIGNER_MONITOR_PLACES={wanted}: there are {len(places)} places: {places}"
    return some


PLACES = chosen([point for point in points() if point != "drain.asked"])
KEYGEN = [point for point in PLACES if point.startswith(("keygen.", "store.")) and point != "store.result"]
TYPED = {"ok", "handler_failed", "quarantined", "peer_timeout", "peer_unreachable", *CAUSES.values()}
KEYS_OF_A_USER = 50  # then another one's are made: a worker starts with all of its user's


class Sample:
    """Latencies of signatures: how often each came, in microseconds."""

    def __init__(self, counts):
        self.counts = counts

    def __add__(self, other):
        return Sample(self.counts + other.counts)

    def signatures(self):
        return self.counts.total()

    def quantile_ms(self, fraction):
        """Nearest rank."""
        rank = fraction * self.signatures()
        for latency in sorted(self.counts):
            rank -= self.counts[latency]
            if rank <= 0:
                return latency / 1000
        raise AssertionError("no signature was made")

    def __str__(self):
        return f"p50 {self.quantile_ms(0.50):.2f} ms, p99 {self.quantile_ms(0.99):.2f} ms of {self.signatures()} signatures"


class Monitor:
    """`cosignerctl bench`: one user, one request at a time."""

    def __init__(self, cluster, seconds):
        self.seconds, self.output = seconds, tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [BIN / "cosignerctl", "--json", "bench", "sign", "--scheme", "ed25519", "--users", "1", "--concurrency", "1",
             "--duration", str(seconds), "--latencies"], env=dict(cluster.env), stdout=self.output, text=True)

    def running(self):
        return self.process.poll() is None

    def sample(self):
        self.process.wait(self.seconds + 120)
        with self.output as output:
            output.seek(0)
            result = json.load(output)
        assert self.process.returncode == 0 and result["errors"] == 0, json.dumps({**result, "latencies_us": "…"})
        return Sample(collections.Counter(dict(result["latencies_us"])))


class Victim:
    def __init__(self, cluster, client):
        self.cluster, self.client = cluster, client
        self.requests, self.tally, self.keys = 0, {}, 0
        self.failures = dict.fromkeys(PLACES, 0)
        # Goes on from place to place, so that a short run tries every way too, each at another place. A worker that
        # hangs is killed after 2 s (unresponsive_s): few of those in a short run.
        self.ways = itertools.cycle(["kill", "segfault", "silence", "abort", "leak", "exit", "loop", "throw", "oom"] if FULL
                                    else 3 * ["kill", "segfault", "abort", "leak", "exit", "throw", "oom"] + ["silence", "loop"])

    def sign(self):
        self.settle(self.client.sign("victim", b"m"), TYPED)

    def sign_without_peers(self, enough):
        """With the other nodes' workers stopped until enough(), so that timers run at node 1."""
        self.sign()
        peers = [self.cluster.worker("victim", node) for node in (2, 3)]
        for pid in peers:
            self.cluster.stop_process(pid)
        answers = self.client.sign("victim", b"m")
        self.client.until(enough, 1)
        for pid in peers:
            self.cluster.continue_process(pid)
        self.settle(answers, TYPED)

    def generate(self):
        self.keys += 1
        self.settle(self.client.keygen(self.founder(), ["node1", "node2", "node3"], key=f"k{self.keys}"),
                    TYPED | {"protocol_failed"})

    def founder(self):
        """Whose the next key is."""
        return f"founder{(self.keys + 1) // KEYS_OF_A_USER}"

    def settle(self, answers, typed):
        assert self.client.until(lambda: len(answers.by_node) == 3, 30), f"a hang: {answers.by_node}"
        assert answers.failed is None, answers.failed
        self.client.settle(answers)
        self.requests += 1
        for names in answers.by_node.values():
            assert names[0] in typed, answers.by_node
            self.tally[names[0]] = self.tally.get(names[0], 0) + 1

    def suffer(self, point, go_on):
        """Fails at the point in every way, one after another: once, and for as long as go_on()."""
        faults = self.cluster.faults[1]
        patience = time.monotonic() + 60
        for action in self.ways:
            user = self.founder() if point in KEYGEN else "victim"
            entry = faults.arm(point, action, user)
            while (go_on() or not self.failures[point]) and not faults.hits(entry):
                assert go_on() or time.monotonic() < patience, f"{point} was never reached"
                if point in KEYGEN:
                    if self.founder() != user:
                        break  # armed for the one before
                    self.generate()
                    continue
                if point == "timer":
                    self.sign_without_peers(lambda: faults.hits(entry))
                    continue
                if point in ROUNDABOUT:
                    try:
                        self.cluster.ctl("evict", "--user", "victim")
                    except CommandFailed as failure:
                        assert failure.error in ("conflict", "unknown_user")
                self.sign()
            self.failures[point] += faults.hits(entry)
            if not go_on() and self.failures[point]:
                faults.disarm()
                self.calm_down(user)
                return

    def calm_down(self, user):
        """Until its worker answers or has been killed: one that still spins would be part of what is called undisturbed."""
        answers = self.client.sign(user, b"m", key="none")
        assert self.client.until(lambda: len(answers.by_node) == 3, 30), f"a hang: {answers.by_node}"
        self.client.settle(answers)


def test_a_victim_and_a_monitor():
    with FaultCluster(idle_timeout=600) as cluster, RawClient(cluster) as client:
        cluster.keygen("victim")
        victim = Victim(cluster, client)

        def undisturbed():
            return Monitor(cluster, max(SECONDS / 4, 1)).sample()

        before, ratios = undisturbed(), {}
        print()
        if FULL:
            for point in PLACES:
                monitor = Monitor(cluster, SECONDS)
                victim.suffer(point, monitor.running)
                disturbed, after = monitor.sample(), undisturbed()
                ratios[point] = report(point, disturbed, before, after, victim)
                before = after
        else:
            monitor = Monitor(cluster, SECONDS * len(PLACES))
            for point in PLACES:
                victim.suffer(point, lambda: False)
            ratios["all places"] = report("all places", monitor.sample(), before, undisturbed(), victim)
        print(f"failures at each place: {victim.failures}")
        worst = max(ratios, key=ratios.get)
        print(f"worst: {worst}, {ratios[worst]:.2f} times")
        assert all(victim.failures.values()), victim.failures
        if FULL:
            assert ratios[worst] <= 2.0, f"the monitor's p99 rose {ratios[worst]:.2f} times at {worst}: {ratios}"


def report(what, disturbed, before, after, victim):
    """Prints what was measured at one place. Returns how many times the undisturbed p99 the monitor's was there."""
    undisturbed = before + after
    ratio = disturbed.quantile_ms(0.99) / undisturbed.quantile_ms(0.99)
    print(f"{what}: {ratio:.2f} times: {disturbed}; undisturbed {undisturbed} (p99 before {before.quantile_ms(0.99):.2f}, after "
          f"{after.quantile_ms(0.99):.2f} ms); victim so far: {victim.requests} requests, {sum(victim.failures.values())} failures "
          f"ordered, answers {victim.tally}", flush=True)
    return ratio
