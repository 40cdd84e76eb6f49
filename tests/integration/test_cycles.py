"""Spawn and evict, again and again: no descriptor, zombie, memory or SQLite handle is leaked by supervisor, zygote or gateway.

200 cycles in an ordinary run, 10,000 under COSIGNER_TEST_FULL; what /proc says is printed."""
import os
import pathlib

import pytest

from cluster import Cluster, wait_until
from crowd import Crowd, add_crowd_initiator, restart

CYCLES = 10_000 if os.environ.get("COSIGNER_TEST_FULL") else 200
AT_ONCE = 20


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


@pytest.mark.skipif(os.geteuid() != 0, reason="another process's /proc/PID/fd takes root")
def test_cycles_leak_nothing():
    with Cluster() as cluster:
        seed = add_crowd_initiator(cluster)
        restart(cluster)
        crowd = Crowd(cluster, seed)
        users = [f"cycler{k}" for k in range(AT_ONCE)]

        def cycles(count):
            for _ in range(count // AT_ONCE):
                crowd.wake(users)
                crowd.evict(users)

        def settled():
            status = cluster.status()
            idle = all(status["workers"].get(state, 0) == 0 for state in ("starting", "ready", "busy", "draining"))
            return status if idle else None

        # Once through everything that is allocated at the first time, the store's blocks of generations included.
        cycles(100)
        before_status = wait_until(settled, 20, "the last worker to be gone")
        before = picture(before_status)
        cycles(CYCLES)
        after_status = wait_until(settled, 20, "the last worker to be gone")
        after = picture(after_status)
        grown = {name: after_status["counters"][name] - before_status["counters"][name]
                 for name in ("spawns", "evictions", "deaths", "unresponsive", "stray_inputs", "overloaded")}
        print(f"{CYCLES} cycles: {grown}\nbefore {before}\nafter  {after}")
        assert grown["spawns"] == grown["evictions"] == CYCLES // AT_ONCE * AT_ONCE
        assert grown["deaths"] == grown["unresponsive"] == grown["overloaded"] == 0
        for role in before:
            assert after[role]["pid"] == before[role]["pid"], f"{role} did not stay the same process"
            assert after[role]["zombies"] == 0
            # A connection of a test client more or less.
            assert after[role]["descriptors"] <= before[role]["descriptors"] + 1, role
            assert after[role]["database"] == before[role]["database"], role
            assert after[role]["threads"] <= before[role]["threads"] + 4, role  # libuv's pool starts on first use
            # 10,000 leaks of one worker's bookkeeping would be megabytes. The gateway remembers 65,536 requests, 180 bytes
            # each, so that none is replayed.
            remembered = CYCLES * 180 // 1024 if role == "gateway" else 0
            assert after[role]["private_kib"] <= before[role]["private_kib"] + remembered + 1024, role
        crowd.control.close()
