#!/usr/bin/env python3
"""From a worker's death to the next answered request, with real processes. Prints; asserts nothing about time.

usage: /usr/bin/python3 tests/bench/recovery.py [USERS]      (after a build; COSIGNER_BIN names another build's bin)

For each of USERS users (default 60, each dying for the first time in its window, which costs no backoff) the worker at
node 1 is killed. The clock starts before the signal and stops when node 1 itself answers with a signature; a request
that still met the dying worker is answered `worker_crashed` and asked again at once, as a client would.
SIGKILL leaves the zygote as it is; after a SIGSEGV it is renewed first, since the death may have been an attempt at the
memory layout that all its forks share.
"""
import os
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
from cluster import Cluster  # noqa: E402
from raw_client import RawClient  # noqa: E402


def until_node_one_signs(client, user):
    while True:
        answers = client.sign(user, b"next")
        assert client.until(lambda: "node1" in answers.by_node, 30), answers.by_node
        client.forget(answers)
        if answers.by_node["node1"] == ["ok"]:
            return
        assert answers.by_node["node1"] == ["worker_crashed"], answers.by_node


def main():
    users = [f"user{k}" for k in range(int(sys.argv[1]) if len(sys.argv) > 1 else 60)]
    print(f"load average before: {os.getloadavg()[0]:.1f}")
    with Cluster(idle_timeout=600) as cluster, RawClient(cluster) as client:
        for user in users:
            cluster.keygen(user)
        for what in (signal.SIGKILL, signal.SIGSEGV):
            took = []
            for user in users[::2] if what == signal.SIGKILL else users[1::2]:
                until_node_one_signs(client, user)  # warm
                pid = cluster.worker(user)
                begin = time.monotonic()
                os.kill(pid, what)
                until_node_one_signs(client, user)
                took.append((time.monotonic() - begin) * 1000)
            took.sort()
            print(f"{what.name}: death to node 1's next signature: p50 {took[len(took) // 2]:.1f} ms, "
                  f"p90 {took[len(took) * 9 // 10]:.1f} ms, worst {took[-1]:.1f} ms ({len(took)} deaths)")
    print(f"load average after: {os.getloadavg()[0]:.1f}")


main()
