"""Presignatures through real processes: made on request, used, gone with the process that held them.

checklist: presig double use: kill -9 of a worker during presigning and during presigned signing.
"""
import os
import random
import re
import signal
import threading

import pytest

import presignatures
from cluster import BOTH, SINGLE_UNLESS_FULL, Cluster, CommandFailed, wait_until

# What a request may end with when a worker was killed under it.
TYPED = {"worker_crashed", "peer_unreachable", "peer_timeout", "quorum_unavailable", "overloaded", "protocol_failed"}
SCHEME = "ecdsa-secp256k1"


@pytest.fixture(scope="module")
def cluster(request):
    with Cluster(topology=request.param, settings=presignatures.LOGGED) as running:
        yield running


on_both = pytest.mark.parametrize("cluster", BOTH, indirect=True)
on_single_unless_full = pytest.mark.parametrize("cluster", SINGLE_UNLESS_FULL, indirect=True)


def stock(cluster, user, node):
    for key in cluster.ctl("keys", "--user", user, node=node)["keys"]:
        if key["key"] == "k":
            return key["presignatures_ready"], key["presignatures_held"]
    raise AssertionError("no key k")


def presign(cluster, user, count, node=1):
    return cluster.ctl("presign", "--user", user, "--key", "k", "--count", count, node=node)


def sign(cluster, user, public_key, node=1):
    """A fresh digest, signed; cosignerctl has verified it. r of the signature."""
    answer = cluster.ctl("sign", "--user", user, "--key", "k", "--digest-hex", os.urandom(32).hex(), node=node)
    assert answer["public_key"] == public_key
    return answer["r"]


@on_both
def test_made_shown_and_used(cluster):
    key = cluster.keygen("ann", scheme=SCHEME)["public_key"]
    made = presign(cluster, "ann", 30)
    assert made["made"] == 30 and made["ready"] == 30
    assert made["answered_by"] == "node1, node2, node3"
    # Each node owns its part; with which peer it made it depends on who was met first.
    wait_until(lambda: [stock(cluster, "ann", node)[0] for node in (1, 2, 3)] == [10, 10, 10], 5, "the stock")
    wait_until(lambda: sum(stock(cluster, "ann", node)[1] for node in (1, 2, 3)) == 60, 5, "all of it at two nodes")
    assert cluster.ctl("user", "ann")["presignatures_ready"] == 10

    def ready():
        return sum(stock(cluster, "ann", node)[0] for node in (1, 2, 3))

    # A signature takes one; none where its peer's hello came too late for one, two where the first attempt failed.
    seen = []
    wait_until(lambda: seen.append(sign(cluster, "ann", key, node=1 + len(seen) % 3)) or ready() <= 18, 20, "twelve to be used")
    assert len(set(seen)) == len(seen)
    wait_until(lambda: sum(stock(cluster, "ann", node)[1] for node in (1, 2, 3)) == 2 * ready(), 5, "at both of their nodes")
    # Presignatures are of the key, not of a path: the same stock signs for its children.
    before = ready()
    path = ["--path", "m/44/60/0/0/5"]
    children = []
    wait_until(lambda: children.append(cluster.ctl("sign", "--user", "ann", "--key", "k", *path, "--digest-hex",
                                                   os.urandom(32).hex())["public_key"]) or ready() < before,
               20, "a child's signature to use one")
    assert len(set(children)) == 1 and children[0] != key

    # The logs tell of each use, at both of its nodes where the other has been asked for it.
    def told():
        found = presignatures.uses(cluster, "ann")
        used = {use.presignature for use in found}
        return 12 <= len(used) <= 30 - ready() and len(found) > len(used) and found
    found = wait_until(told, 5, "twelve uses in the logs, and no more than presignatures are gone")
    assert presignatures.used_twice(found) == []
    # And what must not be there would be found there.
    one = found[0]
    third = next(node for node in (1, 2, 3) if node not in {use.node for use in found if use.presignature == one.presignature})
    for false in (one, one._replace(node=third, session="00" * 32), one._replace(node=third, message="another attempt")):
        assert presignatures.used_twice([*found, false]), false


@on_single_unless_full
def test_refused_where_it_makes_no_sense(cluster):
    cluster.keygen("eve")
    with pytest.raises(CommandFailed) as refused:
        presign(cluster, "eve", 3)
    assert refused.value.error == "bad_request"
    with pytest.raises(CommandFailed) as refused:
        presign(cluster, "nobody", 3)
    assert refused.value.error == "unknown_key"


@on_both
def test_gone_with_the_process(cluster):
    key = cluster.keygen("ben", scheme=SCHEME)["public_key"]
    presign(cluster, "ben", 30)
    os.kill(cluster.worker("ben", 2), signal.SIGKILL)
    for at in range(3):
        sign(cluster, "ben", key, node=1 + at)
    # Everyone has met node2's next worker: only what node1 and node3 made with each other is left.
    wait_until(lambda: stock(cluster, "ben", 2) == (0, 0), 10, "node2's next worker to start with nothing")
    wait_until(lambda: stock(cluster, "ben", 1)[1] == stock(cluster, "ben", 3)[1], 10,
               "what was made with the dead worker to be dropped")
    assert presign(cluster, "ben", 12)["made"] == 12
    sign(cluster, "ben", key)


def test_a_portion_that_fails_does_not_hide_what_others_made():
    limit = 40
    with Cluster(settings={"sessions.presignature_limit": limit}) as small:
        small.keygen("eve", scheme=SCHEME)
        with pytest.raises(CommandFailed) as failed:
            # In portions of 120, each of which makes one at least or fails: the stocks are full before the last.
            presign(small, "eve", 12000)
        assert failed.value.body["may_have_executed"], failed.value.body
        made = int(re.match(r"after (\d+) of 12000 presignatures were made: ", failed.value.body["message"])[1])
        assert 0 < made <= 3 * limit // 2, failed.value.body


def run_while(cluster, work, rounds, kill):
    """Calls work() in a thread until `kill` has been called `rounds` times; what it raised."""
    failures, halt = [], threading.Event()

    def loop():
        while not halt.is_set():
            try:
                work()
            except CommandFailed as failure:
                failures.append(failure)
    thread = threading.Thread(target=loop)
    thread.start()
    try:
        for number in range(rounds):
            kill(number)
    finally:
        halt.set()
        thread.join(120)
    return failures


def killer(cluster, user, seed):
    chance = random.Random(seed)

    def kill(number):
        node = 1 + number % 3
        pid = wait_until(lambda: cluster.worker(user, node), 20, f"a worker of {user} at node{node}")
        halt = threading.Event()
        halt.wait(chance.uniform(0.0, 0.15))  # a moment of its work, not a wait for anything
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        wait_until(lambda: cluster.worker(user, node) != pid, 10, "the killed worker to be gone")
        cluster.ctl("clear", "--user", user, node=node) if quarantined(cluster, user, node) else None
    return kill


def quarantined(cluster, user, node):
    entry = cluster.user(user, node)
    return entry is not None and entry["state"] == "quarantined"


@on_single_unless_full
def test_killed_during_presigning(cluster):
    key = cluster.keygen("cid", scheme=SCHEME)["public_key"]
    failures = run_while(cluster, lambda: presign(cluster, "cid", 60), 6, killer(cluster, "cid", 1))
    for failure in failures:
        assert failure.error in TYPED, failure
    seen = {sign(cluster, "cid", key, node=1 + at % 3) for at in range(9)}
    assert len(seen) == 9
    assert presign(cluster, "cid", 6)["made"] == 6
    presignatures.check_single_use(cluster, "cid")


@on_single_unless_full
def test_killed_during_presigned_signing(cluster):
    key = cluster.keygen("dan", scheme=SCHEME)["public_key"]
    seen = []

    def work():
        presign(cluster, "dan", 12)
        for _ in range(6):
            seen.append(sign(cluster, "dan", key))
    failures = run_while(cluster, work, 6, killer(cluster, "dan", 2))
    for failure in failures:
        assert failure.error in TYPED, failure
    seen += [sign(cluster, "dan", key, node=1 + at % 3) for at in range(6)]
    assert len(set(seen)) == len(seen)
    count = presignatures.check_single_use(cluster, "dan")
    print(f"{count} presignatures used by {len(seen)} signatures, {len(failures)} requests failed")
