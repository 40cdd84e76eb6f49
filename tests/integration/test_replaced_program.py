"""An upgrade replaces the files of a running node: whatever the node starts until it is restarted itself is still of the
version that it speaks with."""
import os
import pathlib
import shutil
import signal

import pytest

from cluster import BIN, Cluster, wait_until


@pytest.fixture
def programs(tmp_path):
    for name in ("cosignerd", "cosigner-worker"):
        shutil.copy2(BIN / name, tmp_path / name)
    return tmp_path


def test_a_zygote_renewed_after_the_files_were_replaced_is_of_the_running_version(programs):
    with Cluster(programs=programs) as cluster:
        cluster.keygen("alice")
        # As dpkg does it: another file is renamed over the old one. This one would end at once.
        newer = pathlib.Path(programs) / "cosigner-worker.dpkg-new"
        shutil.copy2("/bin/false", newer)
        newer.rename(programs / "cosigner-worker")
        for node in (1, 2, 3):
            before = cluster.status(node)["zygote"]["pid"]
            os.kill(before, signal.SIGKILL)
            wait_until(lambda: cluster.status(node)["ready"] and cluster.status(node)["zygote"]["pid"] not in (0, before),
                       20, f"another zygote on node{node}")
        cluster.keygen("bob")  # takes a new worker on every node
        cluster.sign("bob", b"after the files were replaced")
