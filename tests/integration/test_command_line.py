"""What cosignerctl decides by itself, without a cluster: how it ends when interrupted, and what it refuses before asking."""
import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import termios

import pytest

from cluster import BIN, wait_until


@contextlib.contextmanager
def started(*words, **more):
    # What runs in the background of a script has SIGINT ignored, and its children inherit that.
    process = subprocess.Popen([BIN / "cosignerctl", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **more)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def initiator(tmp_path):
    path = tmp_path / "initiator.key"
    path.write_text(os.urandom(32).hex() + "\n")
    path.chmod(0o600)
    return path


def ended_by_one_interrupt(process):
    """As a shell expects it: by the signal itself, so that a script's loop ends with it."""
    process.send_signal(signal.SIGINT)
    return process.wait(timeout=20) == -signal.SIGINT


def test_one_interrupt_ends_sign_while_it_reads_the_message():
    with started("sign", "--user", "u", "--key", "k", "-", stdin=subprocess.PIPE) as process:
        process.stdin.write(b"the beginning of a message")
        process.stdin.flush()

        def taken():  # it has read, and waits for the rest
            waiting = fcntl.ioctl(process.stdin.fileno(), termios.FIONREAD, struct.pack("i", 0))
            return struct.unpack("i", waiting) == (0,)
        wait_until(taken, 20, "cosignerctl to read")
        assert ended_by_one_interrupt(process)


@pytest.mark.parametrize("command", [["sign", "--message-hex", "00"], ["keygen", "--scheme", "ed25519", "--threshold", "2"]],
                         ids=["sign", "keygen"])
def test_one_interrupt_ends_a_command_that_waits_for_the_node(tmp_path, initiator, command):
    path = tmp_path / "control.sock"
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(20)
        with started("--socket", path, "--initiator", initiator, *command, "--user", "u", "--key", "k") as process:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(20)
                assert connection.recv(1)  # it has asked, and hears nothing
                assert ended_by_one_interrupt(process)


@pytest.mark.parametrize("out", ["missing/signature", "."])
def test_sign_asks_nothing_of_the_cluster_when_its_output_cannot_be_written(tmp_path, initiator, out):
    """No node is there either: had it been asked, that would be the error."""
    run = subprocess.run([BIN / "cosignerctl", "--json", "--socket", tmp_path / "nobody", "--initiator", initiator, "sign",
                          "--user", "u", "--key", "k", "--message-hex", "00", "--out", tmp_path / out],
                         capture_output=True, timeout=20)
    assert run.returncode == 73
    assert json.loads(run.stdout)["may_have_executed"] is False
    assert sorted(path.name for path in tmp_path.iterdir()) == ["initiator.key"]
