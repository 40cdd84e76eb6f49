"""ECDSA through the processes: every signing set, the forms that cosignerctl takes and gives, and workers killed at
random moments of key generations and signatures. Verified by OpenSSL's command."""
import hashlib
import itertools
import os
import pathlib
import random
import signal
import subprocess
import tempfile
import threading
import time

import pytest

from cluster import BIN, Cluster, CommandFailed, alive, children, wait_until

SCHEME = "ecdsa-secp256k1"
FULL = "COSIGNER_TEST_FULL" in os.environ
# What a request may end with when a worker that has to do with it is killed.
TYPED = {"worker_crashed", "peer_unreachable", "peer_timeout", "shutting_down", "quorum_unavailable", "overloaded",
         "protocol_failed", "conflict"}


def openssl_verifies(public_key_hex, digest, der):
    """OpenSSL's verdict on a DER signature of a digest. The key may be compressed or not."""
    key = bytes.fromhex(public_key_hex)
    # SubjectPublicKeyInfo (RFC 5480): id-ecPublicKey, secp256k1, and the point as a bit string.
    algorithm = bytes.fromhex("301006072a8648ce3d020106052b8104000a")
    bits = bytes([0x03, len(key) + 1, 0]) + key
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "key.der").write_bytes(bytes([0x30, len(algorithm) + len(bits)]) + algorithm + bits)
        (folder / "digest").write_bytes(digest)
        (folder / "signature").write_bytes(der)
        run = subprocess.run(
            ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", folder / "key.der",
             "-in", folder / "digest", "-sigfile", folder / "signature"], capture_output=True)
        return run.returncode == 0


def keygen(cluster, user, **options):
    return cluster.keygen(user, scheme=SCHEME, **options)["public_key"]


def sign(cluster, user, public_key, digest, node=1, path=None):
    """Signs a digest and has OpenSSL verify it."""
    options = ["--path", path] if path else []
    answer = cluster.ctl("sign", "--user", user, "--key", "k", "--digest-hex", digest.hex(), *options, node=node)
    assert answer["public_key"] == public_key
    assert openssl_verifies(public_key, digest, bytes.fromhex(answer["der"]))
    return answer


def tree(pid):
    return [pid] + [below for child in children(pid) for below in tree(child)]


@pytest.mark.parametrize("nodes,threshold", [(3, 2), (5, 3)])
def test_every_signing_set(nodes, threshold):
    """The other nodes are stopped, every process of theirs."""
    with Cluster(nodes=nodes, threshold=threshold) as cluster:
        public_key = keygen(cluster, "sets")
        for chosen in itertools.combinations(range(1, nodes + 1), threshold):
            stopped = [pid for node in range(1, nodes + 1) if node not in chosen
                       for pid in tree(cluster.supervisor(node))]
            for pid in stopped:
                cluster.stop_process(pid)
            begin = time.monotonic()
            for at in chosen:
                sign(cluster, "sets", public_key, hashlib.sha256(repr((chosen, at)).encode()).digest(), node=at)
            print(f"{chosen}: {threshold} signatures, {time.monotonic() - begin:.2f} s")
            for pid in stopped:
                cluster.continue_process(pid)
            for node in range(1, nodes + 1):
                cluster.wait_ready(node)


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as running:
        yield running


@pytest.fixture(scope="module")
def public_key(cluster):
    return keygen(cluster, "alice")


def ctl_raw(cluster, *arguments, stdin=None):
    """cosignerctl without --json: exit status and standard output as it is."""
    env = dict(cluster.env, COSIGNER_SOCKET=str(cluster.socket(1)))
    run = subprocess.run([BIN / "cosignerctl", *map(str, arguments)], env=env, input=stdin, capture_output=True,
                         timeout=90)
    return run.returncode, run.stdout, run.stderr.decode()


def sign_raw(cluster, *arguments, stdin=None):
    code, out, err = ctl_raw(cluster, "sign", "--user", "alice", "--key", "k", *arguments, stdin=stdin)
    assert code == 0, err
    return out


KECCAK_OF_NOTHING = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"  # Ethereum's empty code


@pytest.mark.parametrize("name,message,digest", [
    ("sha256", b"pay 10", hashlib.sha256(b"pay 10").digest()),
    ("sha256d", b"pay 10", hashlib.sha256(hashlib.sha256(b"pay 10").digest()).digest()),
    ("keccak256", b"", bytes.fromhex(KECCAK_OF_NOTHING)),
])
def test_messages_are_hashed_here(cluster, public_key, tmp_path, name, message, digest):
    (tmp_path / "message").write_bytes(message)
    for source, stdin in ([("--message-file", tmp_path / "message"), None], [("-",), message]):
        der = sign_raw(cluster, *source, "--hash", name, "--format", "der", stdin=stdin)
        assert openssl_verifies(public_key, digest, der)
        assert not openssl_verifies(public_key, hashlib.sha256(b"another").digest(), der)


def test_forms_and_encodings(cluster, public_key, tmp_path):
    digest = hashlib.sha256(b"forms").digest()
    of = ("--digest-hex", digest.hex())
    answer = cluster.ctl("sign", "--user", "alice", "--key", "k", *of)
    assert answer["signature"] == answer["r"] + answer["s"] + f"{answer['recovery_id']:02x}"
    assert answer["path"] == "m"
    assert openssl_verifies(public_key, digest, bytes.fromhex(answer["der"]))
    assert len(sign_raw(cluster, *of)) == 131                                  # 65 bytes in hex and a newline
    assert len(sign_raw(cluster, *of, "--format", "raw")) == 64
    rsv = sign_raw(cluster, *of, "--format", "rsv")
    assert len(rsv) == 65 and rsv[64] < 4
    assert openssl_verifies(public_key, digest,
                            bytes.fromhex(sign_raw(cluster, *of, "--format", "der", "--encoding", "hex").decode()))
    out = tmp_path / "signature"
    assert sign_raw(cluster, *of, "--format", "der", "--out", out) == b""
    assert openssl_verifies(public_key, digest, out.read_bytes())


def test_keys_for_addresses(cluster, public_key):
    path = "m/44/60/0/0/5"
    shown = cluster.ctl("keys", "--user", "alice", "--path", path)["keys"][0]
    assert shown["public_key"] == public_key and shown["path"] == path
    digest = hashlib.sha256(b"child").digest()
    answer = sign(cluster, "alice", shown["derived_public_key"], digest, node=2, path=path)
    for form in ("derived_public_key", "derived_public_key_uncompressed"):
        assert openssl_verifies(shown[form], digest, bytes.fromhex(answer["der"]))
    assert not openssl_verifies(public_key, digest, bytes.fromhex(answer["der"]))
    # Every node tells the same, and signs for it although it is asked elsewhere.
    assert cluster.ctl("keys", "--user", "alice", "--path", path, node=3)["keys"][0] == shown
    code, out, _ = ctl_raw(cluster, "keys", "--user", "alice", "--path", path)
    assert code == 0
    for form in ("public_key", "public_key_uncompressed", "derived_public_key", "derived_public_key_uncompressed"):
        assert shown[form] in out.decode()


def test_presignatures_serve_any_path(cluster, public_key):
    """A presignature is made before anyone knows the path; the full protocol and this give the same kind of signature."""
    cluster.ctl("presign", "--user", "alice", "--key", "k", "--count", "12")
    for number in range(12):
        path = f"m/84/0/0/0/{number}"
        shown = cluster.ctl("keys", "--user", "alice", "--path", path)["keys"][0]
        sign(cluster, "alice", shown["derived_public_key"], hashlib.sha256(path.encode()).digest(), path=path)


def test_what_is_wrong_is_said_before_anything_is_asked(cluster, public_key):
    cluster.keygen("eddie")
    alice, eddie = ("--user", "alice", "--key", "k"), ("--user", "eddie", "--key", "k")
    digest = "11" * 32
    for words, complaint in [
        (("sign", *alice, "--digest-hex", digest[2:]), "32 bytes"),
        (("sign", *alice, "--digest-hex", digest, "--hash", "sha256"), "--hash"),
        (("sign", *alice, "--message-hex", "00"), "--hash"),
        (("sign", *alice, "--message-hex", digest), "--hash"),
        (("sign", *alice, "--digest-hex", digest, "--path", "m/0'"), "--path"),
        (("sign", *alice, "--digest-hex", digest, "--format", "hex", "--encoding", "binary"), "contradict"),
        (("sign", *eddie, "--digest-hex", digest), "signs the message itself"),
        (("sign", *eddie, "--message-hex", digest, "--format", "der"), "64 bytes"),
        (("keys", "--user", "alice", "--path", "44/60"), "--path"),
        (("keygen", "--user", "t", "--key", "k", "--threshold", "2", "--scheme", "bip340-secp256k1"),
         "ed25519, ecdsa-secp256k1"),
    ]:
        code, out, err = ctl_raw(cluster, *words)
        assert (code, out) == (2, b""), (words, code, out, err)
        assert complaint in err and "bad_request" in err, (words, err)
    with pytest.raises(CommandFailed) as refused:
        cluster.ctl("sign", *eddie, "--message-hex", digest, "--path", "m/0")
    assert refused.value.error == "bad_request"


def test_workers_killed_during_key_generations(cluster):
    """At a random moment at a random node; the key is made in the end, and it signs."""
    in_time = 0
    for number in range(60 if FULL else 3):
        chance = random.Random(number)
        user, victim, delay = f"gen{number}", chance.choice((1, 2, 3)), chance.uniform(0, 0.25)
        outcome = {}

        def generate():
            try:
                outcome["key"] = keygen(cluster, user)
            except CommandFailed as failure:
                outcome["error"] = failure.error

        thread = threading.Thread(target=generate)
        thread.start()
        worker = wait_until(lambda: cluster.worker(user, victim) or not thread.is_alive(), 20, "the worker to appear")
        time.sleep(delay)  # the moment under test, not a wait for a condition
        begin = time.monotonic()
        if worker is not True and thread.is_alive() and alive(worker):
            os.kill(worker, signal.SIGKILL)
            in_time += 1
        thread.join(90)
        print(f"{user}: node {victim}'s worker killed after {delay * 1000:.0f} ms, {in_time} in time so far: "
              f"{outcome.get('error', 'made')} {(time.monotonic() - begin) * 1000:.0f} ms later")
        if "key" not in outcome:
            assert outcome["error"] in TYPED, outcome
            try:
                outcome["key"] = keygen(cluster, user)
            except CommandFailed as failure:  # it had been committed after all
                assert failure.error == "already_exists", failure
                outcome["key"] = cluster.ctl("keys", "--user", user)["keys"][0]["public_key"]
        for node in (1, 2, 3):
            sign(cluster, user, outcome["key"], hashlib.sha256(user.encode()).digest(), node=node)
    assert in_time > 0, "every key was made before its worker was killed: the moments are badly chosen"


def test_workers_killed_during_signatures(cluster, public_key):
    """Clients go on signing at node 1 while workers die everywhere. What fails says so; nothing false is signed."""
    halt, lock = threading.Event(), threading.Lock()
    done, failures = [0], []

    def client(number):
        count = 0
        while not halt.is_set():
            count += 1
            digest = hashlib.sha256(f"{number} {count}".encode()).digest()
            try:
                sign(cluster, "alice", public_key, digest)
                with lock:
                    done[0] += 1
            except CommandFailed as failure:
                with lock:
                    failures.append(failure.error)

    threads = [threading.Thread(target=client, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    try:
        chance = random.Random(1)
        for number in range(80 if FULL else 6):
            victim = chance.choice((1, 2, 3))
            worker = wait_until(lambda: cluster.worker("alice", victim), 20, "a worker to be there")
            time.sleep(chance.uniform(0, 0.1))  # the moment under test
            if alive(worker):
                os.kill(worker, signal.SIGKILL)
            target = done[0] + 3
            wait_until(lambda: done[0] >= target, 30, "signatures after the kill")
            # A second death within the window costs a delay, a fifth the user: clear what has been counted.
            for node in (1, 2, 3):
                state = cluster.user("alice", node)
                if state and state["state"] == "quarantined":
                    cluster.ctl("clear", "--user", "alice", node=node)
    finally:
        halt.set()
        for thread in threads:
            thread.join(90)
    print(f"{done[0]} signatures, failures: {failures}")
    assert set(failures) <= TYPED | {"quarantined"}, failures
    for node in (1, 2, 3):
        if (cluster.user("alice", node) or {}).get("state") == "quarantined":
            cluster.ctl("clear", "--user", "alice", node=node)
    for node in (1, 2, 3):
        sign(cluster, "alice", public_key, hashlib.sha256(b"afterwards").digest(), node=node)
