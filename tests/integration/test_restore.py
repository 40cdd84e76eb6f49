"""A whole older store: node 2 is stopped, all of its SQLite file goes back to an earlier copy, and it starts again while the
others have gone on. README.Debian, "Backup", forbids that and says what it costs: this, with real processes. What needs a
cheat or a clock that goes back too is in tests/unit/simulation/restore_test.cc."""
import shutil

import pytest

from cluster import Cluster, CommandFailed, wait_until
from raw_client import RawClient
from test_burn import stop_node
from test_ecdsa import SCHEME, openssl_verifies

NODES, RESTORED = (1, 2, 3), 2


def files(cluster):
    """The database and what SQLite keeps beside it: a -wal that is left belongs to the file that it was written for."""
    return sorted((cluster.home / f"node{RESTORED}" / "state").glob("cosigner.db*"))


def stop(cluster):
    cluster.devcluster("stop", "--dir", cluster.home, "--node", RESTORED)


def start(cluster):
    cluster.restart_node(RESTORED)
    for node in NODES:
        cluster.wait_ready(node)  # which is also that it sees the others present


def wait_active(cluster, key):
    wait_until(lambda: any(one["key"] == key and one["state"] == "active"
                           for one in cluster.ctl("keys", "--user", "ann", node=RESTORED)["keys"]), 20,
               f"{key} to be active on node {RESTORED}")


def sign_coin(cluster, public_key, number, node):
    digest = number.to_bytes(32, "big")
    answer = cluster.ctl("sign", "--user", "ann", "--key", "coin", "--digest-hex", digest.hex(), "--timeout", 20, node=node)
    assert answer["public_key"] == public_key
    assert openssl_verifies(public_key, digest, bytes.fromhex(answer["der"]))


def all_answers(client, answers, nodes=len(NODES)):
    """{node: outcome}, once so many nodes have said something."""
    assert client.until(lambda: len(answers.by_node) == nodes, 30), answers.by_node
    client.settle(answers)
    return {node: outcomes[0] for node, outcomes in answers.by_node.items()}


def generation(cluster):
    return cluster.ctl("user", "ann", node=RESTORED)["generation"]


def test_an_older_store_put_back(tmp_path):
    with Cluster(settings={"sessions.presignature_pool": 2}) as cluster:
        old = cluster.keygen("ann", "old")["public_key"]
        all_three = cluster.keygen("ann", "all", threshold=3)["public_key"]
        coin = cluster.keygen("ann", "coin", scheme=SCHEME)["public_key"]
        for key in ("old", "all", "coin"):
            wait_active(cluster, key)
        stop(cluster)
        for path in files(cluster):
            shutil.copy2(path, tmp_path)
        start(cluster)

        # The node goes on. Its peers meet its workers, take part in a renewal, and remember what was signed.
        cluster.sign_and_verify("ann", all_three, b"before", key="all", node=RESTORED)
        late = cluster.keygen("ann", "late")["public_key"]
        wait_active(cluster, "late")
        sign_coin(cluster, coin, 1, node=1)
        assert cluster.ctl("renew", "--user", "ann", "--key", "coin", "--peer", f"node{RESTORED}", "--timeout", 30,
                           node=3)["renewed"]
        met = generation(cluster)
        with RawClient(cluster, node=1) as client:
            served = client.envelope("ann", b"signed before", key="old", seconds=600)
            assert set(all_answers(client, client.submit(served)).values()) == {"ok"}

        stop(cluster)
        for path in files(cluster):
            path.unlink()
        for path in tmp_path.iterdir():
            shutil.copy2(path, cluster.home / f"node{RESTORED}" / "state")
        start(cluster)

        # Keys of before: with it, also where it is needed, and by workers that its peers have not met.
        for node in NODES:
            cluster.sign_and_verify("ann", old, b"after, at %d" % node, key="old", node=node)
            cluster.sign_and_verify("ann", all_three, b"after, at %d" % node, key="all", node=node)
        assert generation(cluster) > met
        assert {one["key"]: one["ok"] for one in cluster.ctl("verify", node=RESTORED)["keys"]} == {
            "old": True, "all": True, "coin": True}

        with RawClient(cluster, node=RESTORED) as client:
            # It has forgotten that it signed this, and is given the result by those who have not.
            assert set(all_answers(client, client.submit(served)).values()) == {"ok"}
            # Keys made since: it says so, and the others sign.
            answers = client.sign("ann", b"later", key="late")
            assert all_answers(client, answers) == {"node1": "ok", "node2": "unknown_key", "node3": "ok"}
            error = answers.error(f"node{RESTORED}")
            assert "other nodes that have it sign without this one" in error["message"], error
            assert not error["retryable"] and not error["may_have_executed"], error
        cluster.sign_and_verify("ann", late, b"asked at the node that has not got it", key="late", node=RESTORED)
        with pytest.raises(CommandFailed) as refused:
            cluster.keygen("ann", "late", node=RESTORED)
        assert refused.value.error == "already_exists", refused.value
        cluster.sign_and_verify("ann", late, b"the same key still", key="late")

        # Its OT state with node 3 is the one of before the renewal: they do not sign together, and neither takes the
        # other for a cheat, however often they meet.
        for number in range(2, 8):
            sign_coin(cluster, coin, number, node=number % 3 + 1)
        stop_node(cluster, 1)
        with RawClient(cluster, node=RESTORED) as client:
            answers = client.sign("ann", bytes([10] * 32), key="coin", scheme=SCHEME)
            outcomes = all_answers(client, answers, nodes=2)
            assert "banned" in outcomes.values() and "ok" not in outcomes.values(), outcomes
            for node, outcome in outcomes.items():
                error = answers.error(node)
                assert outcome != "banned" or "before their OT state is renewed" in error["message"], error
        for node in (2, 3):
            assert cluster.ctl("bans", "--user", "ann", node=node)["bans"] == []
        assert cluster.ctl("renew", "--user", "ann", "--key", "coin", "--peer", "node3", "--timeout", 30,
                           node=RESTORED)["renewed"]
        sign_coin(cluster, coin, 11, node=RESTORED)
        cluster.restart_node(1)
