"""A node whose worker sends wrong OT messages. Whoever finds one has banned the pair on its disk before anybody hears of it,
and the ban costs that key's signatures by that pair and nothing else, until an operator lifts it."""
import hashlib
import os
import signal

import pytest

from cluster import CommandFailed, SigningClients, alive, wait_until
from faults import FaultCluster, key_mark
from metrics import read
from raw_client import RawClient
from test_burn import SCHEME, bans, sign, stop_node
from test_ecdsa import openssl_verifies

LIAR, HONEST = 3, (1, 2)


class Bystanders(SigningClients):
    """Another key of ann's and another user's, one signature after another, at the node that no part of the test stops."""
    KEYS = {"ann": "other", "bob": "k"}

    def __init__(self, cluster):
        self.signed = dict.fromkeys(self.KEYS, 0)
        public_keys = {user: cluster.keygen(user, key, scheme=SCHEME)["public_key"] for user, key in self.KEYS.items()}
        super().__init__(cluster, list(self.KEYS), public_keys, clients=len(self.KEYS), nodes=[LIAR])

    def signs(self, user, message, node):
        digest = hashlib.sha256(message).digest()
        answer = self.cluster.ctl("sign", "--user", user, "--key", self.KEYS[user], "--digest-hex", digest.hex(), node=node)
        self.signed[user] += 1
        return openssl_verifies(self.public_keys[user], digest, bytes.fromhex(answer["der"]))

    def go_on(self, more=2):
        target = {user: count + more for user, count in self.signed.items()}
        wait_until(lambda: all(self.signed[user] >= target[user] for user in target), 60, f"{more} more signatures of each")
        assert self.failures == []


def lie(cluster, client, passes, confirmed, answering):
    """Requests until node 3's worker has altered its OT message number `passes` to a peer; returns the node that found it.
    There the failed check arms what kills a worker that sends a packet or an answer, and at the place where the store's
    confirmation comes in, `confirmed` happens. So if that is reached and nobody killed, nothing had left the worker.
    `answering`: how many nodes' answers to wait for."""
    watches = {}
    for faults in cluster.faults.values():
        faults.disarm()  # what the last one left with who did not find it
    for node in HONEST:
        arm = cluster.faults[node].arm
        arm("sign.burnt", "arm", "ann", argument=3)
        watches[node] = [arm("store.confirmed", confirmed, "ann", count=0, argument=2),
                         arm("message.sending", "kill", "ann", count=0), arm("answer.sending", "kill", "ann", count=0)]

    def hits():
        return {node: [cluster.faults[node].hits(entry) for entry in watches[node]] for node in HONEST}

    def sign_until_altered():
        wrong = cluster.faults[LIAR].arm("sign.sending", "spoil", "ann", passes=passes, argument=key_mark(cluster.key))
        for _ in range(40):  # not every signing set has node 3 in it
            answers = client.sign("ann", os.urandom(32), scheme=SCHEME)
            assert client.until(lambda: len(answers.by_node) >= answering, 20), f"only {answers.by_node} answered"
            early = [node for node, (_, *killed) in hits().items() if any(killed)]
            assert not early, f"something left a worker before its ban was confirmed: {early}"
            # Another pair has signed: the request is none the worse.
            assert all(names == ["ok"] for names in answers.by_node.values()), answers.by_node
            client.forget(answers)
            if cluster.faults[LIAR].hits(wrong):
                return
        raise AssertionError("node 3 was in no signing set")

    # On a busy machine an attempt can be over before the message comes, and who has given it up looks at nothing any more.
    for _ in range(5):
        sign_until_altered()
        if client.until(lambda: any(map(any, hits().values())), 5):
            break
    found = [node for node, counts in hits().items() if any(counts)]
    assert len(found) == 1 and hits()[found[0]] == [1, 0, 0], f"found and confirmed, packets, answers: {hits()}"
    return found[0]


def assert_banned(cluster, finder):
    pair, = bans(cluster, finder)
    assert pair["banned"] and pair["why"] == "check_failed" and pair["strikes"] == 0 and pair["since_ms"] > 0, pair
    assert (pair["user"], pair["key"], pair["epoch"], pair["peer"]) == ("ann", "k", 1, f"node{LIAR}"), pair
    assert all(bans(cluster, node) == [] for node in (1, 2, 3) if node != finder)
    assert [read(cluster, node)["cosigner_bans"] for node in (1, 2, 3)] == [float(node == finder) for node in (1, 2, 3)]


def unban(cluster, finder):
    assert cluster.ctl("unban", "--user", "ann", "--key", "k", "--peer", f"node{LIAR}", "--reason", "a test made it lie",
                       "--timeout", 30, node=finder)["renewed"]
    assert bans(cluster, finder) == []


def test_a_failed_check_bans_the_pair_before_anybody_hears_of_it():
    # A worker that is kept at its ban's confirmation must not be taken for one that hangs.
    with FaultCluster({"workers.unresponsive_s": 60}, idle_timeout=600) as cluster, RawClient(cluster, LIAR) as client:
        cluster.key = cluster.keygen("ann", scheme=SCHEME)["public_key"]
        supervisors = {node: cluster.supervisor(node) for node in HONEST}
        with Bystanders(cluster) as bystanders:
            bystanders.go_on()

            # A wrong OT extension message. The finder stays at its ban's confirmation, where nobody knows yet but its store;
            # and there its whole node dies.
            finder = lie(cluster, client, passes=0, confirmed="silence", answering=2)
            worker = cluster.worker("ann", finder)
            os.kill(supervisors[finder], signal.SIGKILL)
            wait_until(lambda: not alive(supervisors[finder]) and not alive(worker), 10, "the finder's processes to be gone")
            cluster.faults[finder].disarm()
            bystanders.go_on()
            cluster.restart_node(finder)
            cluster.wait_ready(finder)
            assert_banned(cluster, finder)

            # The two alone: they sign all but that key, which says whom it lacks.
            third, = set(HONEST) - {finder}
            stop_node(cluster, third)
            bystanders.go_on()
            for node in (finder, LIAR):
                with pytest.raises(CommandFailed) as refused:
                    sign(cluster, 1, node=node)
                assert refused.value.error == "banned", refused.value.body
                assert f"node{finder}" in str(refused.value.body) and f"node{LIAR}" in str(refused.value.body), refused.value.body
            bystanders.go_on()
            unban(cluster, finder)
            for node in (finder, LIAR):
                assert sign(cluster, 10 + node, node=node)["public_key"] == cluster.key
            cluster.restart_node(third)
            for node in (1, 2, 3):
                cluster.wait_ready(node)

            # A wrong VOLE message, the second of a pair's two. The finder goes on, and signs with the third.
            finder = lie(cluster, client, passes=1, confirmed="disarm", answering=3)
            assert_banned(cluster, finder)
            unban(cluster, finder)
            for number in range(20, 23):
                assert sign(cluster, number, node=number % 3 + 1)["public_key"] == cluster.key
            bystanders.go_on()
