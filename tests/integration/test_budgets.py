"""Gateway and zygote have nobody to blame: they are started again for ever, after pauses that double. A node that is without one
says so, and recovers by itself; the others sign on."""
import os
import re
import signal

import pytest

from cluster import Cluster, CommandFailed, wait_until

KILLS = 6
FIRST_MS = 50  # then 100, 200, …: of each between half and the whole (supervisor/registry/budget.h)


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as running:
        yield running


@pytest.mark.parametrize("what", ["gateway", "zygote"])
def test_killed_again_and_again(cluster, what):
    key = cluster.keygen(f"friend-of-the-{what}")["public_key"]
    user = f"friend-of-the-{what}"

    def running():
        try:
            process = cluster.status(2)[what]
        except CommandFailed:
            return None
        return process["pid"] if process["state"] == "ready" else None
    killed = []
    for _ in range(KILLS):
        pid = wait_until(lambda: (now := running()) not in killed and now, 20, f"another {what}")
        killed.append(pid)
        os.kill(pid, signal.SIGKILL)

    def without():
        status = cluster.status(2)
        return status if status[what]["state"] == "backoff" else None
    seen = wait_until(without, 5, f"node2 to be without a {what}")
    assert seen["ready"] is False and f"no {what}: backoff" in seen["degraded"], seen
    cluster.sign_and_verify(user, key, b"signed by the others", node=1)
    assert [event for event in node_events(cluster) if event["to"] == "not ready" and f"no {what}" in event["reason"]]

    wait_until(running, 20, f"the {what} to be back")
    cluster.wait_ready(2)
    assert cluster.status(2)["degraded"] == []
    cluster.sign_and_verify(user, key, b"asked where it had failed", node=2)
    pauses = [int(found) for found in re.findall(rf"{what}: .*; starting another in (\d+) ms", cluster.log(2))]
    assert len(pauses) == KILLS and pauses[0] == 0, pauses
    for number, pause in enumerate(pauses[1:]):
        whole = FIRST_MS << number
        assert whole // 2 <= pause <= whole, pauses


def node_events(cluster):
    return [event for event in cluster.events(node=2) if event["what"] == "node"]
