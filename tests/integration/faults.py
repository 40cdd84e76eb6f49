"""Arms fault points (worker/fault_point.h) in the workers of a cluster that runs cosigner-worker-faults."""
import ctypes
import mmap
import os
import pathlib
import re
import shutil
import struct
import tempfile

from cluster import BIN, Cluster, wait_until

PROGRAM = BIN.parent / "test-bin" / "cosigner-worker-faults"
ACTIONS = {"throw": 1, "abort": 2, "segfault": 3, "loop": 4, "leak": 5, "silence": 6, "exit": 7, "oom": 8, "kill": 9,
           "system-call": 10, "spoil": 11, "arm": 12, "disarm": 13}
# What can befall a worker anywhere: the last three are for a test that plays a dishonest node.
FAILURES = [name for name, number in ACTIONS.items() if number < ACTIONS["spoil"]]
# Only a peer that lies takes a worker there.
LIED_TO = {"sign.burnt"}
ENTRIES, SIZE = 128, 256

# How the caller at the node learns of it, where the worker had its request in hand.
CAUSES = {"abort": "worker_crashed", "segfault": "worker_crashed", "loop": "worker_unresponsive", "leak": "out_of_memory",
          "silence": "worker_unresponsive", "exit": "worker_crashed", "oom": "out_of_memory", "kill": "worker_crashed", "system-call": "worker_crashed"}
# And in which words: the signal or the exit code is named. ("exit" is _exit(0): with work in hand that is a death too.)
WORDS = {"abort": "ended by signal 6 (SIGABRT)", "segfault": "ended by signal 11 (SIGSEGV)", "loop": "showed no life",
         "leak": "hit its memory limit", "silence": "showed no life", "exit": "ended with status 0", "oom": "hit its memory limit",
         "kill": "ended by signal 9 (SIGKILL)", "system-call": "ended by signal 31 (SIGSYS)"}


def system_call(name):
    """Its number on this machine, as libseccomp knows it."""
    number = ctypes.CDLL("libseccomp.so.2").seccomp_syscall_resolve_name(name.encode())
    assert number >= 0, f"this machine has no {name}"
    return number


def key_mark(public_key_hex):
    """How "spoil" knows a key: KeyMark in tests/faults/fault_points.cc."""
    return struct.unpack("<I", bytes.fromhex(public_key_hex)[1:5])[0]


def points():
    """All that a worker passes among honest nodes, from the program itself."""
    found = set(re.findall(rb"COSIGNER_FAULT_POINT:([a-z.-]+)", PROGRAM.read_bytes()))
    assert len(found) >= 20
    names = {name.decode() for name in found}
    assert LIED_TO < names
    return sorted(names - LIED_TO)


class FaultPoints:
    """The orders of one node, in the file that its zygote made."""

    def __init__(self, state_directory):
        path = pathlib.Path(state_directory) / "fault-points"
        wait_until(lambda: path.exists() and path.stat().st_size == ENTRIES * SIZE, 10, f"{path} to be there")
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), ENTRIES * SIZE)
        self.used = 0

    def arm(self, point, action, user, count=1, passes=0, call="openat", argument=None):
        """Returns the entry's number, for hits() and left(). The point is passed `passes` times before it fails. `call`: which
        one "system-call" makes; `argument`: what another action takes, a key_mark() or how many entries."""
        entry, self.used = self.used % ENTRIES, self.used + 1
        at = entry * SIZE
        self.memory[at:at + 4] = bytes(4)  # disarmed while it is written
        self.memory[at + 4:at + SIZE] = struct.pack("<III96s140sI", ACTIONS[action], 0, passes, point.encode(), user.encode(),
                                                      system_call(call) if argument is None else argument)
        self.memory[at:at + 4] = struct.pack("<I", count)
        return entry

    def hits(self, entry):
        return struct.unpack_from("<I", self.memory, entry * SIZE + 8)[0]

    def left(self, entry):
        return struct.unpack_from("<I", self.memory, entry * SIZE)[0]

    def disarm(self):
        for entry in range(ENTRIES):
            self.memory[entry * SIZE:entry * SIZE + 4] = bytes(4)


class FaultCluster(Cluster):
    """A cluster whose workers have fault points. Budgets are wide unless a test sets them: it is not quarantine that is
    tried here, but every single death."""
    SETTINGS = {"workers.max_restarts": 1000, "workers.backoff_first_ms": 1, "workers.backoff_cap_ms": 20,
                "workers.unresponsive_s": 2, "sessions.heartbeat_ms": 100}

    breaks_its_programs = True

    def __init__(self, settings=None, **options):
        # cosignerd looks for cosigner-worker beside itself.
        self.programs = pathlib.Path(tempfile.mkdtemp(prefix="cosigner-faults-"))
        shutil.copy(BIN / "cosignerd", self.programs / "cosignerd")
        os.symlink(PROGRAM, self.programs / "cosigner-worker")
        super().__init__(settings=dict(self.SETTINGS, **(settings or {})), programs=self.programs, **options)
        self.faults = {node: FaultPoints(self.home / f"node{node}" / "state") for node in range(1, self.nodes + 1)}

    def __exit__(self, kind, value, trace):
        super().__exit__(kind, value, trace)
        shutil.rmtree(self.programs, ignore_errors=True)

    def restart_node(self, node):
        """Like Cluster.restart_node(), with this cluster's programs."""
        self.devcluster("--programs", self.programs, "start", "--dir", self.home, "--node", node)
