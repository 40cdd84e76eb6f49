"""Spawn and evict, again and again: no descriptor, zombie, memory or SQLite handle is leaked by supervisor, zygote or gateway.
Every worker is started with its user's share from the store, and in each batch one of them signs, in turns.

200 cycles in an ordinary run, 10,000 under COSIGNER_TEST_FULL; what /proc says is printed."""
import os
import pathlib

import pytest

from cluster import Cluster, verifies, wait_until
from crowd import Crowd, add_crowd_initiator, restart
from raw_client import RawClient

CYCLES = 10_000 if os.environ.get("COSIGNER_TEST_FULL") else 200
AT_ONCE = 20
BATCHES = CYCLES // AT_ONCE
WARM_BATCHES = 5


def private_kib(pid):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_"))


def descriptors(pid):
    found = []
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(entry))
        except FileNotFoundError:
            pass
    return found


def zombies_of(pid):
    count = 0
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                count += fields[0] == "Z" and int(fields[1]) == pid
            except (FileNotFoundError, ProcessLookupError):
                pass
    return count


def picture(status):
    out = {}
    for role, pid in (("supervisor", status["pid"]), ("zygote", status["zygote"]["pid"]),
                      ("gateway", status["gateway"]["pid"])):
        open_files = descriptors(pid)
        out[role] = {"pid": pid, "descriptors": len(open_files), "private_kib": private_kib(pid),
                     "database": sum("cosigner.db" in name for name in open_files), "zombies": zombies_of(pid),
                     "threads": len(list(pathlib.Path(f"/proc/{pid}/task").iterdir()))}
    return out


def results(client, requests):
    """What node1 has made of each, once all nodes have answered: none of them wakes node1's worker for it later."""
    assert client.until(lambda: all(len(answers.by_node) == 3 for answers in requests), 60)
    found = []
    for answers in requests:
        assert set(map(tuple, answers.by_node.values())) == {("ok",)}, answers.by_node
        found.append(next(answer["result"] for node, answer in answers.contents if node == "node1"))
        client.forget(answers)
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="another process's /proc/PID/fd takes root")
def test_cycles_leak_nothing():
    with Cluster() as cluster:
        seed = add_crowd_initiator(cluster)
        restart(cluster)
        crowd, client = Crowd(cluster, seed), RawClient(cluster)
        users = [f"cycler{k}" for k in range(AT_ONCE)]
        made = results(client, [client.keygen(user, ["node1", "node2", "node3"]) for user in users])
        public_keys = {user: result["public_key"].hex() for user, result in zip(users, made)}
        crowd.evict(users)

        def cycles(batches):
            for batch in range(batches):
                signer, message = users[batch % AT_ONCE], b"batch %d" % batch
                result, = results(client, [client.sign(signer, message)])
                assert verifies(public_keys[signer], message, result["signature"].hex())
                crowd.wake(users)
                crowd.evict(users)

        def settled():
            # A peer that had missed a signer's hello may have asked for its worker once more.
            crowd.evict(users)
            status = cluster.status()
            idle = all(status["workers"].get(state, 0) == 0 for state in ("starting", "ready", "busy", "draining"))
            return status if idle else None

        # Once through everything that is allocated at the first time, the store's blocks of generations included.
        cycles(WARM_BATCHES)
        before_status = wait_until(settled, 20, "the last worker to be gone")
        before = picture(before_status)
        cycles(BATCHES)
        after_status = wait_until(settled, 20, "the last worker to be gone")
        after = picture(after_status)
        grown = {name: after_status["counters"][name] - before_status["counters"][name]
                 for name in ("spawns", "evictions", "deaths", "unresponsive", "stray_inputs", "overloaded")}
        print(f"{CYCLES} cycles, {BATCHES} signatures: {grown}\nbefore {before}\nafter  {after}")
        # Each batch starts all of its workers, and a signer's at most once more.
        assert BATCHES * AT_ONCE <= grown["spawns"] == grown["evictions"] <= BATCHES * (AT_ONCE + 1)
        assert grown["deaths"] == grown["unresponsive"] == grown["overloaded"] == 0
        # The gateway remembers 65,536 requests, 180 bytes each, so that none is replayed. SQLite keeps the pages that it has
        # written the signatures' results to, up to 2 MiB of them.
        remembered = {"gateway": (CYCLES + BATCHES) * 180 // 1024, "supervisor": BATCHES}
        for role in before:
            assert after[role]["pid"] == before[role]["pid"], f"{role} did not stay the same process"
            assert after[role]["zombies"] == 0
            # A connection of a test client more or less.
            assert after[role]["descriptors"] <= before[role]["descriptors"] + 1, role
            assert after[role]["database"] == before[role]["database"], role
            assert after[role]["threads"] <= before[role]["threads"] + 4, role  # libuv's pool starts on first use
            # 10,000 leaks of one worker's bookkeeping would be megabytes.
            assert after[role]["private_kib"] <= before[role]["private_kib"] + remembered.get(role, 0) + 1024, role
        crowd.control.close()
        client.socket.close()
