"""The configuration is read again while the cluster signs: what can change does, nothing is dropped, mistakes change
nothing, and the audit log says who did it."""
import json
import os
import re
import signal
import socket

import pytest

from cluster import Cluster, CommandFailed, SigningClients, wait_until


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as one:
        yield one


def configuration(cluster, node, name="cosigner.toml"):
    return cluster.home / f"node{node}" / name


class Edited:
    """A file with other contents for a while; the node reads it again after it was put back."""

    def __init__(self, cluster, node, name, change):
        self.cluster, self.node, self.path, self.change = cluster, node, configuration(cluster, node, name), change

    def __enter__(self):
        self.before = self.path.read_text()
        self.path.write_text(self.change(self.before))
        return self

    def __exit__(self, *_):
        self.path.write_text(self.before)
        self.cluster.ctl("reload", node=self.node)


def log_of(cluster, node):
    return "".join(path.read_text() for path in sorted((cluster.home / f"node{node}").glob("*.log")))


def test_reload_under_load_drops_nothing(cluster):
    key = cluster.keygen("alice")["public_key"]
    worker = cluster.worker("alice")
    with SigningClients(cluster, ["alice"], {"alice": key}, 2) as clients:
        clients.wait_for(5)
        for node in (1, 2, 3):
            with Edited(cluster, node, "cosigner.toml",
                        lambda text: text + "\n[log]\nlevel = \"debug\"\naudit = true\n"):
                changes = cluster.ctl("reload", node=node)
                assert changes == {"applied": ["log.level"], "needs_restart": []}
                clients.wait_for(5)
        clients.wait_for(5)
    assert not clients.failures, clients.failures[:3]
    assert cluster.worker("alice") == worker
    assert cluster.ctl("reload") == {"applied": [], "needs_restart": []}


def test_an_initiator_that_is_gone_is_refused_at_once_by_every_node(cluster):
    if not cluster.user("carol"):
        cluster.keygen("carol")
    cluster.sign("carol", b"before")
    stranger = "f" * 64
    edits = [Edited(cluster, node, "initiators.toml",
                    lambda text: re.sub(r'public_key = "[0-9a-f]{64}"', f'public_key = "{stranger}"', text))
             for node in (1, 2, 3)]
    for edit in edits:
        edit.__enter__()
        assert cluster.ctl("reload", node=edit.node)["applied"][0].startswith("initiators: ")
    with pytest.raises(CommandFailed) as refused:
        cluster.sign("carol", b"between")
    assert refused.value.error == "unauthorized"
    for edit in edits:
        edit.__exit__()
    cluster.sign("carol", b"after")


def test_a_peer_that_is_gone_is_absent_and_comes_back(cluster):
    cluster.wait_ready(1)
    without = lambda text: "".join(part for part in re.split(r"(?=\[\[peer\]\])", text) if '"node3"' not in part)
    with Edited(cluster, 1, "peers.toml", without):
        assert cluster.ctl("reload")["applied"] == ["peers: node3 removed"]
        assert [peer["node"] for peer in cluster.status()["peers"]] == ["node1", "node2"]
        cluster.sign("alice", b"without node3")
    cluster.wait_ready(1)
    assert [peer["node"] for peer in cluster.status()["peers"]] == ["node1", "node2", "node3"]


def test_a_mistake_changes_nothing_and_what_needs_a_restart_is_said(cluster):
    with Edited(cluster, 2, "cosigner.toml", lambda text: text + "\n[nonsense]\n"):
        with pytest.raises(CommandFailed) as failure:
            cluster.ctl("reload", node=2)
        assert failure.value.code == 78
        assert "unknown key 'nonsense'" in failure.value.body["message"]
        assert cluster.status(2)["ready"]
    # What only the host can say, and the next start would refuse: a group, a port.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for text, complaint in (
                ("[control]\nadmin_group = \"no-such-group\"", "this host has no group 'no-such-group'"),
                (f"[metrics]\nlisten = \"127.0.0.1:{port}\"", f"127.0.0.1:{port} is in use by another program")):
            with Edited(cluster, 2, "cosigner.toml", lambda before: before + f"\n{text}\n"):
                with pytest.raises(CommandFailed) as failure:
                    cluster.ctl("reload", node=2)
                assert failure.value.code == 78
                assert complaint in failure.value.body["message"], failure.value.body
                assert cluster.status(2)["ready"]
    with Edited(cluster, 2, "cosigner.toml", lambda text: text.replace('state_directory = "state"', 'state_directory = "s"')):
        assert cluster.ctl("reload", node=2) == {"applied": [], "needs_restart": ["state_directory"]}


def test_sighup_reads_it_again(cluster):
    with Edited(cluster, 3, "cosigner.toml", lambda text: text + "\n[control]\nview_group = \"nogroup\"\n"):
        os.kill(cluster.supervisor(3), signal.SIGHUP)
        wait_until(lambda: "applied: control.view_group" in log_of(cluster, 3), 10, "the reload in the log")
    # Nobody is answered: what is wrong is an event as well.
    with Edited(cluster, 3, "cosigner.toml", lambda text: text + "\n[nonsense]\n"):
        os.kill(cluster.supervisor(3), signal.SIGHUP)
        refused = lambda: [event["reason"] for event in cluster.events(3) if event["reason"].startswith("reload: refused")]
        wait_until(refused, 10, "the refusal among the events")
        assert "unknown key 'nonsense'" in refused()[0]
        assert cluster.status(3)["ready"]


def test_the_audit_log_has_decisions_and_refusals(cluster):
    session = cluster.sign("alice", b"audited")["session"]
    with Edited(cluster, 1, "cosigner.toml", lambda text: text + "\n[log]\nformat = \"json\"\n"):
        cluster.ctl("reload")
        session = cluster.sign("alice", b"audited again")["session"]
        cluster.ctl("log-level", "info")

        def entries():
            found = [json.loads(line) for line in log_of(cluster, 1).splitlines() if line.startswith("{")]
            return [entry for entry in found if "audit" in entry]

        def decided():
            return [entry for entry in entries() if entry.get("session_id") == session]
        wait_until(decided, 10, "the decision in the audit log")
        entry = decided()[0]
        assert (entry["audit"], entry["user_id"], entry["operation"], entry["outcome"]) == ("request", "alice", "sign", "ok")
        wait_until(lambda: any(entry.get("command") == "log-level" and entry["outcome"] == "allowed"
                               and entry["peer_uid"] == str(os.getuid()) for entry in entries()), 10, "the command")
