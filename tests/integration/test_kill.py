"""kill -9 of every kind of process, during signatures and while idle: typed answers, no lost key, the next one works."""
import os
import signal
import threading

import pytest

from cluster import Cluster, CommandFailed, SigningClients, alive, children, wait_until

# A request that was in flight in the process that died may end with one of these; nothing else is acceptable.
TYPED = {"worker_crashed", "peer_unreachable", "peer_timeout", "shutting_down", "quorum_unavailable", "overloaded"}


@pytest.fixture(scope="module", params=["single", "leaf"])
def cluster(request):
    with Cluster(topology=request.param) as running:
        yield running


@pytest.fixture(scope="module")
def keys(cluster):
    return {user: cluster.keygen(user)["public_key"] for user in ("ann", "ben")}


def pid_of(cluster, what, node):
    if what == "worker":
        cluster.sign("ann", b"warm", node=node)
        return cluster.worker("ann", node)
    status = cluster.status(node)
    return status["pid"] if what == "supervisor" else status[what]["pid"]


def recovered(cluster, what, node, dead):
    if what == "supervisor":
        workers_gone = [pid for pid in dead["children"]]
        wait_until(lambda: not any(alive(pid) for pid in workers_gone), 5, "the dead supervisor's children to be gone")
        cluster.restart_node(node)
    cluster.wait_ready(node)


@pytest.mark.parametrize("what", ["worker", "gateway", "zygote", "supervisor"])
def test_killed_while_idle(cluster, keys, what):
    node = 2
    pid = pid_of(cluster, what, node)
    dead = {"children": list(children(pid))}
    os.kill(pid, signal.SIGKILL)
    recovered(cluster, what, node, dead)
    for at in (1, 2, 3):
        cluster.sign_and_verify("ann", keys["ann"], b"after %s at %d" % (what.encode(), at), node=at)
        cluster.sign_and_verify("ben", keys["ben"], b"after %s at %d" % (what.encode(), at), node=at)


@pytest.mark.parametrize("what", ["worker", "gateway", "zygote", "supervisor"])
def test_killed_while_signing(cluster, keys, what):
    """Clients ask at node 1; the process that dies is node 2's: nothing may fail. Then the same at node 1 itself."""
    with SigningClients(cluster, ["ann", "ben"], keys, 4) as clients:
        clients.wait_for(10)
        pid = pid_of(cluster, what, 2)
        dead = {"children": list(children(pid))}
        os.kill(pid, signal.SIGKILL)
        clients.wait_for(20)
        recovered(cluster, what, 2, dead)
        clients.wait_for(10)
    assert clients.failures == []


@pytest.mark.parametrize("what", ["worker", "gateway", "zygote"])
def test_killed_at_the_node_that_was_asked(cluster, keys, what):
    with SigningClients(cluster, ["ann", "ben"], keys, 4) as clients:
        clients.wait_for(10)
        os.kill(pid_of(cluster, what, 1), signal.SIGKILL)
        clients.wait_for(30)
    for failure in clients.failures:
        assert any(name in failure for name in TYPED), failure
    cluster.wait_ready(1)
    cluster.sign_and_verify("ann", keys["ann"], b"afterwards")


def test_a_worker_killed_during_keygen_costs_no_key(cluster):
    for round_number in range(4):
        user = f"young{round_number}"
        outcome = {}

        def generate():
            try:
                outcome["key"] = cluster.keygen(user)["public_key"]
            except CommandFailed as failure:
                outcome["error"] = failure.error

        thread = threading.Thread(target=generate)
        thread.start()
        worker = wait_until(lambda: cluster.worker(user, 3) or not thread.is_alive(), 20, "the worker to appear")
        if worker is not True:
            try:
                os.kill(worker, signal.SIGKILL)
            except ProcessLookupError:
                pass
        thread.join(90)
        if "key" not in outcome:
            assert outcome["error"] in TYPED | {"protocol_failed", "conflict"}, outcome
            outcome["key"] = retry_keygen(cluster, user)
        cluster.sign_and_verify(user, outcome["key"], b"signed after the crash")


def retry_keygen(cluster, user):
    """A failed keygen may have been committed after all: then its key is there. While the other nodes still hold its
    shares as promised, they say `conflict` and that another attempt is worth it; it must end."""
    def attempt():
        try:
            return cluster.keygen(user)["public_key"]
        except CommandFailed as failure:
            if failure.error == "conflict":
                assert failure.body["retryable"], failure
                return None
            assert failure.error == "already_exists", failure
            return cluster.ctl("keys", "--user", user)["keys"][0]["public_key"]

    return wait_until(attempt, 60, "the promises of a failed key generation to be settled")


def test_two_users_never_meet(cluster, keys):
    """ann's worker at node 1 is killed in a loop; ben's signatures all succeed in the same process as before."""
    cluster.sign("ben", b"warm")
    before = cluster.worker("ben")
    with SigningClients(cluster, ["ben"], keys, 2) as clients:
        for _ in range(5):
            worker = cluster.worker("ann")
            if worker:
                try:
                    os.kill(worker, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            try:
                cluster.sign("ann", b"again")
            except CommandFailed as failure:
                assert failure.error in TYPED | {"quarantined"}, failure
        clients.wait_for(10)
    assert clients.failures == []
    assert cluster.worker("ben") == before
