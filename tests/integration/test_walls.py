"""What an operator sees of a worker's walls and of the node's life: `user`, `top`, ticks and eviction, the limit of workers and
of memory, and control clients that misbehave against a real node."""
import ctypes
import errno
import json
import os
import pathlib
import pty
import select
import signal
import socket
import struct
import subprocess

import pytest

from cluster import BIN, Cluster, wait_until
from control import Control, frame, pack, sign_envelope
from crowd import Crowd, add_crowd_initiator, configure_workers, other_limits, restart
from metrics import Moves
from raw_client import RawClient
from stranger import knock_as_stranger, open_to_all


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as running:
        running.seed = add_crowd_initiator(running)
        configure_workers(running, tick_s=1, idle_timeout_s=4)
        restart(running)
        yield running


@pytest.fixture(scope="module")
def key(cluster):
    return cluster.keygen("alice")["public_key"]


def landlock_of_the_kernel():
    """The version of its interface as the kernel tells everybody (landlock_create_ruleset(2), which is number 444 on all
    architectures, asked with LANDLOCK_CREATE_RULESET_VERSION); 0 where there is none."""
    ask = ctypes.CDLL(None).syscall
    ask.restype = ctypes.c_long
    return max(0, ask(ctypes.c_long(444), None, ctypes.c_size_t(0), ctypes.c_uint(1)))


def test_walls_are_shown_as_measured(cluster, key):
    cluster.sign_and_verify("alice", key, b"warm")
    user = cluster.ctl("user", "alice")
    walls = user["sandbox"]
    assert walls["missing"] == []
    assert walls["no_new_privs"] is True and walls["seccomp_mode"] == 2 and walls["capabilities"] == 0
    assert walls["landlock_said"] == landlock_of_the_kernel()  # all of it: a worker is bound by whatever version there is
    # The share that has just been signed with, and the key that opened it.
    assert walls["locked_bytes"] > 0
    assert walls["limits"]["core_bytes"] == 0 and walls["limits"]["files"] == 64
    status = dict(line.split(":\t", 1) for line in open(f"/proc/{user['pid']}/status").read().splitlines() if ":\t" in line)
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2" and int(status["CapEff"], 16) == 0
    assert int(status["Seccomp_filters"]) == walls["seccomp_filters"]
    supervisor = cluster.supervisor(1)
    own = dict(line.split(":\t", 1) for line in open(f"/proc/{supervisor}/status").read().splitlines() if ":\t" in line)
    assert own["NoNewPrivs"] == "1" and own["Seccomp"] == "2"
    assert int(own["CapEff"], 16) & ~(1 << 19) == 0, "more than CAP_SYS_PTRACE is left"


@pytest.mark.skipif(os.geteuid() != 0, reason="a worker's maps are for root alone")
def test_workers_share_nothing_that_can_be_written(cluster, key):
    """Neither with each other nor with the zygote they came from (which may write to what its own forks must not keep)."""
    cluster.keygen("neighbour")
    for user in ("alice", "neighbour"):
        cluster.sign(user, b"warm")
    processes = {"alice": cluster.worker("alice"), "neighbour": cluster.worker("neighbour"),
                 "the gateway": cluster.status()["gateway"]["pid"]}
    for name, pid in processes.items():
        lines = pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines()
        assert any("[heap]" in line or "[stack]" in line for line in lines), f"{name} has no memory"
        assert [line for line in lines if line.split()[1][1] == "w" and line.split()[1][3] == "s"] == [], name


def top(cluster, *arguments, stdout=subprocess.PIPE):
    return subprocess.Popen([BIN / "cosignerctl", *arguments], env=dict(cluster.env, COSIGNER_SOCKET=str(cluster.socket(1))),
                            stdout=stdout, stderr=subprocess.PIPE)


def test_top_without_a_terminal(cluster, key):
    cluster.sign_and_verify("alice", key, b"warm")
    lines = top(cluster, "top", "--json", "--count", "3", "--interval", "0.2").communicate(timeout=60)[0].splitlines()
    first, *others = [json.loads(line) for line in lines]
    assert len(others) == 2 and first["rates"]["requests"] is None
    assert all(snapshot["rates"]["requests"] is not None for snapshot in others)
    assert "alice" in [user["user"] for user in first["users"]]
    text = top(cluster, "top", "--count", "2", "--interval", "0.1").communicate(timeout=60)[0].decode()
    assert text.count("USER") == 2 and "\x1b" not in text


def test_top_on_a_terminal_ends_with_an_interrupt_and_leaves_it_as_it_was(cluster, key):
    ours, theirs = pty.openpty()
    program = top(cluster, "top", "--interval", "0.1", stdout=theirs)
    os.close(theirs)
    seen = b""

    def read():
        """What there is to read, if anything; nothing once the other end is closed (EIO)."""
        nonlocal seen
        if select.select([ours], [], [], 0.1)[0]:
            try:
                seen += os.read(ours, 65536)
            except OSError as problem:
                assert problem.errno == errno.EIO
                return False
        return True

    def drawn_thrice():
        assert read(), "it has ended by itself"
        return seen.count(b"\x1b[H") >= 3
    wait_until(drawn_thrice, 30, "the screen to be drawn three times")
    program.send_signal(signal.SIGINT)
    while read():  # what it still draws must be read, or it could not end
        pass
    program.wait(30)
    os.close(ours)
    assert program.returncode == 0
    assert seen.rstrip().endswith(b"\x1b[?25h"), "the cursor is back"


def test_ticks_are_no_activity(cluster, key):
    cluster.sign_and_verify("alice", key, b"warm")
    before = cluster.status()["counters"]
    pid = cluster.worker("alice")
    wait_until(lambda: cluster.worker("alice") != pid, 30, "the idle worker to be evicted although it ticks")
    after = cluster.status()["counters"]
    assert after["evictions"] > before["evictions"] and after["deaths"] == before["deaths"]


def test_ticks_of_a_full_socket_are_dropped_and_counted(cluster, key):
    crowd = Crowd(cluster, cluster.seed)
    crowd.wake(["stuck"])
    pid = cluster.worker("stuck")
    dropped = cluster.status()["counters"]["ticks_dropped"]
    cluster.stop_process(pid)
    # Larger than what the socket takes, so that something stays queued before it.
    large = sign_envelope(cluster.seed, crowd.name, "stuck", "none", b"x" * (1 << 20))
    call = crowd.control.send("submit", {"envelope": large})
    wait_until(lambda: cluster.status()["counters"]["ticks_dropped"] > dropped, 8, "a dropped tick")
    cluster.continue_process(pid)
    crowd.control.cancel(call)
    crowd.wake(["stuck"])  # it serves on
    assert cluster.worker("stuck") == pid
    crowd.control.close()


def living(cluster):
    """{user: pid} of node 1."""
    return {entry["user"]: entry["pid"] for entry in cluster.ctl("users")["users"] if entry["pid"]}


@pytest.fixture
def crowd(cluster):
    """On a node where nobody else has a worker."""
    crowd = Crowd(cluster, cluster.seed)
    crowd.evict(living(cluster))
    yield crowd
    crowd.control.close()


def keep_busy(cluster, client, users):
    """Their workers are stopped with a request in hand. Returns what will be answered, and by whom."""
    pids = {user: cluster.worker(user) for user in users}
    for pid in pids.values():
        cluster.stop_process(pid)
    waiting = [client.sign(user, b"m") for user in users]
    for user in users:
        wait_until(lambda: cluster.user(user)["state"] == "busy", 10, f"{user}'s worker to be busy")
    return waiting, pids


def go_on(cluster, client, waiting, pids):
    """Each of them finishes what it has, as the process that it was."""
    for pid in pids.values():
        cluster.continue_process(pid)
    assert client.until(lambda: all(answers.by_node.keys() == {"node1", "node2", "node3"} for answers in waiting), 20)
    for answers in waiting:
        assert answers.by_node["node1"] in (["unknown_key"], ["unknown_user"]), answers.by_node
        client.settle(answers)
    assert {user: cluster.worker(user) for user in pids} == pids


def test_at_the_cap_who_was_used_least_recently_goes_and_nobody_who_is_busy(cluster, crowd):
    overloaded = 'cosigner_overloaded_total{limit="workers"}'
    with other_limits(cluster, max_workers=3, idle_timeout_s=600, unresponsive_s=60), RawClient(cluster) as client:
        for user in ("ann", "ben", "cat", "ann"):
            crowd.wake([user])
        crowd.wake(["dan"])
        assert living(cluster).keys() == {"ann", "cat", "dan"}, "it was ben's turn"
        moves = Moves(cluster)
        waiting, pids = keep_busy(cluster, client, living(cluster))
        refused = client.sign("eve", b"m")
        assert client.until(lambda: "node1" in refused.by_node, 20), refused.by_node
        error = refused.error("node1")
        assert error["name"] == "overloaded" and error["retryable"] and error["retry_after_ms"] > 0, error
        assert not error["may_have_executed"]
        assert moves.of(overloaded) == 1
        go_on(cluster, client, waiting, pids)
        crowd.wake(["eve"])  # as soon as somebody is idle
        assert "eve" in living(cluster) and len(living(cluster)) == 3
        assert moves.of(overloaded) == 1
        assert moves.of('cosigner_evictions_total{outcome="agreed"}') == 1


def test_short_of_memory_idle_workers_go_one_after_another_and_busy_ones_stay(cluster, crowd):
    users = ["fay", "gus", "hal"]

    def since(mark):
        return [event for event in cluster.events() if event not in mark]
    with other_limits(cluster, idle_timeout_s=600, unresponsive_s=60), RawClient(cluster) as client:
        for user in users:
            crowd.wake([user])
        waiting, pids = keep_busy(cluster, client, ["fay"])
        asked, mark = cluster.status()["counters"]["asked_for_memory"], cluster.events()
        with other_limits(cluster, memory_floor_bytes=1 << 40):  # more than this machine has
            wait_until(lambda: living(cluster).keys() == {"fay"}, 20, "the idle workers to go")
        assert cluster.status()["counters"]["asked_for_memory"] == asked + 2
        told = since(mark)
        assert [event["user"] for event in told if event["to"] == "draining"] == ["gus", "hal"]
        assert len([event for event in told if event["to"] == "short of memory"]) == 1
        wait_until(lambda: [event for event in since(mark) if event["to"] == "enough memory"], 10, "memory to be enough again")
        go_on(cluster, client, waiting, pids)
        crowd.wake(users)  # they come back
        assert living(cluster).keys() == set(users)
        assert cluster.status()["counters"]["asked_for_memory"] == asked + 2


def test_a_request_that_races_a_clean_eviction_is_answered_ok(cluster, key):
    """The worker was asked to go, or is on its way out: the next one serves the request, and no node says anything but `ok`.
    Every other time the worker stands still until the request is known to wait behind the eviction."""
    def raced():
        """How often a request has waited for the process of a clean eviction to be gone, as the node tells it."""
        return len([event for event in cluster.events() if event["what"] == "user" and event["user"] == "alice"
                    and (event["from"], event["to"], event["reason"]) == ("draining", "starting", "gone; requests wait")])

    def race(held):
        cluster.sign_and_verify("alice", key, b"warm")
        wait_until(lambda: (cluster.user("alice") or {}).get("state") == "ready", 10, "alice's worker to be idle")
        pid = cluster.worker("alice")
        if held:
            cluster.stop_process(pid)
        order = control.send("evict", {"user": "alice"})
        answers = client.sign("alice", b"raced")
        if held:
            wait_until(lambda: cluster.user("alice")["queued"], 10, "the request to wait")
            cluster.continue_process(pid)
        assert client.until(lambda: len(answers.by_node) == 3, 20), answers.by_node
        assert set(map(tuple, answers.by_node.values())) == {("ok",)}, answers.by_node
        client.settle(answers)
        call, final, error, _ = control.receive()
        assert call == order and final and error in ("", "conflict")  # a worker may have something in the air, and stay

    with other_limits(cluster, idle_timeout_s=600, unresponsive_s=60), RawClient(cluster) as client:
        control = Control(cluster.socket(1))
        seen, before = raced(), cluster.status()["counters"]
        for number in range(60):
            race(held=number % 2 == 0)
            if raced() >= seen + 20:
                break
        after = cluster.status()["counters"]
        grown = {name: after[name] - before[name] for name in ("evictions", "evictions_declined", "deaths", "unresponsive")}
        print(f"{raced() - seen} races in {number + 1} rounds: {grown}")
        assert raced() >= seen + 20
        assert grown["evictions"] >= 20 and grown["deaths"] == grown["unresponsive"] == 0
        control.close()


def test_control_clients_that_misbehave_cost_nobody_else_anything(cluster, key):
    def raw():
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(str(cluster.socket(1)))
        client.settimeout(30)
        return client

    good = Control(cluster.socket(1))
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 64, b"\0" * 64, frame(91, [1, True, "", "", False, b""]),
                    frame(90, [1, 2, 3]), frame(13, [1, b""])):
        client = raw()
        client.sendall(garbage)
        assert client.recv(1) == b"", "garbage ends the connection"
        client.close()
        assert good.call("version")[0] == ""
    half = raw()
    half.sendall(struct.pack(">I", 1000) + b"\x94\x01")
    deaf = raw()
    deaf.settimeout(60)
    call, sent = pack({}), 0
    try:
        for number in range(1, 200_000):  # replies of some kilobytes each, none of which is read
            sent += len(frame(90, [number, "status", call]))
            deaf.sendall(frame(90, [number, "status", call]))
            if number % 500 == 0:
                assert good.call("version")[0] == ""
        raise AssertionError("it was never disconnected")
    except (BrokenPipeError, ConnectionResetError):
        pass
    cluster.sign_and_verify("alice", key, b"served beside them")
    assert half.recv(1) == b"", "half a frame is waited for, but not for ever"
    assert good.call("version")[0] == ""
    deaf.close()
    half.close()
    good.close()


def test_no_control_command_overlooks_an_argument(cluster):
    control = Control(cluster.socket(1))
    whole = {"status": {}, "metrics": {}, "self-check": {}, "cluster": {}, "peers": {}, "version": {}, "users": {}, "bans": {},
             "owners": {}, "events": {}, "drain": {}, "reload": {}, "log-level": {"level": "info"},
             **{name: {"user": "alice"} for name in ("user", "keys", "evict", "restart", "quarantine", "clear", "verify")},
             **{name: {"user": "alice", "key": "k", "peer": "node2", "reason": "a test"} for name in ("unban", "renew")},
             "submit": {"envelope": b"none"}}
    for name, arguments in whole.items():
        assert control.call(name, arguments | {"colour": "red"})[0] == "bad_request", name
        if "user" in arguments:
            for bad in ("", "al ice", "a" * 129, 7):
                assert control.call(name, arguments | {"user": bad})[0] == "bad_request", (name, bad)
    assert cluster.status()["ready"], "what was refused was not done"
    assert control.call("user", {"user": "nobody"})[0] == "unknown_user"
    control.close()


def resident_kib(pid):
    return next(int(line.split()[1]) for line in open(f"/proc/{pid}/status") if line.startswith("VmRSS:"))


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_who_has_no_rights_costs_nobody_else_anything(cluster, key):
    """Under systemd everybody may knock (cosigner.service): somebody else of this machine knocks thousands of times."""
    open_to_all(cluster, 1)

    def all_it_says(client):
        said = b""
        try:
            while chunk := client.recv(1 << 16):
                said += chunk
        except ConnectionResetError:  # closed while a call of ours was unread
            pass
        client.close()
        return said

    cluster.sign_and_verify("alice", key, b"warm")
    gateway, memory = cluster.status()["gateway"]["pid"], resident_kib(cluster.supervisor(1))
    call = frame(90, [1, "status", pack({})])
    for knock in range(2000):
        client = knock_as_stranger(cluster, 1)
        client.sendall(call)
        assert b"denied" in all_it_says(client)
        if knock % 500 == 0:
            cluster.sign_and_verify("alice", key, b"beside them")
    large = knock_as_stranger(cluster, 1)
    large.sendall(struct.pack(">I", 4 << 20))
    assert all_it_says(large) == b"", "a frame of 4 MiB is not even begun"
    # Who may not look does not learn which commands there are, and leaves the same trace.
    for name in ("no-such-command", "status"):
        client = knock_as_stranger(cluster, 1)
        client.sendall(frame(90, [1, name, pack({})]))
        said = all_it_says(client)
        assert b"denied" in said and b"knows no" not in said
    held = [knock_as_stranger(cluster, 1) for _ in range(300)]
    assert cluster.status()["gateway"]["pid"] == gateway
    cluster.sign_and_verify("alice", key, b"beside those who stay")
    for client in held:
        client.close()
    assert resident_kib(cluster.supervisor(1)) < memory + (32 << 10)
    refusals = cluster.log(1).count("was refused 'status'")
    assert 1 <= refusals < 500, "a trace, and no flood"


def test_a_user_whose_keys_need_several_frames(cluster):
    """50 ECDSA shares are more than one part of 2 MiB (ipc/start_keys.h)."""
    count = 50
    keys = [cluster.keygen("many", key=f"k{number}", scheme="ecdsa-secp256k1")["public_key"] for number in range(count)]
    for node in (1, 2, 3):
        cluster.evict("many", node)
    for number in (0, count // 2, count - 1):
        answer = cluster.ctl("sign", "--user", "many", "--key", f"k{number}", "--digest-hex", os.urandom(32).hex())
        assert answer["public_key"] == keys[number]
