"""Three machines become a cluster by the operator's commands alone; nats-servers and nodes run with the configurations that these wrote."""
import base64
import json
import pathlib
import signal
import socket
import ssl
import subprocess
import time

import nacl.signing
import pytest

from cluster import BIN, openssl_verifies, wait_until
from machines import NATS_SERVER, machines, meet, namespaces_work, sees_all


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
