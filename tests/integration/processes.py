"""What /proc says about a node's workers, watched while a test runs."""
import os
import pathlib
import threading
import time


def title(pid):
    """A worker's user and generation from its title ("cosigner: USER GENERATION"); None for anything else."""
    try:
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0", 1)[0].decode(errors="replace").split(" ")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return (words[1], int(words[2])) if len(words) == 3 and words[0] == "cosigner:" and words[2].isdigit() else None


def state(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def living_in(directory):
    """Every process whose working directory is (or was) below `directory`: a node's whole tree, orphans included. Of those
    that are not dumpable (all workers) only root learns it: whoever expects nobody must have seen somebody before."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if str((entry / "cwd").readlink()).startswith(str(directory)) and state(entry.name) not in "ZX":
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                pass
    return found


def workers_in(*directories):
    """[(directory, user, generation, pid), …] of the workers that live in the nodes' directories, whoever their parent is."""
    found = []
    for entry in os.listdir("/proc"):
        named = title(entry) if entry.isdigit() else None
        if named:
            try:
                home = os.readlink(f"/proc/{entry}/cwd")
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            found += [(directory, *named, int(entry)) for directory in directories
                      if home.startswith(str(directory)) and state(entry) not in "ZX"]
    return found


class Watch:
    """Looks at the nodes' workers all the time: at most one living of each user, also where one that a killed supervisor
    has left meets the next supervisor's, and no generation of one user seen as two processes."""

    def __init__(self, *directories):
        self.directories = directories
        self.halt, self.looks, self.doubled, self.owners = threading.Event(), 0, [], {}
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.halt.is_set():
            living = {}
            for directory, user, generation, pid in workers_in(*self.directories):
                living.setdefault((directory, user), []).append(pid)
                if self.owners.setdefault((directory, user, generation), pid) != pid:
                    self.doubled.append((directory, user, generation, pid, self.owners[directory, user, generation]))
            for owner, pids in living.items():
                # One may have died between the two looks: only what lives on together is a second worker.
                still = [pid for pid in pids if state(pid) not in "ZX"]
                if len(still) > 1:
                    self.doubled.append((*owner, still))
            self.looks += 1
            time.sleep(0.002)  # a look takes about as long; nothing is waited for here

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.halt.set()
        self.thread.join()
