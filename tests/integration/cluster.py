"""A development cluster as a test sees it: started by cosigner-devcluster, asked through cosignerctl.

Nothing here sleeps and hopes: waits are for conditions, with a deadline that fails the test. Every process is
signalled by an id that was read from the node itself or from /proc, never by name across the machine.
"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import nacl.exceptions
import nacl.signing

from processes import living_in

# Topologies of a test: in a leaf topology interest takes time to spread. What is as much the same there as it can be is
# tried on it under --full only.
BOTH = ["single", "leaf"]
SINGLE_UNLESS_FULL = BOTH if "COSIGNER_TEST_FULL" in os.environ else ["single"]
LEAF_UNLESS_FULL = BOTH if "COSIGNER_TEST_FULL" in os.environ else ["leaf"]

BIN = pathlib.Path(os.environ.get("COSIGNER_BIN", pathlib.Path(__file__).parents[2] / "build" / "bin"))


class CommandFailed(Exception):
    def __init__(self, arguments, code, body, stderr):
        super().__init__(f"cosignerctl {' '.join(arguments)} ended with {code}: {body or stderr}")
        self.code, self.body, self.stderr = code, body, stderr
        self.error = body.get("error") if isinstance(body, dict) else None


def wait_until(condition, seconds, what):
    """The value of condition() as soon as it is true; fails naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        time.sleep(0.02)


def verifies(public_key_hex, message, signature_hex):
    """libsodium's verdict (python3-nacl)."""
    try:
        nacl.signing.VerifyKey(bytes.fromhex(public_key_hex)).verify(message, bytes.fromhex(signature_hex))
        return True
    except nacl.exceptions.BadSignatureError:
        return False


def openssl_verifies(public_key_hex, message, signature_hex):
    """OpenSSL's verdict, by its command."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        # SubjectPublicKeyInfo of an Ed25519 key (RFC 8410): a fixed prefix and the 32 bytes.
        (folder / "key.der").write_bytes(bytes.fromhex("302a300506032b6570032100" + public_key_hex))
        (folder / "message").write_bytes(message)
        (folder / "signature").write_bytes(bytes.fromhex(signature_hex))
        run = subprocess.run(
            ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", folder / "key.der", "-rawin",
             "-in", folder / "message", "-sigfile", folder / "signature"], capture_output=True)
        return run.returncode == 0


def children(pid):
    """Direct children of a process: {pid: command name}."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)
                if int(fields[1].split()[1]) == pid:
                    found[int(entry.name)] = fields[0].split("(", 1)[1]
            except (FileNotFoundError, ProcessLookupError):
                pass
    return found


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def command_line(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return [""]


def sanitizer_reports(directory):
    """What any sanitizer said in any log. A report need not fail a request: others do the work of a process that it ended."""
    return [f"{path.name}: {line}" for path in sorted(directory.glob("**/*.log"))
            for line in path.read_text(errors="replace").splitlines()
            if re.search(r"(Address|Leak|Thread|Memory|UndefinedBehavior)Sanitizer: ?|: runtime error: ", line)]


class Cluster:
    def __init__(self, nodes=3, threshold=2, topology="single", idle_timeout=None, settings=None, programs=None):
        """`settings`: {"table.key": value} of every node's cosigner.toml; `programs`: another folder of cosignerd."""
        self.nodes, self.threshold, self.topology = nodes, threshold, topology
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="cosigner-test-"))
        command = [BIN / "cosigner-devcluster", "up", "--dir", self.dir / "c", "--nodes", str(nodes), "--threshold",
                   str(threshold), "--topology", topology]
        if idle_timeout is not None:
            command += ["--idle-timeout", str(idle_timeout)]
        if programs is not None:
            command += ["--programs", programs]
        for name, value in (settings or {}).items():
            command += ["--set", f"{name}={value}"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if run.returncode != 0:
            raise AssertionError(f"devcluster up failed: {run.stdout}{run.stderr}\n{self.logs()}")
        self.home = self.dir / "c"
        env = subprocess.run(["bash", "-c", f"set -a; . '{self.home}/env'; env -0"], capture_output=True, check=True)
        self.env = dict(item.split("=", 1) for item in env.stdout.decode().split("\0") if "=" in item)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        for pid in self.stopped_pids:
            if alive(pid):
                os.kill(pid, signal.SIGCONT)
        down = subprocess.run([BIN / "cosigner-devcluster", "down", "--dir", self.home], capture_output=True, text=True,
                              timeout=120)
        if kind is not None:
            print(self.logs())
        deadline = time.monotonic() + 5  # what dies with its parent may take a moment
        while (left := self.left_over()) and time.monotonic() < deadline:
            time.sleep(0.02)
        found = sanitizer_reports(self.dir)
        shutil.rmtree(self.dir, ignore_errors=True)
        if kind is None:
            assert down.returncode == 0, f"devcluster down: {down.stdout}{down.stderr}"
            assert left == [], f"they live on after devcluster down: {left}"
            assert self.breaks_its_programs or not found, "\n".join(found)

    def left_over(self):
        """What devcluster has started and not ended: cosignerd and nats-server by their arguments, and by its working directory
        whatever is below a cosignerd."""
        below = living_in(self.dir)
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) not in below and alive(int(entry)):
                words = command_line(entry)
                if words[0].endswith(("/cosignerd", "nats-server")) and any(str(self.dir) in word for word in words):
                    below.append(int(entry))
        return [(pid, command_line(pid)) for pid in below]

    stopped_pids = ()
    breaks_its_programs = False  # a sanitizer's report is no news then

    def logs(self):
        """Of each log what went wrong last, and its end: thousands of requests may lie between."""
        shown = []
        for path in sorted(self.dir.glob("**/*.log")):
            text = path.read_text(errors="replace")
            trouble = re.findall(r"^\S+ (?:warning|error|critical) .*$", text[:-6000], re.MULTILINE)[-40:]
            shown.append("\n".join([f"--- {path}", *(line[:300] for line in trouble), text[-6000:]]))
        return "\n".join(shown)

    def log(self, node):
        """All of one node's log."""
        return (self.home / f"node{node}" / "cosignerd.log").read_text(errors="replace")

    # -- the nodes ------------------------------------------------------------------------------------------------
    def socket(self, node):
        return self.home / f"node{node}" / "control.sock"

    def ctl(self, *arguments, node=1, stdin=None, timeout=90):
        """Runs cosignerctl --json; its object, or CommandFailed with the typed error."""
        env = dict(self.env, COSIGNER_SOCKET=str(self.socket(node)))
        words = [str(argument) for argument in arguments]
        run = subprocess.run([BIN / "cosignerctl", "--json", *words], env=env, input=stdin, capture_output=True,
                             timeout=timeout)
        try:
            body = json.loads(run.stdout) if run.stdout.strip() else None
        except json.JSONDecodeError:
            body = None
        if run.returncode != 0:
            raise CommandFailed(words, run.returncode, body, run.stderr.decode(errors="replace"))
        return body

    def events(self, node=1):
        """What the node remembers, oldest first."""
        run = subprocess.run([BIN / "cosignerctl", "--json", "events"], capture_output=True, text=True, check=True, timeout=90,
                             env=dict(self.env, COSIGNER_SOCKET=str(self.socket(node))))
        return [json.loads(line) for line in run.stdout.splitlines() if '"what"' in line]

    def status(self, node=1):
        return self.ctl("status", node=node)

    def supervisor(self, node):
        return self.status(node)["pid"]

    def broker(self, node=1):
        """The nats-server that this node is connected to (in a leaf topology its own), from the cluster's configuration files."""
        port = self.status(node)["broker"]["url"].rsplit(":", 1)[1]
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                command = command_line(entry)
                if command[0].endswith("nats-server") and any(str(self.dir) in word for word in command):
                    configuration = next(word for word in command if str(self.dir) in word)
                    if port in open(configuration).read():
                        return int(entry)
        raise AssertionError(f"no nats-server of this cluster listens on {port}")

    def user(self, user, node=1):
        for entry in self.ctl("users", node=node)["users"]:
            if entry["user"] == user:
                return entry
        return None

    def worker(self, user, node=1):
        entry = self.user(user, node)
        return entry["pid"] if entry and entry.get("pid") else None

    def evict(self, user, node=1):
        """Evicts as soon as the worker agrees (it stays while anything is in flight), and waits until it is gone."""
        pid = self.worker(user, node)

        def evicted():
            try:
                self.ctl("evict", "--user", user, node=node)
                return True
            except CommandFailed as failure:
                assert failure.error in ("conflict", "unknown_user"), failure
                return failure.error == "unknown_user"
        wait_until(evicted, 10, f"node{node} to let {user}'s worker go")
        wait_until(lambda: pid is None or not alive(pid), 10, f"{user}'s evicted worker to be gone")

    def restart_node(self, node):
        """Starts a killed cosignerd again the way devcluster did, and waits until it is ready."""
        self.devcluster("start", "--dir", self.home, "--node", node)

    @staticmethod
    def devcluster(*arguments, under=()):
        """`under`: a command that starts it, such as prlimit."""
        run = subprocess.run([*under, BIN / "cosigner-devcluster", *map(str, arguments)], capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, run.stdout + run.stderr

    def wait_ready(self, node, seconds=20):
        def ready():
            try:
                status = self.status(node)
                return status["ready"] and all(peer["present"] for peer in status["peers"])
            except CommandFailed:
                return False
        wait_until(ready, seconds, f"node{node} to be ready and to see its peers")

    def stop_process(self, pid):
        os.kill(pid, signal.SIGSTOP)
        self.stopped_pids = (*self.stopped_pids, pid)

    def continue_process(self, pid):
        """A worker that was silent for too long (unresponsive_s) has been killed by then: that is its supervisor's duty."""
        if alive(pid):
            os.kill(pid, signal.SIGCONT)

    # -- keys and signatures ----------------------------------------------------------------------------------------
    def keygen(self, user, key="k", threshold=None, node=1, scheme="ed25519", **options):
        return self.ctl("keygen", "--user", user, "--key", key, "--scheme", scheme, "--threshold",
                        threshold or self.threshold, node=node, **options)

    def sign(self, user, message, key="k", node=1, **options):
        """A verified signature's JSON; the message goes in by standard input."""
        return self.ctl("sign", "--user", user, "--key", key, "-", node=node, stdin=message, **options)

    def sign_and_verify(self, user, public_key, message, key="k", node=1):
        answer = self.sign(user, message, key, node)
        assert answer["public_key"] == public_key
        assert verifies(public_key, message, answer["signature"])
        return answer


class SigningClients:
    """Client threads that sign one message after another until stopped, each through one of `nodes`, which stay up."""

    def __init__(self, cluster, users, public_keys, clients, nodes=(1,)):
        self.cluster, self.users, self.public_keys, self.nodes = cluster, users, public_keys, nodes
        self.halt = threading.Event()
        self.done, self.failures, self.slowest = 0, [], 0.0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, args=(k,)) for k in range(clients)]

    def _run(self, number):
        user = self.users[number % len(self.users)]
        node = self.nodes[number // len(self.users) % len(self.nodes)]  # of each user's clients one after another
        count = 0
        while not self.halt.is_set():
            message = f"client {number} message {count}".encode()
            count += 1
            begin = time.monotonic()
            try:
                failure = None if self.signs(user, message, node) else "signature does not verify"
            except (CommandFailed, subprocess.TimeoutExpired) as error:
                failure = str(error)
            took = time.monotonic() - begin
            with self.lock:
                self.done += 1
                self.slowest = max(self.slowest, took)
                if failure:
                    self.failures.append(failure)

    def signs(self, user, message, node):
        answer = self.cluster.sign(user, message, node=node)
        return verifies(self.public_keys[user], message, answer["signature"])

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def wait_for(self, more, seconds=60):
        """Waits until `more` further signatures are done."""
        target = self.done + more
        wait_until(lambda: self.done >= target, seconds, f"{more} more signatures")

    def __exit__(self, *_):
        self.halt.set()
        for thread in self.threads:
            thread.join(120)
