"""What cosignerctl shows a person who waits: one line on standard error where that is a terminal, gone in the end."""
import errno
import json
import os
import pty
import re
import select
import subprocess

import pytest

from cluster import BIN, Cluster, verifies, wait_until

GONE = b"\r\x1b[K"


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as running:
        yield running


class OnTerminal:
    """A command whose standard error is a terminal."""

    def __init__(self, cluster, *words):
        self.ours, theirs = pty.openpty()
        self.process = started(cluster, *words, stderr=theirs)
        os.close(theirs)
        self.seen = b""

    def read(self):
        """What there is to read, if anything; False once the other end is closed (EIO)."""
        if select.select([self.ours], [], [], 0.1)[0]:
            try:
                self.seen += os.read(self.ours, 65536)
            except OSError as problem:
                assert problem.errno == errno.EIO
                return False
        return True

    def wait_for(self, pattern):
        def shown():
            assert self.read() or re.search(pattern, self.seen), f"it has ended and has shown {self.seen}"
            return re.search(pattern, self.seen)
        wait_until(shown, 15, f"{pattern} to be shown")

    def result(self):
        while self.read():
            pass
        os.close(self.ours)
        return finished(self.process)[0]


def started(cluster, *words, stderr=subprocess.PIPE):
    return subprocess.Popen([BIN / "cosignerctl", "--json", *map(str, words)], env=cluster.env, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=stderr)


def finished(process):
    """Its result, and its standard error where that is no terminal."""
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, (out, err)
    return json.loads(out), err


def test_presign_shows_how_far_it_is(cluster):
    cluster.keygen("ann", scheme="ecdsa-secp256k1")
    words = ["presign", "--user", "ann", "--key", "k", "--count", "2"]
    terminal = OnTerminal(cluster, *words)
    made = terminal.result()["made"]
    assert re.fullmatch(rb"\r\x1b\[K%d of 2 presignatures" % made + re.escape(GONE), terminal.seen), terminal.seen
    assert finished(started(cluster, *words))[1] == b""


@pytest.mark.parametrize("doing,words", [("signing", ["sign", "--message-hex", "00ff", "--key", "k"]),
                                         ("making the key", ["keygen", "--scheme", "ed25519", "--threshold", "2", "--key"])],
                         ids=["sign", "keygen"])
def test_whoever_waits_for_the_nodes_sees_it(cluster, doing, words):
    """The others' workers are paused until it is seen."""
    user = doing.split(" ")[0]
    key = cluster.keygen(user)["public_key"]
    for node in (2, 3):
        cluster.sign(user, b"warm", node=node)
    paused = [wait_until(lambda at=node: cluster.worker(user, at), 10, "the worker") for node in (2, 3)]
    for pid in paused:
        cluster.stop_process(pid)
    commands = [[*words, *([name] if words[-1] == "--key" else []), "--user", user] for name in ("plain", "seen")]
    plain = started(cluster, *commands[0])
    terminal = OnTerminal(cluster, *commands[1])
    terminal.wait_for(rb"\r\x1b\[K%s: [2-9] of at most [27]0 s" % doing.encode())
    for pid in paused:
        cluster.continue_process(pid)
    result = terminal.result()
    assert terminal.seen.endswith(GONE) and b"\n" not in terminal.seen, terminal.seen
    if doing == "signing":
        assert verifies(key, b"\x00\xff", result["signature"])
    assert finished(plain)[1] == b""
