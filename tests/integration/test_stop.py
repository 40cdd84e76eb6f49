"""A node that stops: it ends whatever hangs, tells whoever waits, and does not wait when told twice."""
import os
import signal

import pytest

from cluster import Cluster, CommandFailed, alive, wait_until
from control import Control, sign_envelope

STOP_TIMEOUT_S = 2


@pytest.fixture
def cluster():
    with Cluster(settings={"workers.stop_timeout_s": STOP_TIMEOUT_S}) as running:
        yield running


def stopped(cluster, node, pid, seconds):
    wait_until(lambda: not alive(pid), seconds, f"node{node} to end")
    assert cluster.log(node).rstrip().endswith("stopped"), cluster.log(node)[-500:]


def submit(control, cluster, user):
    seed = (cluster.home / "initiator.key").read_text().strip()
    return control.send("submit", {"envelope": sign_envelope(seed, "dev", user, "k", b"asked at the end")})


def test_a_hung_zygote_does_not_hold_the_node_up(cluster):
    """The fork of a user is under way for ever; a submit waits for it. The node ends within its time, and the submit
    gets one final reply, not a closed socket."""
    cluster.keygen("ann")
    status = cluster.status(2)
    cluster.stop_process(status["zygote"]["pid"])
    control = Control(cluster.socket(2))
    call = submit(control, cluster, "new")
    wait_until(lambda: (cluster.user("new", 2) or {}).get("state") == "starting", 10, "the fork to be ordered")
    os.kill(status["pid"], signal.SIGTERM)
    finals = []
    try:
        while True:
            number, final, error, body = control.receive()
            assert number == call
            if final:
                finals.append((error, body["retryable"]))
    except AssertionError as closed:
        assert "closed" in str(closed), closed
    assert finals == [("shutting_down", True)]
    stopped(cluster, 2, status["pid"], STOP_TIMEOUT_S + 2)
    cluster.restart_node(2)
    cluster.wait_ready(2)


def test_a_second_signal_does_not_wait_for_workers():
    """A stopped worker would hold the node up until its deadline, a minute."""
    with Cluster(settings={"workers.stop_timeout_s": 60}) as cluster:
        cluster.keygen("ann")
        supervisor = cluster.supervisor(2)
        cluster.stop_process(wait_until(lambda: cluster.worker("ann", 2), 10, "ann's worker"))
        os.kill(supervisor, signal.SIGTERM)
        wait_until(lambda: "stopping:" in cluster.log(2), 5, "the first signal to be seen")
        assert alive(supervisor)
        os.kill(supervisor, signal.SIGTERM)
        stopped(cluster, 2, supervisor, 5)
        assert "told to stop again" in cluster.log(2)
        cluster.restart_node(2)
        cluster.wait_ready(2)


def test_five_stopped_workers_hold_the_node_up_no_longer_than_one(cluster):
    """They are killed together when the time is over; what they had stored is whole."""
    users = {f"sleeper{k}": None for k in range(5)}
    for user in users:
        users[user] = cluster.keygen(user)["public_key"]
        cluster.sign(user, b"warm", node=2)
    supervisor, workers = cluster.supervisor(2), [cluster.worker(user, 2) for user in users]
    assert len(set(workers)) == 5 and None not in workers
    for pid in workers:
        cluster.stop_process(pid)
    os.kill(supervisor, signal.SIGTERM)
    stopped(cluster, 2, supervisor, STOP_TIMEOUT_S + 2)
    assert not any(alive(pid) for pid in workers)
    cluster.restart_node(2)
    cluster.wait_ready(2)
    assert store_verdict(cluster, 2) == "ok"
    for user, public_key in users.items():
        cluster.sign_and_verify(user, public_key, b"after the stop", node=2)


def store_verdict(cluster, node):
    """What `cosignerctl doctor` says of a node's store, whatever it says of the rest."""
    try:
        said = cluster.ctl("doctor", "--config", cluster.home / f"node{node}" / "cosigner.toml", node=node)
    except CommandFailed as failure:
        said = failure.body
    return next(check["verdict"] for check in said["checks"] if check["check"] == "store")
