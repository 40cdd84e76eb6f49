"""A node that stops: it ends whatever hangs, tells whoever waits, and does not wait when told twice."""
import os
import signal

import pytest

from cluster import Cluster, CommandFailed, alive, verifies, wait_until
from control import Control, sign_envelope
from raw_client import RawClient

STOP_TIMEOUT_S = 2


@pytest.fixture
def cluster():
    with Cluster(settings={"workers.stop_timeout_s": STOP_TIMEOUT_S}) as running:
        yield running


@pytest.fixture(scope="module")
def patient():
    """Nodes that wait a minute for a worker; so do its requests."""
    with Cluster(settings={"workers.stop_timeout_s": 60, "workers.unresponsive_s": 60, "sessions.sign_deadline_ms": 60000,
                           "sessions.delivery_attempts": 60}) as running:
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


def test_a_second_signal_does_not_wait_for_workers(patient):
    """A stopped worker would hold the node up until its deadline, a minute."""
    patient.keygen("ann")
    supervisor = patient.supervisor(2)
    patient.stop_process(wait_until(lambda: patient.worker("ann", 2), 10, "ann's worker"))
    os.kill(supervisor, signal.SIGTERM)
    wait_until(lambda: "stopping:" in patient.log(2), 5, "the first signal to be seen")
    assert alive(supervisor)
    os.kill(supervisor, signal.SIGTERM)
    stopped(patient, 2, supervisor, 5)
    assert "told to stop again" in patient.log(2)
    patient.restart_node(2)
    patient.wait_ready(2)


def test_drain_finishes_what_is_in_flight_and_takes_nothing_more(patient):
    """`cosignerctl drain` with a request under way that cannot end before the other nodes' workers go on. A second drain is
    no second signal: it hurries nobody."""
    public_key = patient.keygen("ben")["public_key"]
    supervisor = patient.supervisor(2)
    peers = [wait_until(lambda: patient.worker("ben", node), 10, "ben's workers") for node in (1, 3)]
    worker = wait_until(lambda: patient.worker("ben", 2), 10, "ben's worker")
    for pid in peers:
        patient.stop_process(pid)
    with RawClient(patient, node=2) as client:  # of the node itself: its calls go on until its last answer is back
        under_way = client.sign("ben", b"under way")
        wait_until(lambda: patient.user("ben", 2)["in_flight"] == 1, 10, "the request to be in hand")
        patient.ctl("drain", node=2)
        wait_until(lambda: "shutting down" in patient.status(2)["degraded"], 10, "node2 to drain")
        entry = patient.user("ben", 2)
        assert (entry["state"], entry["in_flight"], entry["pid"]) == ("draining", 1, worker)
        late = client.sign("ben", b"too late")
        assert client.until(lambda: "node2" in late.by_node, 10), "whoever comes late is told so"
        error = late.error("node2")
        assert (error["name"], error["may_have_executed"], error["retryable"]) == ("shutting_down", False, True)
        patient.ctl("drain", node=2)
        assert "node2" not in under_way.by_node and alive(worker) and alive(supervisor)
        for pid in peers:
            patient.continue_process(pid)
        assert client.until(lambda: "node2" in under_way.by_node, 20), "what was under way is not answered"
        result = next(answer for node, answer in under_way.contents if node == "node2")
        assert result["ok"], result
        assert verifies(public_key, b"under way", result["result"]["signature"].hex())
    stopped(patient, 2, supervisor, 10)  # long before its deadline: nobody was waited for
    assert not alive(worker)
    assert "told to stop again" not in patient.log(2).split("drain ordered", 1)[1]
    patient.restart_node(2)
    patient.wait_ready(2)
    patient.sign_and_verify("ben", public_key, b"back again", node=2)


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
