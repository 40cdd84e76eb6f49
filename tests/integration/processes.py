"""What /proc says about a node's workers, watched while a test runs."""
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


def children(pid):
    """Direct children, cheaply: one small file."""
    try:
        return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def workers(supervisor):
    """{user: [(pid, generation), …]} of the workers that live under a supervisor. A zombie is dead."""
    found = {}
    for pid in children(supervisor):
        named = title(pid)
        if named and state(pid) not in "ZX":
            found.setdefault(named[0], []).append((pid, named[1]))
    return found


def living_in(directory):
    """Every process whose working directory is (or was) below `directory`: a node's whole tree, orphans included."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if str((entry / "cwd").readlink()).startswith(str(directory)) and state(entry.name) not in "ZX":
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                pass
    return found


class Watch:
    """Looks at the supervisors' children all the time: at most one living worker of each user, and no generation of one
    user seen as two processes."""

    def __init__(self, supervisors):
        self.supervisors = supervisors  # a function: {node: pid}
        self.halt, self.looks, self.doubled, self.owners = threading.Event(), 0, [], {}
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.halt.is_set():
            for node, supervisor in self.supervisors().items():
                for user, living in workers(supervisor).items():
                    if len(living) > 1:
                        # One may have died between the two looks: only what lives on together is a second worker.
                        still = [each for each in living if state(each[0]) not in "ZX"]
                        if len(still) > 1:
                            self.doubled.append((node, user, still))
                    for pid, generation in living:
                        if self.owners.setdefault((supervisor, user, generation), pid) != pid:
                            self.doubled.append((node, user, generation, pid, self.owners[supervisor, user, generation]))
            self.looks += 1
            time.sleep(0.002)  # a look takes about as long; nothing is waited for here

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.halt.set()
        self.thread.join()
