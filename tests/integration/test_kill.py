"""kill -9 of every kind of process, during signatures and while idle: typed answers, no lost key, the next one works."""
import fcntl
import os
import signal
import subprocess
import threading
from collections import Counter

import pytest

from cluster import Cluster, CommandFailed, SigningClients, alive, children, wait_until
from processes import living_in, workers_in
from raw_client import RawClient

KILLS = 200 if "COSIGNER_TEST_FULL" in os.environ else 20

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
        wait_until(lambda: not any(alive(pid) for pid in workers_gone), 2, "the dead supervisor's children to be gone")
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


@pytest.mark.parametrize("what,node", [("worker", 2), ("gateway", 2), ("zygote", 2), ("supervisor", 2),
                                       ("worker", 1), ("gateway", 1), ("zygote", 1)])
def test_killed_with_a_request_in_hand(cluster, keys, what, node):
    """node 1 is asked. The other nodes' workers are paused, so that the signature is under way at `node` and cannot end before
    the process dies: the session runs in the worker, the supervisor and the gateway wait for the answer. The zygote is paused
    itself, with the order for ann's worker. What is left of the cluster signs."""
    others = [at for at in (1, 2, 3) if at != node]
    for at in (1, 2, 3):
        cluster.sign("ann", b"warm", node=at)
    victim = pid_of(cluster, what, node)
    if what == "zygote":
        cluster.evict("ann", node)
        paused = [victim]
    else:
        paused = [cluster.worker("ann", at) for at in others]
    dead = {"children": list(children(victim))}

    def in_hand():
        user = cluster.user("ann", node)
        return user and (user["state"] == "starting" if what == "zygote" else user["in_flight"] > 0 and user["sessions"] > 0)

    with RawClient(cluster, node=1) as client:
        for pid in paused:
            cluster.stop_process(pid)
        answers = client.sign("ann", b"in hand when the %s died" % what.encode())
        wait_until(in_hand, 5, f"node{node} to have the request in hand")
        os.kill(victim, signal.SIGKILL)
        for pid in paused:
            cluster.continue_process(pid)
        if what == "gateway" and node == 1:  # it was to hear the answers
            assert client.until(lambda: answers.failed or answers.by_node, 20), "no answer"
            assert answers.failed is None or answers.failed["error"] in TYPED, answers.failed
        else:
            names = [f"node{at}" for at in others] + ([f"node{node}"] if what == "worker" else [])
            assert client.until(lambda: all(name in answers.by_node for name in names), 20), answers.by_node
            assert all(answers.by_node[f"node{at}"] == ["ok"] for at in others), answers.by_node
            assert what != "worker" or answers.by_node[f"node{node}"] == ["worker_crashed"], answers.by_node
        assert not answers.doubled(), answers.by_node
    recovered(cluster, what, node, dead)
    for at in (1, 2, 3):
        cluster.sign_and_verify("ann", keys["ann"], b"after the %s at %d" % (what.encode(), at), node=at)


def test_the_supervisor_of_the_asked_node_is_killed(cluster, keys):
    """Its clients lose their connection (exit status 69) and nothing else is lost: no orphan after 2 s, the same bytes
    asked at another node are signed, and the node serves when it is started again."""
    for user in keys:
        cluster.sign(user, b"warm")
    with RawClient(cluster, node=1) as here, RawClient(cluster, node=2) as there:
        envelopes = [here.envelope(user, b"asked at node 1 when it died %d" % k) for k in range(4) for user in keys]
        with SigningClients(cluster, list(keys), keys, 4) as clients:
            clients.wait_for(10)
            supervisor = cluster.supervisor(1)
            for envelope in envelopes:
                here.submit(envelope)
            seen = {user for _, user, _, _ in workers_in(cluster.home / "node1")}
            assert seen >= set(keys), "they can be seen as long as they live"
            os.kill(supervisor, signal.SIGKILL)
            wait_until(lambda: not living_in(cluster.home / "node1"), 2, "no process of the node to be left")
        assert here.until(lambda: here.closed, 5)
        for failure in clients.failures:
            assert "ended with 69" in failure or any(name in failure for name in TYPED), failure
        again = [there.submit(envelope) for envelope in envelopes]
        assert there.until(lambda: all("ok" in names for each in again for names in each.by_node.values())
                           and all(each.by_node for each in again), 20), [each.by_node for each in again]
    cluster.restart_node(1)
    cluster.wait_ready(1)
    for user, key in keys.items():
        for node in (1, 2, 3):
            cluster.sign_and_verify(user, key, b"afterwards at %d" % node, node=node)


def test_no_supervisor_starts_beside_what_is_left_of_the_last(cluster, keys):
    """Whoever keeps the children's file, which the dead supervisor had locked: seen without any privilege."""
    cluster.sign("ann", b"warm")
    supervisor = cluster.supervisor(1)
    with open(cluster.home / "node1" / "state" / "children") as left:
        assert "ann" in {user for _, user, _, _ in workers_in(cluster.home / "node1")}
        os.kill(supervisor, signal.SIGKILL)
        fcntl.flock(left, fcntl.LOCK_EX)  # once the last process of the node is gone, and not before
        assert not living_in(cluster.home / "node1")
        keeper = subprocess.Popen(["sleep", "1000"], pass_fds=[left.fileno()])
    try:
        with pytest.raises(AssertionError):
            cluster.restart_node(1)
        assert "have not ended" in cluster.log(1)
    finally:
        keeper.kill()
        keeper.wait()
    cluster.restart_node(1)
    cluster.wait_ready(1)
    cluster.sign_and_verify("ann", keys["ann"], b"afterwards")


def test_refusals_while_a_gateway_comes_back_say_that_asking_again_helps(cluster, keys):
    os.kill(cluster.status(1)["gateway"]["pid"], signal.SIGKILL)

    def signed():
        try:
            return cluster.sign_and_verify("ann", keys["ann"], b"as soon as there is a gateway")
        except CommandFailed as failure:
            assert failure.error in TYPED, failure
            if failure.error in ("overloaded", "worker_crashed"):
                assert failure.body["retryable"] is True, failure.body
            return None
    wait_until(signed, 20, "node1 to serve again")


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


def keep_signing(cluster, user, halt, outcomes):
    """Eight requests at node 1 under way all the time, each until some node has answered."""
    with RawClient(cluster) as client:
        while not halt.is_set():
            burst = [client.sign(user, b"message %d" % number) for number in range(8)]
            answered = client.until(lambda: all(answers.by_node or answers.failed for answers in burst), 60)
            outcomes.update([] if answered else ["a request without an answer"])
            for answers in burst:
                outcomes.update(name for names in answers.by_node.values() for name in names)
                outcomes.update([answers.failed["error"]] if answers.failed and answers.failed["error"] else [])
                client.forget(answers)


def test_two_users_never_meet(cluster, keys):
    """ann's worker at node 1 is killed in a loop, each time with requests of hers in its hands; ben's signatures all succeed,
    in the same processes as before."""
    for user in keys:
        cluster.sign(user, b"warm")
    before = {node: wait_until(lambda at=node: cluster.worker("ben", at), 10, "ben's worker") for node in (1, 2, 3)}
    halt, outcomes, killed = threading.Event(), Counter(), None

    def at_work():
        user = cluster.user("ann")
        if user and user["state"] in ("backoff", "quarantined"):
            cluster.ctl("clear", "--user", "ann")  # its restarts are not what is tried here
            return None
        return user["pid"] if user and user.get("pid") not in (None, 0, killed) and user["in_flight"] > 0 else None

    ann = threading.Thread(target=keep_signing, args=(cluster, "ann", halt, outcomes))
    ann.start()
    try:
        with SigningClients(cluster, ["ben"], keys, 2) as ben:
            for _ in range(KILLS):
                killed = wait_until(at_work, 30, "ann's next worker to have requests in hand")
                os.kill(killed, signal.SIGKILL)
            ben.wait_for(10)
    finally:
        halt.set()
        ann.join(90)
    assert not ann.is_alive()
    print(f"{KILLS} kills: {dict(outcomes)} for ann, {ben.done} signatures for ben, the slowest in {ben.slowest:.2f} s")
    assert ben.failures == []
    assert {node: cluster.worker("ben", node) for node in before} == before
    assert outcomes["ok"] and outcomes["worker_crashed"] and set(outcomes) <= TYPED | {"ok", "quarantined"}, outcomes
    if cluster.user("ann")["state"] == "quarantined":
        cluster.ctl("clear", "--user", "ann")
    cluster.sign_and_verify("ann", keys["ann"], b"afterwards")
