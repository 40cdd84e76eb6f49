"""A process that hangs, and a supervisor that did not run for a while: who is killed for it, and who is not."""
import threading
import time

import pytest

from cluster import Cluster, CommandFailed, wait_until
from control import Control, answer_error, sign_envelope

UNRESPONSIVE_S = 3


@pytest.fixture(scope="module")
def cluster():
    with Cluster(settings={"workers.unresponsive_s": UNRESPONSIVE_S}) as running:
        yield running


def test_a_hung_zygote_is_noticed(cluster):
    """The first request of a new user is answered by the node all the same, and its zygote is another one."""
    cluster.keygen("ann")
    zygote = cluster.status(2)["zygote"]["pid"]
    cluster.stop_process(zygote)
    seed = (cluster.home / "initiator.key").read_text().strip()
    control = Control(cluster.socket(2))
    call = control.send("submit", {"envelope": sign_envelope(seed, "dev", "new", "k", b"no such key, says its worker")})
    while True:
        number, final, error, body = control.receive()
        assert number == call and not final, (error, body)
        if answer_error(body["answer"]) == ("unknown_key", "node2"):
            break
    control.close()
    assert "it answers no orders" in cluster.log(2)
    wait_until(lambda: cluster.status(2)["ready"], 10, "node2 to be ready")
    assert cluster.status(2)["zygote"]["pid"] != zygote


def test_a_pause_of_the_supervisor_costs_nobody_their_process(cluster):
    """SIGSTOP for longer than a silent process is let live, with work in flight: nothing healthy is killed after it."""
    cluster.keygen("ben")
    cluster.sign("ben", b"warm", node=2)
    supervisor, gateway, worker = cluster.supervisor(2), cluster.status(2)["gateway"]["pid"], cluster.worker("ben", 2)
    outcome = {}

    def generate():
        try:
            outcome["key"] = cluster.keygen("ben", key="second", scheme="ecdsa-secp256k1", node=1)
        except CommandFailed as failure:
            outcome["error"] = failure

    thread = threading.Thread(target=generate)
    thread.start()
    wait_until(lambda: (cluster.user("ben", 2) or {}).get("state") == "busy" or not thread.is_alive(), 20, "ben to be busy")
    cluster.stop_process(supervisor)
    time.sleep(UNRESPONSIVE_S + 1)  # the pause is what this is about
    cluster.continue_process(supervisor)
    thread.join(90)
    cluster.wait_ready(2)
    status = cluster.status(2)
    assert status["gateway"]["pid"] == gateway and cluster.worker("ben", 2) == worker, cluster.log(2)[-2000:]
    assert "killed" not in cluster.log(2).split("this process did not run")[1]
    assert "key" in outcome or outcome["error"].error in ("peer_timeout", "protocol_failed", "peer_unreachable"), outcome
