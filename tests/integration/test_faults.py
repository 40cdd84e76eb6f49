"""A worker fails in every way at every named place: each node gives exactly one typed answer to each request, the next
request is served, and nobody else notices."""
import os
import re
import signal
import time

import pytest

from cluster import CommandFailed, alive, wait_until
from faults import CAUSES, FAILURES, WORDS, FaultCluster, points, system_call
from raw_client import RawClient

FULL = "COSIGNER_TEST_FULL" in os.environ
NODES = 3

# Where a signature passes. At the first group's places the worker has the request in hand and has not answered it.
IN_HAND = ["request.received", "request.taken", "sign.start", "sign.checking", "sign.checked", "sign.result", "store.result",
           "answer.sending", "sign.sending"]
ANYWHERE = ["message.received", "message.handled", "message.sending", "message.sent", "answer.sent"]
WAITING = ["timer"]
STARTING = ["worker.hello", "worker.start", "worker.ready"]
LEAVING = ["evict.asked", "evict.replied"]
KEYGEN = ["keygen.start", "keygen.checking", "keygen.checked", "keygen.result", "store.pending", "store.pending-sent",
          "store.confirmed", "store.activate", "store.activate-sent"]
STOPPING = ["drain.asked"]
# A throw at these places is held back by the request's or the session's own handler.
HELD_BACK = ["request.received", "request.taken", "sign.start", "sign.sending", "sign.checking", "sign.checked", "sign.result"]


@pytest.fixture(scope="module")
def cluster():
    with FaultCluster(idle_timeout=600) as running:
        yield running


@pytest.fixture(scope="module")
def key(cluster):
    return cluster.keygen("victim")["public_key"]


@pytest.fixture(scope="module")
def listener(cluster):
    """Of all tests: what one of them asked for is listened to while the next ones run."""
    with RawClient(cluster) as raw:
        yield raw


@pytest.fixture
def client(cluster, listener):
    yield listener
    for faults in cluster.faults.values():
        faults.disarm()


def all_answered(answers):
    return len(answers.by_node) == NODES


def ask(client, message=b"m"):
    """One request to its end at every node."""
    answers = client.sign("victim", message)
    assert client.until(lambda: all_answered(answers), 20), f"only {answers.by_node} answered"
    client.settle(answers)
    return answers


def outcomes(answers):
    return {node: names[0] for node, names in answers.by_node.items()}


def sign(client, message=b"m"):
    return outcomes(ask(client, message))


def reached(faults, entry, once, seconds=20):
    """Does `once` until the point has been passed: not every signature passes everywhere. Node 1 may be no signer, or not the
    assembler, and for a while after a death its peers prefer each other."""
    end = time.monotonic() + seconds
    while not faults.hits(entry):
        assert time.monotonic() < end, "the point was never reached"
        once()


def serves_again(cluster, client):
    """All three nodes sign: the one whose worker died as well, and its worker is another one."""
    wait_until(lambda: set(sign(client, b"again").values()) == {"ok"}, 20, "every node to sign again")


def test_every_point_of_the_program_is_tried_here():
    assert sorted(IN_HAND + ANYWHERE + WAITING + STARTING + LEAVING + KEYGEN + STOPPING) == points()


def actions_for(point, number):
    """All of them under --full; else one that differs from point to point, so that each is tried somewhere."""
    names = [name for name in FAILURES if name != "throw"]
    return names if FULL else [names[number % len(names)]]


DEADLY = [(point, action) for number, point in enumerate(IN_HAND + ANYWHERE) for action in actions_for(point, number)]


@pytest.mark.parametrize("point, action", DEADLY)
def test_a_signature_that_costs_the_worker(cluster, key, client, point, action):
    faults = cluster.faults[1]
    serves_again(cluster, client)
    before = cluster.worker("victim")
    entry = faults.arm(point, action, "victim")
    asked = []
    reached(faults, entry, lambda: asked.append(ask(client)))
    assert faults.hits(entry) == 1
    answers, seen = asked[-1], [outcomes(each) for each in asked]
    assert all(set(each.values()) <= {"ok", CAUSES[action]} for each in seen), seen
    assert all(each["node2"] == each["node3"] == "ok" for each in seen)
    if point in IN_HAND:
        assert seen[-1]["node1"] == CAUSES[action]
        error = answers.error("node1")
        assert WORDS[action] in error["message"] and error["may_have_executed"] is True
    serves_again(cluster, client)
    wait_until(lambda: not alive(before), 5, "the failed worker to be gone")
    assert cluster.worker("victim") != before


@pytest.mark.parametrize("point", HELD_BACK)
def test_a_handler_that_throws_costs_that_request_only(cluster, key, client, point):
    serves_again(cluster, client)
    before = cluster.worker("victim")
    entry = cluster.faults[1].arm(point, "throw", "victim")
    asked = []
    reached(cluster.faults[1], entry, lambda: asked.append(sign(client)))
    answers = asked[-1]
    assert answers["node1"] == "handler_failed" and answers["node2"] == answers["node3"] == "ok"
    assert set(sign(client).values()) == {"ok"}
    assert cluster.worker("victim") == before
    log = cluster.log(1)
    told = log[log.rindex(f"ordered by a test at {point}") - 200:]
    assert "St13runtime_error" in told
    assert re.search(r"cosigner-worker[a-z-]*\(\+0x[0-9a-f]+\)", told), "no stack in the log"


@pytest.mark.parametrize("action", ["segfault", "throw", "silence"])
def test_a_worker_that_fails_while_it_waits(cluster, key, client, action):
    """Both peers' workers are stopped, so that only timers are left to happen at node 1."""
    serves_again(cluster, client)
    entry = cluster.faults[1].arm("timer", action, "victim")
    peers = [cluster.worker("victim", node) for node in (2, 3)]
    for pid in peers:
        cluster.stop_process(pid)
    answers = client.sign("victim", b"m")
    assert client.until(lambda: "node1" in answers.by_node, 20)
    assert cluster.faults[1].hits(entry) == 1
    assert answers.by_node["node1"] == [CAUSES.get(action, "worker_crashed")]
    for pid in peers:
        cluster.continue_process(pid)
    assert client.until(lambda: all_answered(answers), 20), answers.by_node
    client.settle(answers)
    serves_again(cluster, client)


@pytest.mark.parametrize("point", ["message.received", "message.handled", "answer.sending"])
def test_a_throw_that_may_have_spoilt_shared_state_costs_the_process(cluster, key, client, point):
    """Nothing that a throw has left half-changed serves a second request."""
    serves_again(cluster, client)
    before = cluster.worker("victim")
    entry = cluster.faults[1].arm(point, "throw", "victim")
    asked = []
    reached(cluster.faults[1], entry, lambda: asked.append(sign(client)))
    assert all(set(each.values()) <= {"ok", "worker_crashed"} for each in asked)
    wait_until(lambda: not alive(before), 5, "the worker to be gone")
    serves_again(cluster, client)
    assert f"ordered by a test at {point}" in cluster.log(1)


def start_failures(cluster):
    return cluster.ctl("user", "victim")["start_failures"] if cluster.user("victim") else 0


@pytest.mark.parametrize("point", STARTING)
@pytest.mark.parametrize("action", ["segfault", "exit", "silence"] if FULL else ["segfault"])
def test_a_worker_that_fails_while_it_starts(cluster, key, client, point, action):
    serves_again(cluster, client)
    cluster.evict("victim")
    failures = start_failures(cluster)
    entry = cluster.faults[1].arm(point, action, "victim")
    answers = ask(client)
    assert cluster.faults[1].hits(entry) == 1
    assert outcomes(answers) == {"node1": "worker_unresponsive" if action == "silence" else "worker_crashed", "node2": "ok",
                                 "node3": "ok"}
    # A worker that was never ready has been given no request.
    error = answers.error("node1")
    assert error["may_have_executed"] is False and error["retryable"] is True
    assert action == "silence" or f"did not start: it {WORDS[action]}" in error["message"]
    serves_again(cluster, client)  # by the next, which comes once this one is reaped
    # Counted apart; one that was never heard of is the node's trouble, not its user's.
    assert start_failures(cluster) == failures + (0 if (action, point) == ("silence", "worker.hello") else 1)


@pytest.mark.parametrize("point", LEAVING)
@pytest.mark.parametrize("action", ["kill", "silence"])
def test_a_worker_that_fails_while_it_is_asked_to_go(cluster, key, client, point, action):
    """The request that races the eviction is served by this worker or the next; a worker that does not reply, or agrees
    and stays, is killed."""
    serves_again(cluster, client)
    before = cluster.worker("victim")
    entry = cluster.faults[1].arm(point, action, "victim")
    try:
        cluster.ctl("evict", "--user", "victim")
    except CommandFailed as failure:
        assert failure.error in ("conflict", "unknown_user")
    wait_until(lambda: cluster.faults[1].hits(entry) == 1, 10, "the worker to be asked")
    answers = sign(client)
    assert answers["node2"] == answers["node3"] == "ok"
    assert answers["node1"] in ("ok", "worker_crashed", "worker_unresponsive")
    wait_until(lambda: not alive(before), 10, "the old worker to be gone")
    serves_again(cluster, client)


@pytest.mark.parametrize("point", KEYGEN if FULL else ["keygen.checked", "store.pending-sent", "store.activate"])
@pytest.mark.parametrize("action", [name for name in CAUSES if name not in ("loop", "leak")] if FULL else ["kill"])
def test_a_key_generation_that_costs_the_worker(cluster, point, action):
    """The same request again finishes the key, or finds that it was never made; either way one key exists everywhere."""
    user = f"young-{point}-{action}"
    entry = cluster.faults[1].arm(point, action, user)
    try:
        made = cluster.keygen(user, timeout=120)["public_key"]
    except CommandFailed as failure:
        assert failure.error in set(CAUSES.values()) | {"peer_timeout", "peer_unreachable", "protocol_failed", "conflict"}, failure
        made = None
    # With the others' statements the key may be known to exist before this node has stored it.
    wait_until(lambda: cluster.faults[1].hits(entry) == 1, 10, f"{point} to be reached")

    def usable():
        try:
            return cluster.keygen(user)["public_key"]
        except CommandFailed as failure:
            if failure.error == "already_exists":
                return cluster.ctl("keys", "--user", user, node=2)["keys"][0]["public_key"]
            assert failure.error in ("conflict", "peer_timeout", "protocol_failed", "worker_crashed", "peer_unreachable"), failure
            return None
    public_key = made or wait_until(usable, 60, "the key to be made by asking again")
    for node in (1, 2, 3):
        cluster.sign_and_verify(user, public_key, b"signed after the crash", node=node)


def test_the_operator_sees_what_happened(cluster, key, client):
    """Crash record in the log, in `user`, in the events: signal, place, stack, the request that did it."""
    serves_again(cluster, client)
    entry = cluster.faults[1].arm("request.taken", "segfault", "victim")
    generation = cluster.ctl("user", "victim")["generation"]
    answers = client.sign("victim", b"the one that kills")
    assert client.until(lambda: all_answered(answers), 20)
    client.settle(answers)
    assert cluster.faults[1].hits(entry) == 1
    error = next(answer["error"] for node, answer in answers.contents if node == "node1")
    assert error["name"] == "worker_crashed" and error["may_have_executed"] and error["retryable"]
    assert "signal 11 (SIGSEGV)" in error["message"] and "+0x" not in error["message"]  # callers learn no addresses
    session = next(answer["session"] for _, answer in answers.contents).hex()

    entry = cluster.ctl("user", "victim")
    assert "SIGSEGV" in entry["last_death"]
    assert re.match(r"signal 11 \(SIGSEGV\) at null\+0x0 in cosigner-worker[a-z-]*\+0x[0-9a-f]+ < ", entry["last_crash"])
    assert entry["last_request"] == f"sign k {session}"
    assert re.search(rf"user_id=victim generation={generation} session_id={session}: crash record: signal 11", cluster.log(1))
    crash = [event for event in cluster.events() if event["what"] == "crash" and event["generation"] == generation]
    assert len(crash) == 1 and crash[0]["reason"] == entry["last_crash"]
    assert_symbols(cluster, entry["last_crash"])


# One of each class: files, programs, processes, signals, other processes' memory, new code, local sockets, its own rights, the
# kernel's other doors. All classes, in bare children: tests/unit/worker/sandbox_test.cc.
FORBIDDEN = ["openat", "execve", "clone", "kill", "ptrace", "process_vm_readv", "mmap", "socket", "prctl", "setuid", "unshare",
             "mount", "io_uring_setup", "bpf", "seccomp"]


@pytest.fixture(scope="module")
def bystander(cluster):
    return cluster.keygen("bystander")["public_key"]


@pytest.mark.parametrize("call", FORBIDDEN)
def test_a_forbidden_system_call_ends_its_worker_alone_with_a_named_event(cluster, key, client, bystander, call):
    serves_again(cluster, client)
    cluster.sign_and_verify("bystander", bystander, b"before")
    other = cluster.worker("bystander")
    generation = cluster.ctl("user", "victim")["generation"]
    entry = cluster.faults[1].arm("request.taken", "system-call", "victim", call=call)
    assert sign(client)["node1"] == "worker_crashed" and cluster.faults[1].hits(entry) == 1
    crash = [event for event in cluster.events() if event["what"] == "crash" and event["generation"] == generation]
    assert len(crash) == 1, crash
    assert re.match(rf"signal 31 \(SIGSYS\), system call {system_call(call)}\b", crash[0]["reason"]), crash
    serves_again(cluster, client)
    cluster.sign_and_verify("bystander", bystander, b"never noticed")
    assert cluster.worker("bystander") == other


def assert_symbols(cluster, record):
    """The offsets are what addr2line takes."""
    import subprocess
    from faults import PROGRAM
    offsets = [int(text, 16) for text in re.findall(r"cosigner-worker[a-z-]*\+(0x[0-9a-f]+)", record)]
    # Behind the crashing instruction come return addresses, which belong to the call before them.
    places = [hex(offsets[0])] + [hex(offset - 1) for offset in offsets[1:]]
    names = subprocess.run(["addr2line", "-C", "-f", "-i", "-e", PROGRAM, *places], capture_output=True, text=True,
                           check=True).stdout
    assert re.search("fail_by|reach", names.splitlines()[0]), names  # of the fault points: what is inlined differs
    assert "UserWorker" in names and "on_work" in names, names


def test_a_crash_loop_is_backed_off_quarantined_and_cleared():
    settings = {"workers.max_restarts": 3, "workers.backoff_first_ms": 50, "workers.backoff_cap_ms": 100}
    with FaultCluster(settings) as cluster, RawClient(cluster) as client:
        key = cluster.keygen("victim")["public_key"]
        other = cluster.keygen("other")["public_key"]
        pid = cluster.worker("other")
        cluster.faults[1].arm("request.received", "abort", "victim", count=1000)
        told = []
        for _ in range(10):
            told.append(sign(client)["node1"])
            if told[-1] == "quarantined":
                break
        # Three deaths; a peer that misses this node's hello wakes it with the same request, and that may be one of them.
        assert told[-1] == "quarantined" and set(told[:-1]) == {"worker_crashed"} and len(told) <= 4, told
        victim = cluster.ctl("user", "victim")
        assert (victim["state"], victim["restarts"]) == ("quarantined", 3)
        cluster.faults[1].disarm()
        assert sign(client)["node1"] == "quarantined"
        cluster.ctl("clear", "--user", "victim")
        assert sign(client)["node1"] == "ok"
        cluster.sign_and_verify("victim", key, b"free again")
        cluster.sign_and_verify("other", other, b"never noticed")
        assert cluster.worker("other") == pid


def test_a_worker_that_fails_when_the_node_stops():
    """Whatever a draining worker does, the node is down before its deadline and a second."""
    with FaultCluster({"workers.stop_timeout_s": 3}) as cluster:
        key = cluster.keygen("victim")["public_key"]
        for action in ("segfault", "silence"):
            cluster.sign_and_verify("victim", key, b"warm", node=3)
            entry = cluster.faults[3].arm("drain.asked", action, "victim")
            supervisor = cluster.supervisor(3)
            os.kill(supervisor, signal.SIGTERM)
            wait_until(lambda: not alive(supervisor), 8, "the node to stop")
            assert cluster.faults[3].hits(entry) == 1
            cluster.restart_node(3)
            cluster.wait_ready(3)
