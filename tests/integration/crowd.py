"""Many users on one node alone: an initiator that only node 1 knows asks it to sign with keys that do not exist. The other
nodes' gateways refuse (unauthorized), node 1 forks a worker for each user, which answers `unknown_key` and stays, idle."""
import contextlib
import os
import pathlib
import re
import subprocess

import nacl.signing

from cluster import BIN, wait_until
from control import Control, answer_error, sign_envelope


def add_crowd_initiator(cluster, node=1, requests_per_second=100_000):
    """Makes a key that only this node trusts; it takes effect when the node starts or reloads. Returns the seed in hex."""
    seed = os.urandom(32).hex()
    public = bytes(nacl.signing.SigningKey(bytes.fromhex(seed)).verify_key).hex()
    with open(cluster.home / f"node{node}" / "initiators.toml", "a") as file:
        file.write(f'\n[[initiator]]\nname = "crowd"\npublic_key = "{public}"\noperations = ["*"]\nusers = ["*"]\n'
                   f"requests_per_second = {requests_per_second}\n")
    return seed


def configure_workers(cluster, node=1, **settings):
    """Sets keys of [workers] in a node's configuration; they take effect when it starts or reloads."""
    path = cluster.home / f"node{node}" / "cosigner.toml"
    text = path.read_text()
    if "[workers]" not in text:
        text += "\n[workers]\n"
    for key, value in settings.items():
        text = re.sub(rf"^{key} *=.*\n", "", text, flags=re.M).replace("[workers]\n", f"[workers]\n{key} = {value}\n")
    path.write_text(text)


@contextlib.contextmanager
def other_limits(cluster, node=1, **settings):
    """With these keys of [workers] for a while, without a restart."""
    path = cluster.home / f"node{node}" / "cosigner.toml"
    before = path.read_text()
    configure_workers(cluster, node, **settings)
    try:
        assert set(cluster.ctl("reload", node=node)["applied"]) == {f"workers.{key}" for key in settings}
        yield
    finally:
        path.write_text(before)
        cluster.ctl("reload", node=node)


def restart(cluster, node=1):
    pid = cluster.supervisor(node)
    os.kill(pid, 15)
    wait_until(lambda: not pathlib.Path(f"/proc/{pid}").exists() or
               pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z", 40, "the node to stop")
    cluster.restart_node(node)
    cluster.wait_ready(node, 60)


class Crowd:
    """Users of node 1, asked for over its control socket with `window` requests under way."""

    def __init__(self, cluster, seed, node=1, window=32):
        self.cluster, self.seed, self.node, self.window = cluster, seed, node, window
        self.name = cluster.status(node)["cluster"]
        self.control = Control(cluster.socket(node))

    def wake(self, users, allowed=("unknown_key", "unknown_user")):
        """One request for each user, until this node has answered each; fails on any other answer of this node."""
        own = self.cluster.status(self.node)["node"]
        waiting, todo = {}, list(users)
        todo.reverse()
        while todo or waiting:
            while todo and len(waiting) < self.window:
                user = todo.pop()
                envelope = sign_envelope(self.seed, self.name, user, "none")
                waiting[self.control.send("submit", {"envelope": envelope})] = user
            call, final, error, body = self.control.receive()
            if call not in waiting:
                continue
            assert not error, f"submit for {waiting[call]}: {error}"
            if "answer" in body:
                outcome, node = answer_error(body["answer"])
                if node == own:
                    assert outcome in allowed, f"{waiting[call]}: {outcome}"
                    del waiting[call]
                    self.control.cancel(call)

    def evict(self, users):
        """Until each user's worker has agreed and is reaped."""
        waiting = {self.control.send("evict", {"user": user}): user for user in users}
        while waiting:
            call, final, error, _ = self.control.receive()
            if call in waiting and final:
                user = waiting.pop(call)
                if error == "conflict":
                    waiting[self.control.send("evict", {"user": user})] = user
                else:
                    assert error in ("", "unknown_user"), f"evict {user}: {error}"
