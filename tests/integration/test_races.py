"""Eviction, crash, restart, shutdown and requests raced against one another with real processes, by a seed: never two
workers of one user (looked at from /proc all the while), never a lost or a doubled answer, never a hang."""
import os
import random
import signal

from cluster import CommandFailed, alive, wait_until
from faults import CAUSES, FaultCluster
from processes import Watch
from raw_client import RawClient

ROUNDS = 1000 if "COSIGNER_TEST_FULL" in os.environ else 30
SEED = int(os.environ.get("COSIGNER_TEST_SEED", "20261121"))
USERS = [f"racer{k}" for k in range(4)]
NODES = (1, 2, 3)
# Every answer to a request that raced is one of these. (`sign` asks nothing that could be wrong by itself.)
ANSWERS = {"ok", "cancelled", "handler_failed", "peer_timeout", "peer_unreachable", "protocol_failed", "quorum_unavailable",
           "overloaded", "shutting_down", *CAUSES.values()}
POINTS = ["request.received", "request.taken", "sign.start", "sign.checked", "message.received", "message.sent",
          "answer.sending", "answer.sent", "worker.hello", "worker.start", "worker.ready", "evict.asked", "evict.replied"]


class Race:
    def __init__(self, cluster):
        self.cluster, self.dice = cluster, random.Random(SEED)
        self.supervisors = {node: cluster.supervisor(node) for node in NODES}
        self.public_keys = {user: cluster.keygen(user)["public_key"] for user in USERS}
        self.pending, self.done, self.tally = [], 0, {}

    def request(self, client):
        """`missing`: nodes that were told to stop while this one was on its way, which may stay silent."""
        answers = client.sign(self.dice.choice(USERS), self.dice.randbytes(16), seconds=120)
        answers.missing = set()
        self.pending.append(answers)

    def order(self, command, user, node):
        try:
            self.cluster.ctl(command, "--user", user, node=node)
        except CommandFailed as failure:
            assert failure.error in ("conflict", "unknown_user"), failure

    def crash(self, user, node):
        pid = self.cluster.worker(user, node)
        if pid:
            try:
                os.kill(pid, self.dice.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM]))
            except ProcessLookupError:
                pass

    def stop_node_three(self, client):
        """Ordered to stop in the middle of requests, and started again. The client's own node stays."""
        for answers in self.pending:
            answers.missing.add("node3")
        supervisor = self.supervisors[3]
        how = self.dice.choice([signal.SIGTERM, signal.SIGKILL])
        os.kill(supervisor, how)
        for _ in range(self.dice.randrange(3)):
            self.request(client)
            self.pending[-1].missing.add("node3")
        wait_until(lambda: not alive(supervisor), 15, "node3 to stop")
        self.cluster.restart_node(3)
        self.cluster.wait_ready(3)
        self.supervisors[3] = self.cluster.supervisor(3)

    def round(self, client):
        for _ in range(self.dice.randrange(1, 5)):
            self.request(client)
        user, node = self.dice.choice(USERS), self.dice.choice(NODES)
        match self.dice.randrange(12):
            case 0 | 1 | 2:
                self.order("evict", user, node)
            case 3 | 4:
                self.crash(user, node)
            case 5:
                self.order("restart", user, node)
            case 6 | 7 | 8 | 9:
                action = self.dice.choice(["kill", "segfault", "abort", "exit", "throw", "oom", "silence"])
                self.cluster.faults[node].arm(self.dice.choice(POINTS), action, user)
            case 10 if self.dice.randrange(4) == 0:
                self.stop_node_three(client)
        if self.dice.randrange(2):
            self.request(client)
        if self.dice.randrange(3):
            self.settle(client, within=self.dice.randrange(1, 40))

    def settle(self, client, within=0):
        """Waits until at most `within` requests are unanswered; each that is answered is judged."""
        def settled():
            for answers in [each for each in self.pending if self.complete(each)]:
                self.pending.remove(answers)
                self.judge(client, answers)
            return len(self.pending) <= within
        if not client.until(settled, 60):
            raise AssertionError(f"a hang in round seed {SEED}: {[each.by_node for each in self.pending]}")

    def complete(self, answers):
        return {f"node{node}" for node in NODES} - answers.missing <= answers.by_node.keys()

    def judge(self, client, answers):
        assert answers.failed is None, answers.failed
        for node, names in answers.by_node.items():
            assert names[0] in ANSWERS, (node, names)
            self.tally[names[0]] = self.tally.get(names[0], 0) + 1
        self.done += 1
        client.settle(answers)


def test_races_with_real_processes():
    print(f"\n{ROUNDS} rounds, seed {SEED}")
    # A window of a second forgives at once what would otherwise quarantine a user: it is the races that are tried.
    with FaultCluster({"workers.restart_window_s": 1}, idle_timeout=600) as cluster:
        race = Race(cluster)
        homes = [cluster.home / f"node{node}" for node in NODES]
        with RawClient(cluster) as client, Watch(*homes) as watch:
            for number in range(ROUNDS):
                race.round(client)
                if number % 100 == 99:
                    print(f"round {number + 1}: {race.done} requests, {race.tally}", flush=True)
            for faults in cluster.faults.values():
                faults.disarm()
            race.settle(client)
            for user in USERS:
                for node in NODES:
                    wait_until(lambda: signs(cluster, race, user, node), 20, f"{user} to sign at node{node}")
        print(f"{race.done} requests at {len(NODES)} nodes: {race.tally}; {watch.looks} looks at /proc")
        assert watch.doubled == []
        assert watch.looks > ROUNDS
        seen = {(home, user) for home, user, _ in watch.owners}
        assert seen == {(home, user) for home in homes for user in USERS}, "workers that nobody saw"


def signs(cluster, race, user, node):
    try:
        return cluster.sign_and_verify(user, race.public_keys[user], b"after the races", node=node)
    except CommandFailed as failure:
        assert failure.error in ANSWERS, failure
        return None
