"""A process that hangs, and a supervisor that did not run for a while: who is killed for it, and who is not."""
import threading
import time

import pytest

from cluster import Cluster, CommandFailed, wait_until

UNRESPONSIVE_S = 3


@pytest.fixture(scope="module")
def cluster():
    with Cluster(settings={"workers.unresponsive_s": UNRESPONSIVE_S}) as running:
        yield running


def test_a_hung_zygote_is_noticed(cluster):
    """The first request of a new user is answered all the same, and every later one."""
    cluster.keygen("ann")
    zygote = cluster.status(2)["zygote"]["pid"]
    cluster.stop_process(zygote)
    began = time.monotonic()
    with pytest.raises(CommandFailed) as failure:
        cluster.sign("new", b"no such key, says its worker", node=2)
    assert failure.value.error == "unknown_key", failure.value
    assert time.monotonic() - began < 60
    assert "it answers no orders" in cluster.log(2)
    wait_until(lambda: cluster.status(2)["ready"], 10, "node2 to be ready")
    assert cluster.status(2)["zygote"]["pid"] != zygote

