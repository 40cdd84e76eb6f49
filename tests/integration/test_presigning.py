"""Presignatures as a node makes them by itself, of idle time: the pool of a key that is used is filled, and filled again; and the
benchmark of them, which fills a pool of its own."""
import os

import pytest

from cluster import Cluster, wait_until

SCHEME, POOL = "ecdsa-secp256k1", 8


@pytest.fixture(scope="module")
def cluster():
    with Cluster(settings={"sessions.presignature_pool": POOL}, idle_timeout=600) as running:
        yield running


def ready(cluster, user, node):
    return next(key["presignatures_ready"] for key in cluster.ctl("keys", "--user", user, node=node)["keys"])


def sign(cluster, user, public_key, node):
    """A fresh digest; cosignerctl has verified the signature. Its r."""
    answer = cluster.ctl("sign", "--user", user, "--key", "k", "--digest-hex", os.urandom(32).hex(), node=node)
    assert answer["public_key"] == public_key
    return answer["r"]


def test_the_pool_is_filled_in_the_background_and_filled_again(cluster):
    key = cluster.keygen("ann", scheme=SCHEME)["public_key"]
    seen = [sign(cluster, "ann", key, 1)]

    def full():
        counts = [ready(cluster, "ann", node) for node in (1, 2, 3)]
        assert max(counts) <= POOL, counts
        return counts == [POOL] * 3
    wait_until(full, 30, "every node to have its pool")
    assert cluster.ctl("user", "ann")["presignatures_ready"] == POOL

    def used():
        """Signs until some node has fewer than its pool, or has begun to replace them."""
        seen.append(sign(cluster, "ann", key, 1 + len(seen) % 3))
        return sum(ready(cluster, "ann", node) for node in (1, 2, 3)) < 3 * POOL
    wait_until(used, 20, "a presignature to be used")
    wait_until(full, 30, "the pool to be full again")
    assert len(set(seen)) == len(seen)


def test_the_benchmarks_of_ecdsa(cluster):
    plain = cluster.ctl("bench", "sign", "--scheme", SCHEME, "--concurrency", "2", "--count", "10")
    assert plain["signatures"] == 10 and plain["errors"] in (0, {}, [])
    presigned = cluster.ctl("bench", "sign", "--scheme", SCHEME, "--presigned", "--concurrency", "2", "--count", "24")
    assert presigned["signatures"] == 24 and presigned["errors"] in (0, {}, [])
    assert {"p50_ms", "p99_ms", "per_second"} <= set(presigned)
