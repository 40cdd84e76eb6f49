"""Metrics of a running cluster: what promtool says of them, that rules and dashboard ask for what there is, each cause made and
its metric seen to move; and the process that serves them over HTTP."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request

import pytest

from cluster import BIN, Cluster, CommandFailed, alive, children, verifies, wait_until
from metrics import Moves, printed, read, series
from raw_client import RawClient

MONITORING = pathlib.Path(__file__).parents[2] / "packaging" / "monitoring"
SETTINGS = {"workers.max_workers": 500, "workers.max_restarts": 3, "workers.backoff_first_ms": 100, "workers.backoff_cap_ms": 100, "workers.unresponsive_s": 3}


@pytest.fixture(scope="module")
def cluster():
    with Cluster(settings=SETTINGS) as running:
        yield running


@pytest.fixture(scope="module")
def ann(cluster):
    return cluster.keygen("ann")["public_key"]


def until_signed(cluster, user, key, node=1):
    """Signs with a worker at this node, after whatever happened to the last one."""
    def attempt():
        try:
            cluster.sign_and_verify(user, key, b"m", node=node)
            return (cluster.user(user, node) or {}).get("state") in ("ready", "busy")
        except CommandFailed:
            return False
    wait_until(attempt, 20, f"{user} to sign with a worker at node{node}")


def test_the_form_is_promtools(cluster, ann):
    text = printed(cluster)
    assert cluster.ctl("metrics")["text"].splitlines()[:2] == text.splitlines()[:2]
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed: apt install prometheus")
    check = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert check.returncode == 0, check.stdout + check.stderr
    bad = subprocess.run(["promtool", "check", "metrics"], input=re.sub("# HELP cosigner_ready .*\n", "", text),
                         capture_output=True, text=True)
    assert bad.returncode != 0, "promtool accepts anything"


def test_rules_and_dashboard_ask_for_what_there_is(cluster):
    text = printed(cluster)
    exposed = series(text)
    names = {name.partition("{")[0] for name in exposed}
    values = {}
    for name in exposed:
        for label, value in re.findall(r'(\w+)="([^"]*)"', name):
            values.setdefault((name.partition("{")[0], label), set()).add(value)
    queries = [(MONITORING / "alerts.yml").read_text()]
    for panel in json.loads((MONITORING / "dashboard.json").read_text())["panels"]:
        queries += [target["expr"] for target in panel.get("targets", [])]
    assert len(queries) > 20
    asked = {name for query in queries for name in re.findall(r"\bcosigner_\w+", query)}
    assert len(asked) > 20
    assert asked <= names, asked - names
    for query in queries:
        for name, matchers in re.findall(r"(cosigner_\w+)\{([^}]*)\}", query):
            for label, operator, pattern in re.findall(r'(\w+)(=~|=|!=|!~)"([^"$]*)"', matchers):
                if label in ("instance", "job"):
                    continue  # Prometheus adds them
                assert (name, label) in values, (name, label)
                for value in pattern.split("|") if operator.endswith("~") else [pattern]:
                    assert value in values[name, label] or not re.fullmatch(r"[\w-]+", value), (name, label, value)


def test_work_is_counted(cluster):
    moves = Moves(cluster)
    key = cluster.keygen("bob")["public_key"]
    cluster.sign_and_verify("bob", key, b"one")
    answer = cluster.ctl("sign", "--user", "bob", "--key", "k", "-", stdin=b"two")
    assert verifies(key, b"two", answer["signature"])
    with pytest.raises(CommandFailed) as refused:
        cluster.keygen("bob")
    for operation, outcome, count in (("keygen", "ok", 1), ("sign", "ok", 2), ("keygen", refused.value.error, 1)):
        moves.wait(f'cosigner_requests_total{{operation="{operation}",outcome="{outcome}"}}', count)
    duration = 'cosigner_session_duration_seconds_{}{{scheme="ed25519",operation="sign",outcome="ok"{}}}'
    assert moves.of(duration.format("count", "")) == moves.of(duration.format("bucket", ',le="+Inf"')) >= 2
    assert 0 < moves.of(duration.format("sum", "")) < 60
    assert moves.of('cosigner_session_attempts_total{operation="sign"}') >= 2
    moves.wait('cosigner_session_events_total{event="sessions_succeeded"}')
    assert moves.of('cosigner_session_events_total{event="certificate_verifications"}') >= 1
    assert moves.of('cosigner_session_events_total{event="exceptions"}') == 0
    assert moves.of("cosigner_worker_spawns_total") == 1
    assert moves.of("cosigner_worker_spawn_seconds_count") == 1
    assert moves.of("cosigner_queue_wait_seconds_count") >= 4  # a peer's wake-up waits as a request does
    for operation in ("pending", "activate", "result"):
        moves.wait(f'cosigner_store_latency_seconds_count{{operation="{operation}"}}')
    now = read(cluster)
    assert now["cosigner_ready"] == now["cosigner_broker_connected"] == 1
    assert now['cosigner_build_info{version="%s",cluster="%s",node="node1"}' % (
        cluster.status()["version"], cluster.status()["cluster"])] == 1
    assert now['cosigner_peer_present{node="node2"}'] == now['cosigner_peer_present{node="node3"}'] == 1
    assert sum(now[f'cosigner_workers{{state="{state}"}}'] for state in ("ready", "busy")) >= 1
    assert now["cosigner_store_errors_total"] == 0 and now["cosigner_bans"] == 0
    for role in ("supervisor", "zygote", "gateway", "workers"):
        assert now[f'cosigner_process_resident_memory_bytes{{role="{role}"}}'] > 100_000
    assert now["cosigner_store_bytes"] > 4096 and 5 < now["cosigner_open_fds"] < now["cosigner_max_fds"]
    # What is told of users is their number.
    assert "bob" not in printed(cluster) and key not in printed(cluster)


def test_ends_are_counted_by_their_cause(cluster, ann):
    moves = Moves(cluster)
    until_signed(cluster, "ann", ann)
    cluster.evict("ann")
    moves.wait('cosigner_evictions_total{outcome="agreed"}')
    for signal_, cause in ((signal.SIGKILL, "killed"), (signal.SIGSEGV, "signal")):
        until_signed(cluster, "ann", ann)
        os.kill(cluster.worker("ann"), signal_)
        moves.wait(f'cosigner_worker_deaths_total{{cause="{cause}"}}')
    moves.wait('cosigner_zygote_restarts_total{cause="renewal"}')  # a crash renews it
    until_signed(cluster, "ann", ann)
    cluster.stop_process(cluster.worker("ann"))
    cluster.sign_and_verify("ann", ann, b"by the others")  # silence counts while there is work
    moves.wait('cosigner_worker_deaths_total{cause="unresponsive"}', seconds=20)
    moves.wait("cosigner_quarantines_total")  # the third death in the window
    assert moves.of('cosigner_worker_deaths_total{cause="killed"}') == 1
    wait_until(lambda: read(cluster)['cosigner_workers{state="quarantined"}'] == 1, 10, "the quarantine to show")
    cluster.ctl("clear", "--user", "ann")
    assert read(cluster)['cosigner_workers{state="quarantined"}'] == 0


def test_a_signer_that_hangs_makes_failovers(cluster):
    key = cluster.keygen("eve")["public_key"]
    moves = Moves(cluster)

    def failed_over():
        # One signature in three is begun by node 2; a worker that stays silent is replaced, so the next is stopped as well.
        pid = cluster.worker("eve", node=2)
        if pid and pid not in cluster.stopped_pids:
            cluster.stop_process(pid)
        cluster.sign_and_verify("eve", key, os.urandom(8))
        return moves.of('cosigner_session_failovers_total{operation="sign"}') > 0
    wait_until(failed_over, 30, "an attempt after the first")
    attempts = moves.of('cosigner_session_attempts_total{operation="sign"}')
    assert attempts > moves.of('cosigner_session_failovers_total{operation="sign"}') > 0


def test_parts_of_the_node_that_die(cluster, ann):
    moves = Moves(cluster)
    os.kill(cluster.status()["gateway"]["pid"], signal.SIGKILL)
    moves.wait("cosigner_gateway_restarts_total")
    wait_until(lambda: read(cluster)["cosigner_broker_connected"] == 1, 10, "the next gateway's connection")
    assert moves.of("cosigner_broker_reconnects_total") == 1
    os.kill(cluster.status()["zygote"]["pid"], signal.SIGKILL)
    moves.wait('cosigner_zygote_restarts_total{cause="death"}')
    cluster.wait_ready(1)
    until_signed(cluster, "ann", ann)


def test_what_the_gateway_refuses(cluster, tmp_path):
    stranger = tmp_path / "stranger.key"
    stranger.write_text(os.urandom(32).hex() + "\n")
    stranger.chmod(0o600)
    moves = Moves(cluster)
    with pytest.raises(CommandFailed) as refused:
        cluster.ctl("--initiator", stranger, "keygen", "--user", "mallory", "--key", "k", "--scheme", "ed25519",
                    "--threshold", 2)
    assert refused.value.error == "unauthorized"
    moves.wait('cosigner_requests_refused_total{error="unauthorized"}')
    assert moves.of("cosigner_worker_spawns_total") == 0


def test_what_the_gateway_drops(cluster, ann):
    moves = Moves(cluster)
    with RawClient(cluster) as client:
        envelope = client.envelope("ann", b"again and again")
        for _ in range(30):  # five of them a second are heard
            client.submit(envelope)
        moves.wait('cosigner_requests_dropped_total{cause="repeat"}')
    assert moves.of('cosigner_requests_dropped_total{cause="stranger"}') == 0


def test_presignatures_in_stock(cluster):
    cluster.keygen("dan", scheme="ecdsa-secp256k1")
    name = 'cosigner_presignatures{scheme="ecdsa-secp256k1"}'
    assert read(cluster)[name] == 0
    cluster.ctl("presign", "--user", "dan", "--key", "k", "--count", 6)
    # Each is at two of the three nodes.
    wait_until(lambda: sum(read(cluster, node)[name] for node in (1, 2, 3)) == 12, 10, "six at two nodes each")
    os.kill(cluster.worker("dan"), signal.SIGKILL)
    wait_until(lambda: read(cluster)[name] == 0, 10, "them to be gone with the worker")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def served(cluster):
    """Node 3 with an HTTP listener."""
    address = f"127.0.0.1:{free_port()}"
    config = cluster.home / "node3" / "cosigner.toml"
    config.write_text(config.read_text() + f'\n[metrics]\nlisten = "{address}"\n')
    cluster.devcluster("stop", "--dir", cluster.home, "--node", 3)
    cluster.restart_node(3)
    cluster.wait_ready(3)
    return address


def get(address, path, data=None, method=None):
    try:
        request = urllib.request.Request(f"http://{address}{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status, reply.headers, reply.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.headers, refusal.read().decode()


def exporters(cluster, node):
    return [pid for pid, name in children(cluster.supervisor(node)).items() if name == "cosigner-exporter"[:15]]


def test_none_is_served_where_none_is_asked_for(cluster):
    assert cluster.status()["exporter"] == {"state": "off", "pid": 0, "restarts": 0}
    assert not exporters(cluster, 1)


def test_http_serves_the_same(cluster, served):
    status, headers, text = get(served, "/metrics")
    assert status == 200 and headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert series(text).keys() == read(cluster, 3).keys()
    assert get(served, "/live")[0::2] == (200, "alive\n")
    assert get(served, "/ready")[0::2] == (200, "ready\n")
    for path in ("/", "/metrics/", "/../etc/passwd"):
        assert get(served, path)[0] in (400, 404), path
    assert get(served, "/metrics", method="HEAD")[0::2] == (200, "")
    assert get(served, "/metrics", data=b"x", method="POST")[0] == 405
    assert get(served, "/metrics", method="DELETE")[0] == 405


def test_slow_clients_hold_nobody_up(served):
    host, port = served.split(":")
    slow = [socket.create_connection((host, int(port)), timeout=5) for _ in range(20)]
    try:
        for connection in slow:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Unfinished: ")
        assert get(served, "/live")[0] == 200
        assert get(served, "/metrics")[0] == 200
        with contextlib.suppress(ConnectionError):
            slow[0].sendall(b"x" * 100_000)  # more than a connection may use
        assert get(served, "/live")[0] == 200
    finally:
        for connection in slow:
            connection.close()


def test_the_listener_is_a_process_apart(cluster, served):
    pid = cluster.status(3)["exporter"]["pid"]
    fields, supervisors = status_fields(pid), status_fields(cluster.supervisor(3))
    assert fields["NoNewPrivs"] == "1" and fields["Threads"] == "1"
    # Filters are inherited: one of them is its own.
    assert int(fields["Seccomp_filters"]) == int(supervisors["Seccomp_filters"]) + 1
    assert exporters(cluster, 3) == [pid]
    if os.geteuid() != 0:
        return  # it is not dumpable: only root sees the rest
    # Standard three, the supervisor's socket, the listener, its own epoll; connections come and go.
    wait_until(lambda: kinds(pid) == ["anon_inode", "socket", "socket"], 15, f"no other descriptors than its own: {kinds(pid)}")
    environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
    assert environment and b"COSIGNER" not in environment and b"HOME" not in environment


def status_fields(pid):
    return {name: value.strip() for name, _, value in
            (line.partition(":") for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())}


def kinds(pid):
    """Of the descriptors beyond the standard three."""
    found = []
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if int(entry.name) > 2:
                found.append(os.readlink(entry).partition(":")[0])
    return sorted(found)


def test_it_comes_back_and_costs_the_node_nothing(cluster, served, ann):
    before = cluster.status(3)
    for _ in range(3):
        pid = cluster.status(3)["exporter"]["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: cluster.status(3)["exporter"]["pid"] not in (0, pid), 10, "another exporter")
        assert get(served, "/live")[0] == 200  # the listening socket never closed
    after = cluster.status(3)
    assert after["ready"] and after["pid"] == before["pid"] and after["gateway"]["pid"] == before["gateway"]["pid"]
    assert after["exporter"]["restarts"] == before["exporter"]["restarts"] + 3
    cluster.sign_and_verify("ann", ann, b"m", node=3)


def broker_pid(cluster):
    run = subprocess.run([BIN / "cosigner-devcluster", "status", "--dir", cluster.home, "--json"], capture_output=True, text=True)
    return next(process["pid"] for process in json.loads(run.stdout)["processes"] if process["name"] == "broker")


def test_live_and_ready_are_apart(cluster, served):
    """A node whose gateway finds no broker lives and is not ready; a supervisor that hangs does not live."""
    broker = broker_pid(cluster)
    cluster.stop_process(broker)
    try:
        os.kill(cluster.status(3)["gateway"]["pid"], signal.SIGKILL)
        wait_until(lambda: get(served, "/ready")[0] == 503, 10, "the node to be not ready")
        assert "no gateway" in get(served, "/ready")[2]
        assert get(served, "/live")[0] == 200 and series(get(served, "/metrics")[2])["cosigner_ready"] == 0
    finally:
        os.kill(broker, signal.SIGCONT)
    wait_until(lambda: get(served, "/ready")[0] == 200, 30, "readiness to come back")
    supervisor = cluster.supervisor(3)
    cluster.stop_process(supervisor)
    try:
        for path in ("/live", "/ready", "/metrics"):
            # An answer is good for a quarter of a second, the next waits two for the supervisor.
            wait_until(lambda: get(served, path)[0] == 503, 10, f"{path} to miss the supervisor")
    finally:
        os.kill(supervisor, signal.SIGCONT)
    wait_until(lambda: get(served, "/live")[0] == get(served, "/ready")[0] == 200, 30, "the node to live again")


def test_it_ends_with_its_supervisor(cluster, served):
    status = cluster.status(3)
    os.kill(status["pid"], signal.SIGKILL)
    wait_until(lambda: not alive(status["exporter"]["pid"]), 10, "the exporter's end")
    cluster.restart_node(3)
    cluster.wait_ready(3)
    assert get(served, "/live")[0] == 200


def test_a_port_in_use_is_a_mistake_in_the_configuration(cluster):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        config = cluster.home / "node2" / "cosigner.toml"
        text = config.read_text()
        line = text.count("\n") + 3
        cluster.devcluster("stop", "--dir", cluster.home, "--node", 2)
        try:
            config.write_text(text + f'\n[metrics]\nlisten = "127.0.0.1:{other.getsockname()[1]}"\n')
            started = subprocess.run([BIN / "cosignerd", "--config", config], capture_output=True, text=True, timeout=30)
            assert started.returncode == 78
            complaint = started.stdout + started.stderr
            assert re.search(rf"cosigner\.toml:{line}: .*in use.*ss -ltnp", complaint), complaint
        finally:
            config.write_text(text)
    cluster.restart_node(2)
    cluster.wait_ready(2)
