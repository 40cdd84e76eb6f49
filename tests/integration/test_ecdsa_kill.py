"""kill -9 of a worker at the messages of an ECDSA key generation, of presigning and of a signature, one after the other:
no key is lost, no presignature is used twice (the nodes' logs tell of each use), and the next signature works. The
simulation tries every message of every node; here it is real processes."""
import hashlib
import os

import pytest

import presignatures
from cluster import CommandFailed
from faults import FaultCluster
from test_ecdsa import TYPED, keygen, sign

FULL = "COSIGNER_TEST_FULL" in os.environ
VICTIM = 2
# Before a message leaves, after one has come in: between them lies everything that a worker does with its keys.
POINTS = ["message.sending", "message.received"]


@pytest.fixture(scope="module")
def cluster():
    with FaultCluster(idle_timeout=600, settings=presignatures.LOGGED) as running:
        yield running


def usable(cluster, user, public_key):
    for node in (1, 2, 3):
        sign(cluster, user, public_key, hashlib.sha256(f"{user} {node}".encode()).digest(), node=node)


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_messages_of_a_key_generation(cluster, point):
    """A death costs the attempt's timer, three seconds: every eighth message, under --full all."""
    faults, passes, step = cluster.faults[VICTIM], 1, 1 if FULL else 8
    while True:
        user = f"gen-{point}-{passes}"
        entry = faults.arm(point, "kill", user, passes=passes)
        try:
            public_key = keygen(cluster, user)
        except CommandFailed as failure:
            assert failure.error in TYPED, failure
            public_key = None
        reached = faults.hits(entry) == 1
        faults.disarm()
        if public_key is None:
            try:
                public_key = keygen(cluster, user)
            except CommandFailed as failure:  # it had been committed after all
                assert failure.error == "already_exists", failure
                public_key = cluster.ctl("keys", "--user", user)["keys"][0]["public_key"]
        usable(cluster, user, public_key)
        if not reached:
            break
        passes += step
    print(f"{point}: killed at messages 1 to {passes - step} of a key generation, in steps of {step}")
    assert passes > step, "hardly a message was there to be killed at"


@pytest.fixture(scope="module")
def public_key(cluster):
    return keygen(cluster, "victim")


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_messages_of_a_signature(cluster, public_key, point):
    faults = cluster.faults[VICTIM]
    for passes in range(8 if FULL else 5):
        entry = faults.arm(point, "kill", "victim", passes=passes)
        for number in range(40):  # not every signature has this node among its signers
            digest = hashlib.sha256(f"{point} {passes} {number}".encode()).digest()
            sign(cluster, "victim", public_key, digest, node=1)
            if faults.hits(entry):
                break
        assert faults.hits(entry) == 1, f"message {passes} was never reached"
        usable(cluster, "victim", public_key)


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_messages_of_presigning(cluster, public_key, point):
    """What was made before serves or is dropped; signatures never wait for it."""
    faults = cluster.faults[VICTIM]
    for passes in (range(40) if FULL else (1, 4)):
        entry = faults.arm(point, "kill", "victim", passes=passes)
        try:
            cluster.ctl("presign", "--user", "victim", "--key", "k", "--count", "6")
        except CommandFailed as failure:
            assert failure.error in TYPED, failure
        reached = faults.hits(entry) == 1
        faults.disarm()
        usable(cluster, "victim", public_key)
        if not reached:
            assert passes > 4, f"message {passes} was never reached"
            break
    presignatures.check_single_use(cluster, "victim")


@pytest.fixture(scope="module")
def presigned_key(cluster):
    return keygen(cluster, "presigned")


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_messages_of_a_presigned_signature(cluster, presigned_key, point):
    """Requests in turn at every node. None may fail: cosignerctl has asked all three, and two of them go on with another attempt."""
    faults = cluster.faults[VICTIM]
    for passes in (range(6) if FULL else (0, 1, 3)):
        cluster.ctl("presign", "--user", "presigned", "--key", "k", "--count", "30")
        entry = faults.arm(point, "kill", "presigned", passes=passes)
        for number in range(40):  # not every signature has this node among its signers
            digest = hashlib.sha256(f"{point} {passes} {number}".encode()).digest()
            sign(cluster, "presigned", presigned_key, digest, node=1 + number % 3)
            if faults.hits(entry):
                break
        assert faults.hits(entry) == 1, f"message {passes} was never reached"
        # What is left is named again; what the dead worker and its peers have used must not be.
        for number in range(6):
            sign(cluster, "presigned", presigned_key, os.urandom(32), node=1 + number % 3)
        count = presignatures.check_single_use(cluster, "presigned", at_least=2)
    print(f"{point}: {count} presignatures used so far")
