"""Three machines become a cluster by the operator's commands alone: cosignerctl init, peers export and import; nats-servers and nodes run with the configurations that these wrote. Each machine is a directory and,
where the kernel lets us, a network namespace of its own: nothing but the hub's address leads from one to another.
"""
import base64
import contextlib
import hashlib
import json
import os
import pathlib
import pty
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time

import nacl.signing
import pytest

from cluster import BIN, openssl_verifies, wait_until

NATS_SERVER = shutil.which("nats-server", path=os.environ["PATH"] + ":/usr/sbin")


def free_port(address="127.0.0.1"):
    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


def tree(directory):
    """Every file with a digest of what is in it."""
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(directory.rglob("*")) if path.is_file()}


class Machine:
    def __init__(self, number, home, prefix, broker_port, hub_port):
        self.number, self.name, self.home, self.prefix = number, f"node{number}", home, prefix
        self.broker, self.hub = f"127.0.0.1:{broker_port}", f"127.0.0.1:{hub_port}"
        self.processes = []

    def ctl(self, *words, status=0, stdin=b"", env=None):
        """cosignerctl --json on this machine; its object. `status`: the exit status it must end with."""
        run = subprocess.run([*self.prefix, BIN / "cosignerctl", "--json", *map(str, words)], input=stdin,
                             capture_output=True, timeout=90,
                             env={**os.environ, "COSIGNER_SOCKET": str(self.home / "control.sock"), **(env or {})})
        assert run.returncode == status, f"{self.name}: {words}: {run.returncode}: {run.stdout} {run.stderr}"
        return json.loads(run.stdout)

    def init(self, *words, **more):
        return self.ctl("init", "--dir", self.home, "--cluster", "trio", "--node", self.name, "--broker-listen",
                        self.broker, "--hub-listen", self.hub, *words, **more)

    def imports(self, *files, **more):
        return self.ctl("peers", "import", "--dir", self.home, *files, **more)

    def start(self, *command):
        log = open(self.home / f"{pathlib.Path(command[0]).name}-{len(self.processes)}.log", "wb")
        self.processes.append(subprocess.Popen([*self.prefix, *map(str, command)], stdout=log, stderr=log,
                                               stdin=subprocess.DEVNULL))
        return self.processes[-1]

    def logs(self):
        return "\n".join(f"--- {path}\n{path.read_text(errors='replace')[-3000:]}" for path in sorted(self.home.glob("*.log")))


@contextlib.contextmanager
def machines(namespaces):
    """Three, with the hub's address. Everything that was started ends here, by its id."""
    root = pathlib.Path(tempfile.mkdtemp(prefix="cosigner-setup-"))
    made, all_machines = [], []
    try:
        if namespaces:
            bridge = f"cs{os.getpid()}-0"
            subprocess.run(["ip", "netns", "add", bridge], check=True)
            made.append(bridge)
            inside = ["ip", "netns", "exec", bridge]
            subprocess.run([*inside, "ip", "link", "add", "bridge", "type", "bridge"], check=True)
            subprocess.run([*inside, "ip", "link", "set", "bridge", "up"], check=True)
        for k in (1, 2, 3):
            prefix = []
            if namespaces:
                name = f"cs{os.getpid()}-{k}"
                subprocess.run(["ip", "netns", "add", name], check=True)
                made.append(name)
                prefix = ["ip", "netns", "exec", name]
                for command in (["ip", "link", "set", "lo", "up"],
                                ["ip", "link", "add", "wire", "type", "veth", "peer", "name", f"port{k}", "netns", bridge],
                                ["ip", "address", "add", f"10.213.0.{k}/24", "dev", "wire"],
                                ["ip", "link", "set", "wire", "up"]):
                    subprocess.run([*prefix, *command], check=True)
                for command in (["ip", "link", "set", f"port{k}", "master", "bridge"],
                                ["ip", "link", "set", f"port{k}", "up"]):
                    subprocess.run([*inside, *command], check=True)
            home = root / f"m{k}"
            home.mkdir()
            ports = (4222, 4223) if namespaces else (free_port(), free_port())
            all_machines.append(Machine(k, home, prefix, *ports))
        yield all_machines, "10.213.0.1:7422" if namespaces else f"127.0.0.1:{free_port()}"
    except BaseException:
        for machine in all_machines:
            print(machine.logs())
        raise
    finally:
        for machine in all_machines:
            for process in reversed(machine.processes):
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                    try:
                        process.wait(20)
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.wait(10)
        for name in reversed(made):
            subprocess.run(["ip", "netns", "delete", name])
        shutil.rmtree(root, ignore_errors=True)


def namespaces_work():
    """None, or why not."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"cs{os.getpid()}-probe"
    run = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if run.returncode != 0:
        return f"ip netns add: {run.stderr.strip()}"
    try:
        run = subprocess.run(["ip", "netns", "exec", name, "ip", "link", "add", "bridge", "type", "bridge"],
                             capture_output=True, text=True)
        return None if run.returncode == 0 else f"no bridges here: {run.stderr.strip()}"
    finally:
        subprocess.run(["ip", "netns", "delete", name])


def meet(trio, hub):
    """From empty directories to nodes that know each other; what init said of each node."""
    first, *others = trio
    said = [first.init("--first", "--hub", hub, "--recovery-file", first.home / "recovery.txt")]
    said += [machine.init("--join") for machine in others]
    for machine, other in zip(trio, said):
        exported = machine.ctl("peers", "export", "--dir", machine.home)
        assert exported["fingerprint"] == other["fingerprint"]
        assert exported["authority"] == (said[0]["authority"] if machine is first else None)
        (machine.home / "exported.card").write_text(exported["card"])
    # As if copied to the first machine, and the bundle back.
    cards = [machine.home / "exported.card" for machine in others]
    plan = first.imports(*cards, "--yes")
    assert {node["node"]: (node["fingerprint"], node["status"]) for node in plan["nodes"]} == {
        machine.name: (one["fingerprint"], "new") for machine, one in zip(others, said[1:])}
    for machine in others:
        plan = machine.imports(first.home / "cluster.bundle", "--yes")
        assert [node["fingerprint"] for node in plan["nodes"]] == [one["fingerprint"] for one in said]
        assert {node["node"]: node["status"] for node in plan["nodes"]}[machine.name] == "this node"
        assert plan["authority"] == {"fingerprint": said[0]["authority"], "status": "new"}
        assert [(one["name"], one["fingerprint"], one["status"]) for one in plan["initiators"]] == [
            ("operator", said[0]["initiator"], "new")]
    return said


def sees_all(running, nodes):
    """Waits until each of these machines is ready and sees so many nodes, itself included."""
    def ready(machine):
        run = subprocess.run([*machine.prefix, BIN / "cosignerctl", "--json", "--socket",
                              machine.home / "control.sock", "status"], capture_output=True)
        status = json.loads(run.stdout) if run.returncode == 0 else {}
        return status.get("ready") and [peer["present"] for peer in status["peers"]] == [True] * nodes
    for machine in running:
        wait_until(lambda: ready(machine), 40, f"{machine.name} to be ready and to see {nodes} nodes")


@pytest.mark.parametrize("namespaces", [True, False], ids=["three network namespaces", "one loopback"])
def test_three_machines_from_init_to_the_first_signature(namespaces):
    why_not = namespaces_work() if namespaces else None
    if why_not:
        pytest.skip(why_not)
    with machines(namespaces) as (trio, hub):
        meet(trio, hub)
        first = trio[0]
        for machine in trio:
            config = machine.home / "cosigner.toml"
            config.write_text(config.read_text() + "\n[workers]\nmax_workers = 100\n")  # a test's host may give few descriptors
            assert machine.ctl("config", "check", config)["ok"]
        first.start(NATS_SERVER, "--config", first.home / "broker/hub.conf")
        for machine in trio:
            machine.start(NATS_SERVER, "--config", machine.home / "broker/leaf.conf")
            machine.start(BIN / "cosignerd", "--config", machine.home / "cosigner.toml")

        sees_all(trio, 3)

        # The first signature, by the operator's key from init, asked of another machine.
        operator = {"COSIGNER_INITIATOR": str(first.home / "operator.key")}
        key = trio[1].ctl("keygen", "--user", "alice", "--key", "main", "--scheme", "ed25519", env=operator)
        assert key["threshold"] == 2 and key["participants"] == ["node1", "node2", "node3"]
        answer = trio[2].ctl("sign", "--user", "alice", "--key", "main", "-", stdin=b"hello", env=operator)
        assert openssl_verifies(key["public_key"], b"hello", answer["signature"])

        for machine in trio:
            report = machine.ctl("doctor", "--config", machine.home / "cosigner.toml")
            verdicts = {check["check"]: check["verdict"] for check in report["checks"]}
            assert report["ok"], report
            for check in ("configuration", "broker", "credentials", "certificate", "peers", "node", "store"):
                assert verdicts[check] == "ok", report
            assert {"space", "clock", "descriptors", "processes", "tasks", "locked memory", "sandbox", "landlock"} <= verdicts.keys()
        peers = first.ctl("peers")["peers"]
        assert [(peer["node"], peer["present"]) for peer in peers] == [(f"node{k}", True) for k in (1, 2, 3)]
        if not namespaces:
            clients_hear_only_themselves(trio)
            strangers_stay_out(hub)
            doctor_names_what_is_gone(trio)


def test_a_machine_joins_while_the_others_run():
    """Cards, bundles and a reload: neither the nodes nor the nats-servers that run are started again."""
    with machines(False) as (trio, hub):
        first, second, third = trio
        meet(trio[:2], hub)
        first.start(NATS_SERVER, "--config", first.home / "broker/hub.conf")

        def start(machine):
            machine.start(NATS_SERVER, "--config", machine.home / "broker/leaf.conf")
            machine.start(BIN / "cosignerd", "--config", machine.home / "cosigner.toml")
        for machine in trio[:2]:
            start(machine)
        sees_all(trio[:2], 2)
        operator = {"COSIGNER_INITIATOR": str(first.home / "operator.key")}
        before = first.ctl("keygen", "--user", "alice", "--key", "old", "--scheme", "ed25519", env=operator)

        third.init("--join")
        admitted = first.imports(third.home / "node.card", "--yes")
        assert any("cosignerctl reload" in step for step in admitted["next"]), admitted["next"]
        for machine in (second, third):
            machine.imports(first.home / "cluster.bundle", "--yes")
        for machine in trio[:2]:
            assert machine.ctl("reload") == {"applied": ["peers: node3 added"], "needs_restart": []}
        start(third)
        sees_all(trio, 3)
        key = third.ctl("keygen", "--user", "alice", "--key", "new", "--scheme", "ed25519", env=operator)
        assert key["participants"] == ["node1", "node2", "node3"]
        for machine, one in ((third, key), (first, before)):
            name = "new" if one is key else "old"
            answer = machine.ctl("sign", "--user", "alice", "--key", name, "-", stdin=b"joined", env=operator)
            assert openssl_verifies(one["public_key"], b"joined", answer["signature"])


def allowed_subjects(address, credentials, subjects):
    """Which of these the nats-server lets somebody with these credentials subscribe to."""
    lines = credentials.read_text().split()
    jwt = next(line for line in lines if line.startswith("eyJ"))
    seed = base64.b32decode(next(line for line in lines if line.startswith("SU")) + "======")[2:34]
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as wire, wire.makefile("rwb") as stream:
        def tell(text):
            """Sends it; the errors that came before the server had taken it all in."""
            stream.write(f"{text}\r\nPING\r\n".encode())
            stream.flush()
            errors = []
            while (line := stream.readline()) != b"PONG\r\n":
                assert line, "the server has closed the connection"
                if line.startswith(b"-ERR"):
                    errors.append(line)
            return errors
        nonce = json.loads(stream.readline()[5:])["nonce"]
        signature = nacl.signing.SigningKey(seed).sign(nonce.encode()).signature
        connect = {"jwt": jwt, "sig": base64.urlsafe_b64encode(signature).rstrip(b"=").decode(), "verbose": False,
                   "pedantic": False, "lang": "test", "version": "1", "protocol": 0}
        assert tell("CONNECT " + json.dumps(connect)) == []
        allowed = []
        for number, subject in enumerate(subjects):
            errors = tell(f"SUB {subject} {number}")
            assert all(b"Permissions Violation" in error for error in errors), errors
            if not errors:
                allowed.append(subject)
        return allowed


def clients_hear_only_themselves(trio):
    """Credentials for two programs, made where the authority is: each hears its own inboxes, on any machine, and no other's."""
    first, second, _ = trio
    files = [first.home / "desk.creds", first.home / "wallet.creds"]
    made = [first.ctl("client", "--dir", first.home, "--out", file, "--days", 20) for file in files]
    assert made[0]["inbox"] != made[1]["inbox"] and 19 * 86400 < made[0]["expires_at"] - time.time() <= 20 * 86400
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files)
    # Nobody asked: a year. Never is somebody's word.
    unasked = first.ctl("client", "--dir", first.home, "--out", first.home / "unasked.creds")
    assert 364 * 86400 < unasked["expires_at"] - time.time() <= 365 * 86400
    assert first.ctl("client", "--dir", first.home, "--out", first.home / "for-ever.creds", "--days", 0)["expires_at"] is None
    said = {pathlib.Path(check["detail"].split()[0]).name: check["verdict"]
            for check in first.ctl("doctor", "--config", first.home / "cosigner.toml")["checks"]
            if check["check"] == "client credentials"}
    assert said == {"client.creds": "ok", "desk.creds": "warning", "for-ever.creds": "ok", "unasked.creds": "ok",
                    "wallet.creds": "warning"}, said
    subjects = ["_INBOX.>", *(one["inbox"] + ".1.*" for one in made), "_INBOX.node1.>", "cosigner.trio.request"]
    for machine in (first, second):
        for file, one in zip(files, made):
            assert allowed_subjects(machine.broker, file, subjects) == [one["inbox"] + ".1.*"]
    # Not over a file that is there, and not where the authority is not.
    before = files[0].read_bytes()
    assert first.ctl("client", "--dir", first.home, "--out", files[0], status=73)["error"] == "already_exists"
    assert files[0].read_bytes() == before
    assert second.ctl("client", "--dir", second.home, "--out", second.home / "x.creds", status=78)["error"] == "bad_request"
    assert not (second.home / "x.creds").exists()


def strangers_stay_out(hub):
    """A server without a certificate of the cluster's authority gets no further than the handshake."""
    host, port = hub.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        assert plain.recv(65536).startswith(b"INFO ")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with pytest.raises((ssl.SSLError, ConnectionError)):
            with context.wrap_socket(plain) as wrapped:
                wrapped.sendall(b"CONNECT {}\r\nPING\r\n")
                if not wrapped.recv(1):  # TLS 1.3: the refusal comes after the client's part is done
                    raise ConnectionResetError


def doctor_names_what_is_gone(trio):
    """A node whose nats-server is gone says so, with exit status 1."""
    machine = trio[2]
    machine.processes[0].send_signal(signal.SIGTERM)  # its leaf
    machine.processes[0].wait(20)

    def report():
        run = subprocess.run([BIN / "cosignerctl", "--json", "--socket", machine.home / "control.sock", "doctor",
                              "--config", machine.home / "cosigner.toml"], capture_output=True)
        found = {check["check"]: check for check in json.loads(run.stdout)["checks"]}
        return run.returncode == 1 and found["broker"]["verdict"] == "failed" and \
            found["credentials"]["verdict"] == "failed" and found["peers"]["verdict"] == "warning" and \
            found["broker"]["remedy"]
    wait_until(report, 20, "doctor to miss the broker")


def answered_on_a_terminal(machine, bundle, answer):
    """Exit status of an import whose question gets `answer`, typed; what it showed."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer)
        run = subprocess.run([BIN / "cosignerctl", "peers", "import", "--dir", machine.home, bundle], stdin=theirs,
                             capture_output=True, timeout=90, text=True)
        return run.returncode, run.stdout
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_first_bundle_is_believed_only_when_its_authority_was_compared():
    """A stranger's bundle of genuine cards: whoever compares nodes alone finds all of them right, and would obey his initiator."""
    with machines(False) as (trio, hub), machines(False) as (others, other_hub):
        first, second, third = trio
        genuine = first.init("--first", "--hub", hub)
        second.init("--join")
        third.init("--join")
        cards = [machine.home / "node.card" for machine in trio]
        first.imports(*cards[1:], "--yes")
        usurper = others[0]
        forged = usurper.ctl("init", "--first", "--hub", other_hub, "--dir", usurper.home, "--cluster", "trio", "--node", "node9")
        assert forged["authority"] != genuine["authority"] and forged["initiator"] != genuine["initiator"]
        usurper.imports(*cards, "--yes")
        stranger, bundle = usurper.home / "cluster.bundle", first.home / "cluster.bundle"

        def refused(machine, file):
            before = tree(machine.home)
            answer = machine.imports(file, status=2)
            assert answer["error"] == "bad_request" and tree(machine.home) == before
            return answer["message"]
        message = refused(second, stranger)
        for named in (f"authority {forged['authority']}", f"initiator operator {forged['initiator']}", "node node1 "):
            assert named in message, message
        # Every card is known already, the stranger's own too: what is left is the authority and its initiator.
        second.imports(*cards, usurper.home / "node.card", "--yes")
        message = refused(second, stranger)
        assert f"authority {forged['authority']}" in message and f"initiator operator {forged['initiator']}" in message
        assert "node node" not in message, message
        before = tree(second.home)
        status, shown = answered_on_a_terminal(second, stranger, b"no\n")
        assert status == 2 and forged["authority"] in shown and forged["initiator"] in shown and tree(second.home) == before

        # The genuine one, confirmed; from then on the authority and its initiator are known.
        third_own = "[[initiator]]\nname = \"desk\"\npublic_key = \"" + "ab" * 32 + "\"\noperations = [\"sign\"]\nusers = [\"*\"]\n"
        (third.home / "initiators.toml").write_text(third_own)
        status, shown = answered_on_a_terminal(third, bundle, b"yes\n")
        assert status == 0 and genuine["authority"] in shown
        plan = third.imports(bundle)
        assert plan["authority"] == {"fingerprint": genuine["authority"], "status": "known"}
        assert [(one["name"], one["status"]) for one in plan["initiators"]] == [("operator", "not taken")]
        assert (third.home / "initiators.toml").read_text() == third_own
        fresh = others[1]  # a second "second": nothing known before
        assert fresh.ctl("init", "--join", "--dir", fresh.home, "--cluster", "trio", "--node", "node4")["fingerprint"]
        first.imports(fresh.home / "node.card", "--yes")
        plan = fresh.imports(bundle, "--yes")
        assert plan["authority"] == {"fingerprint": genuine["authority"], "status": "new"}
        (operator,) = plan["initiators"]
        assert operator["fingerprint"] == genuine["initiator"] and operator["status"] == "new"
        assert operator["public_key"] in (fresh.home / "initiators.toml").read_text()
        assert [one["status"] for one in fresh.imports(bundle)["initiators"]] == ["known"]
        assert fresh.ctl("peers", "export", "--dir", fresh.home)["authority"] == genuine["authority"]
        # Whoever empties the list of initiators is asked before the bundle fills it again.
        (fresh.home / "initiators.toml").write_text("# nobody\n")
        assert f"initiator operator {genuine['initiator']}" in refused(fresh, bundle)


def test_a_bundle_without_a_known_node_is_confirmed_and_its_name_stays_taken():
    with machines(False) as (trio, hub), machines(False) as (others, _):
        first, second, third = trio
        meet(trio, hub)
        entered = (second.home / "peers.toml").read_text()

        def refused(machine, file, *words, status, error):
            before = tree(machine.home)
            answer = machine.imports(file, *words, status=status)
            assert answer["error"] == error and tree(machine.home) == before
            return answer["message"]
        # The authority forgets node3: its own machine says so before it makes a bundle, and so do the others.
        gone = third.home / "node.card"
        (first.home / "authority/members/node3.card").unlink()
        assert "node node3 is gone" in refused(first, second.home / "node.card", status=2, error="bad_request")
        plan = first.imports(second.home / "node.card", "--yes")
        assert [(node["node"], node["status"]) for node in plan["nodes"]] == [("node2", "known"), ("node3", "gone")]
        without = (first.home / "cluster.bundle").read_text()
        assert "node node3 is gone" in refused(second, first.home / "cluster.bundle", status=2, error="bad_request")
        assert (second.home / "peers.toml").read_text() == entered
        plan = second.imports(first.home / "cluster.bundle", "--yes")
        assert {node["node"]: node["status"] for node in plan["nodes"]} == {"node1": "known", "node2": "this node", "node3": "gone"}
        listed, former = (second.home / "peers.toml").read_text().split("[[former]]")
        assert "node3" not in listed and "node3" in former
        assert second.ctl("config", "check", second.home / "cosigner.toml")["ok"], "[[former]] is no mistake"
        # Nothing left to confirm: the same again is quiet, and does not forget.
        assert [node["node"] for node in second.imports(first.home / "cluster.bundle")["nodes"]] == ["node1", "node2"]
        assert "[[former]]" in (second.home / "peers.toml").read_text()

        # Then node3 comes back with another identity, by card and by bundle.
        impostor = others[0]
        impostor.ctl("init", "--join", "--dir", impostor.home, "--cluster", "trio", "--node", "node3")
        for machine in (first, second):
            assert "another identity" in refused(machine, impostor.home / "node.card", "--yes", status=78, error="conflict")
        (first.home / "peers.toml").write_text((first.home / "peers.toml").read_text().split("\n# No peers")[0])
        first.imports(impostor.home / "node.card", "--yes")
        with_impostor = (first.home / "cluster.bundle").read_text()
        assert "another identity" in refused(second, first.home / "cluster.bundle", "--yes", status=78, error="conflict")
        # The same authority, put back to before: two bundles of one number.
        facts = first.home / "authority/authority.toml"
        facts.write_text(facts.read_text().replace("serial = 4", "serial = 2"))
        (first.home / "authority/members/node3.card").unlink()
        (first.home / "peers.toml").write_text(entered)
        first.imports(gone, "--yes")
        assert (first.home / "cluster.bundle").read_text() not in (without, with_impostor)
        message = refused(second, first.home / "cluster.bundle", "--yes", status=78, error="conflict")
        assert "the number of the one in use, 3" in message
        # And the genuine node3 is admitted again, as a node that is new here.
        first.imports(gone, "--yes")
        plan = second.imports(first.home / "cluster.bundle", "--yes")
        assert {node["node"]: node["status"] for node in plan["nodes"]}["node3"] == "new"
        assert "[[former]]" not in (second.home / "peers.toml").read_text()


def test_init_and_import_change_nothing_when_they_refuse():
    with machines(False) as (trio, hub):
        first, second, third = trio
        assert first.init("--join", "--hub", hub, status=2)["error"] == "bad_request"
        assert first.init(status=2)["error"] == "bad_request"
        assert first.init("--first", status=2)["error"] == "bad_request", "without --hub"
        assert first.init("--first", "--hub", "no host", status=2)["error"] == "bad_request"
        assert tree(first.home) == {}
        # A recovery copy that cannot be written is no news for after everything has been made.
        taken = first.home.parent / "taken.txt"
        taken.write_text("the first copy")
        assert first.init("--first", "--hub", hub, "--recovery-file", taken, status=73)["error"] == "already_exists"
        assert first.init("--first", "--hub", hub, "--recovery-file", "/nowhere/r.txt", status=73)["error"] == "storage_failed"
        assert taken.read_text() == "the first copy" and tree(first.home) == {}
        said = meet(trio, hub)
        recovery = (first.home / "recovery.txt").read_text().splitlines()[-1]
        assert recovery == (first.home / "credentials/key-encryption-key").read_text().strip()
        before = {machine.name: tree(machine.home) for machine in trio}

        def refuses(machine, error, status, *words):
            assert machine.ctl(*words, status=status)["error"] == error
            assert {one.name: tree(one.home) for one in trio} == before, words
        # A second init, first or joining, on a machine that is set up.
        for kind in (["--first", "--hub", hub], ["--join"]):
            refuses(first, "already_exists", 78, "init", "--dir", first.home, "--cluster", "trio", "--node", "node1", *kind)
        # A card or bundle with one character changed; text that is neither; a card of another cluster.
        card = (second.home / "node.card").read_text()
        spoilt = third.home.parent / "spoilt"
        lines = card.splitlines()
        lines[2] = ("A" if lines[2][0] != "A" else "B") + lines[2][1:]
        spoilt.write_text("\n".join(lines))
        assert first.imports(spoilt, status=66)["error"] in ("unauthorized", "bad_request")
        bundle = (first.home / "cluster.bundle").read_text().splitlines()
        for number in range(1, len(bundle) - 1, 7):
            changed = list(bundle)
            changed[number] = ("A" if changed[number][0] != "A" else "B") + changed[number][1:]
            spoilt.write_text("\n".join(changed))
            assert second.imports(spoilt, "--yes", status=66)["error"] in ("unauthorized", "bad_request"), number
        spoilt.write_text("hello")
        refuses(first, "bad_request", 66, "peers", "import", "--dir", first.home, spoilt)
        with machines(False) as (others, other_hub):
            stranger = others[0]
            stranger.ctl("init", "--join", "--dir", stranger.home, "--cluster", "other", "--node", "node9")
            refuses(first, "conflict", 78, "peers", "import", "--dir", first.home, stranger.home / "node.card")
            # The same name with another identity: somebody else who says he is node2.
            impostor = others[1]
            impostor.ctl("init", "--join", "--dir", impostor.home, "--cluster", "trio", "--node", "node2")
            refuses(first, "conflict", 78, "peers", "import", "--dir", first.home, "--yes", impostor.home / "node.card")
            # Another authority's bundle for this very cluster, with this node's own card in it.
            usurper = others[2]
            usurper.ctl("init", "--first", "--hub", other_hub, "--dir", usurper.home, "--cluster", "trio", "--node", "node7")
            usurper.imports(second.home / "node.card", "--yes")
            refuses(second, "conflict", 78, "peers", "import", "--dir", second.home, "--yes", usurper.home / "cluster.bundle")
            # A node that nobody compared yet.
            fourth = others[0]
            shutil.rmtree(fourth.home)
            fourth.home.mkdir()
            new = fourth.ctl("init", "--join", "--dir", fourth.home, "--cluster", "trio", "--node", "node4")
            refuses(first, "bad_request", 2, "peers", "import", "--dir", first.home, fourth.home / "node.card")
            old_bundle = (first.home / "cluster.bundle").read_text()
            plan = first.imports(fourth.home / "node.card", "--yes")
            assert plan["nodes"] == [{"node": "node4", "fingerprint": new["fingerprint"], "identity": new["identity"],
                                      "status": "new"}]
            # An older bundle than the one in use.
            second.imports(first.home / "cluster.bundle", "--yes")
            spoilt.write_text(old_bundle)
            assert second.imports(spoilt, "--yes", status=78)["error"] == "conflict"
            assert said[0]["node"] == "node1"
        # Secrets are for their owner alone.
        for machine in trio:
            for path in [*machine.home.glob("credentials/*"), *machine.home.glob("authority/*"),
                         *machine.home.glob("broker/*.key"), *machine.home.glob("broker/*.seed"),
                         *machine.home.glob("broker/*.creds")]:
                if path.is_file():
                    assert path.stat().st_mode & 0o077 == 0, path
