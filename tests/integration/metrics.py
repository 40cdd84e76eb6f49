"""A node's metrics as `cosignerctl metrics` prints them."""
import subprocess

from cluster import BIN, wait_until


def printed(cluster, node=1):
    """What `cosignerctl metrics` prints, as a person gets it."""
    run = subprocess.run([BIN / "cosignerctl", "metrics"], env=dict(cluster.env, COSIGNER_SOCKET=str(cluster.socket(node))),
                         capture_output=True, text=True, timeout=30)
    assert run.returncode == 0, run.stderr
    return run.stdout


def series(text):
    """{'name{label="value"}': number}"""
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
    found = {name: float(value) for name, value in lines}
    assert len(found) == len(lines), "a series is exposed twice"
    return found


def read(cluster, node=1):
    return series(printed(cluster, node))


class Moves:
    """The difference to what was counted when this was made."""

    def __init__(self, cluster, node=1):
        self.cluster, self.node, self.before = cluster, node, read(cluster, node)

    def of(self, name):
        return read(self.cluster, self.node)[name] - self.before[name]

    def wait(self, name, by=1, seconds=10):
        """Workers tell with their heartbeats, up to half a second later."""
        wait_until(lambda: self.of(name) >= by, seconds, f"{name} to grow by {by} (it grew by {self.of(name)})")
