"""A node that is asked for more workers than it may open descriptors for has fewer, and says so wherever somebody looks."""
import json
import os
import resource
import subprocess

import pytest

from cluster import BIN, Cluster

FEW = 1000
ROOM = (FEW - 384) // 3  # workers, see supervisor/config/cross_check.cc
# What root could raise again, a node's own user cannot.
LIMITED = [*(["setpriv", "--bounding-set=-sys_resource"] if os.geteuid() == 0 else []), "prlimit", f"--nofile={FEW}:{FEW}"]


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as one:
        yield one


def said(cluster, asked):
    """What the node says of it, as its reason to be degraded."""
    status = cluster.status(2)
    assert status["ready"]
    return [reason for reason in status["degraded"] if str(asked) in reason]


def doctor(cluster):
    run = subprocess.run([BIN / "cosignerctl", "--json", "doctor", "--config", cluster.home / "node2" / "cosigner.toml"],
                         env=dict(cluster.env, COSIGNER_SOCKET=str(cluster.socket(2))), capture_output=True, timeout=60)
    return next(check for check in json.loads(run.stdout)["checks"] if check["check"] == "descriptors")


def workers_limit(cluster):
    lines = cluster.ctl("metrics", node=2)["text"].splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("cosigner_workers_limit "))


def test_fewer_workers_than_asked_for(cluster):
    key = cluster.keygen("alice")["public_key"]
    config = cluster.home / "node2" / "cosigner.toml"
    before = config.read_text()
    assert "max_workers" not in before

    # While it runs.
    resource.prlimit(cluster.supervisor(2), resource.RLIMIT_NOFILE, (FEW, FEW))
    config.write_text(before + "\n[workers]\nmax_workers = 500\n")
    assert cluster.ctl("reload", node=2) == {"applied": ["workers.max_workers"], "needs_restart": []}
    assert said(cluster, 500)[0].startswith(f"at most {ROOM} workers, not the 500 ")
    assert workers_limit(cluster) == ROOM
    config.write_text(before + "\n[workers]\nmax_workers = 600\n")  # more in vain
    assert cluster.ctl("reload", node=2) == {"applied": [], "needs_restart": []}
    assert said(cluster, 600) and not said(cluster, 500)

    # From its start. The file itself is good: other limits give other numbers.
    cluster.devcluster("stop", "--dir", cluster.home, "--node", 2)
    assert cluster.ctl("config", "check", config)["ok"]
    checked = subprocess.run([*LIMITED, BIN / "cosignerd", "--check", "--config", config], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0 and f"at most {ROOM} workers, not the 600 " in checked.stdout, checked
    cluster.devcluster("start", "--dir", cluster.home, "--node", 2, under=LIMITED)
    cluster.wait_ready(2)
    assert said(cluster, 600)[0].startswith(f"at most {ROOM} workers, ") and workers_limit(cluster) == ROOM
    assert f"at most {ROOM} workers, not the 600 " in cluster.log(2)
    warning = doctor(cluster)
    assert warning["verdict"] == "warning" and "LimitNOFILE=" in warning["remedy"], warning
    cluster.sign_and_verify("alice", key, b"all the same", node=2)

    # Nobody is warned who did not ask, or asks for what there is.
    for text in (before, before + f"\n[workers]\nmax_workers = {ROOM}\n"):
        config.write_text(text)
        assert cluster.ctl("reload", node=2)["needs_restart"] == []
        assert not said(cluster, "workers") and workers_limit(cluster) == ROOM
        assert doctor(cluster)["verdict"] == "ok"

    # For not a single one there is no node.
    none = subprocess.run([*LIMITED[:-1], "--nofile=300:300", BIN / "cosignerd", "--check", "--config", config],
                          capture_output=True, text=True, timeout=60)
    assert none.returncode == 78 and "descriptors" in none.stderr, none
