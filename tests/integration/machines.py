"""Machines that become a cluster by the operator's commands alone: cosignerctl init, peers export and import. Each is a directory and,
where the kernel lets us, a network namespace of its own: nothing but the hub's address leads from one to another.
"""
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile

from cluster import BIN, wait_until

NATS_SERVER = shutil.which("nats-server", path=os.environ["PATH"] + ":/usr/sbin")


def free_port(address="127.0.0.1"):
    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


def tree(directory):
    """Every file with a digest of what is in it."""
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(directory.rglob("*")) if path.is_file()}


class Machine:
    def __init__(self, number, home, prefix, broker_port, hub_port):
        self.number, self.name, self.home, self.prefix = number, f"node{number}", home, prefix
        self.broker, self.hub = f"127.0.0.1:{broker_port}", f"127.0.0.1:{hub_port}"
        self.processes = []

    def ctl(self, *words, status=0, stdin=b"", env=None):
        """cosignerctl --json on this machine; its object. `status`: the exit status it must end with."""
        run = subprocess.run([*self.prefix, BIN / "cosignerctl", "--json", *map(str, words)], input=stdin,
                             capture_output=True, timeout=90,
                             env={**os.environ, "COSIGNER_SOCKET": str(self.home / "control.sock"), **(env or {})})
        assert run.returncode == status, f"{self.name}: {words}: {run.returncode}: {run.stdout} {run.stderr}"
        return json.loads(run.stdout)

    def init(self, *words, **more):
        return self.ctl("init", "--dir", self.home, "--cluster", "trio", "--node", self.name, "--broker-listen",
                        self.broker, "--hub-listen", self.hub, *words, **more)

    def imports(self, *files, **more):
        return self.ctl("peers", "import", "--dir", self.home, *files, **more)

    def start(self, *command):
        log = open(self.home / f"{pathlib.Path(command[0]).name}-{len(self.processes)}.log", "wb")
        self.processes.append(subprocess.Popen([*self.prefix, *map(str, command)], stdout=log, stderr=log,
                                               stdin=subprocess.DEVNULL))
        return self.processes[-1]

    def logs(self):
        return "\n".join(f"--- {path}\n{path.read_text(errors='replace')[-3000:]}" for path in sorted(self.home.glob("*.log")))


@contextlib.contextmanager
def machines(namespaces):
    """Three, with the hub's address. Everything that was started ends here, by its id."""
    root = pathlib.Path(tempfile.mkdtemp(prefix="cosigner-setup-"))
    made, all_machines = [], []
    try:
        if namespaces:
            bridge = f"cs{os.getpid()}-0"
            subprocess.run(["ip", "netns", "add", bridge], check=True)
            made.append(bridge)
            inside = ["ip", "netns", "exec", bridge]
            subprocess.run([*inside, "ip", "link", "add", "bridge", "type", "bridge"], check=True)
            subprocess.run([*inside, "ip", "link", "set", "bridge", "up"], check=True)
        for k in (1, 2, 3):
            prefix = []
            if namespaces:
                name = f"cs{os.getpid()}-{k}"
                subprocess.run(["ip", "netns", "add", name], check=True)
                made.append(name)
                prefix = ["ip", "netns", "exec", name]
                for command in (["ip", "link", "set", "lo", "up"],
                                ["ip", "link", "add", "wire", "type", "veth", "peer", "name", f"port{k}", "netns", bridge],
                                ["ip", "address", "add", f"10.213.0.{k}/24", "dev", "wire"],
                                ["ip", "link", "set", "wire", "up"]):
                    subprocess.run([*prefix, *command], check=True)
                for command in (["ip", "link", "set", f"port{k}", "master", "bridge"],
                                ["ip", "link", "set", f"port{k}", "up"]):
                    subprocess.run([*inside, *command], check=True)
            home = root / f"m{k}"
            home.mkdir()
            ports = (4222, 4223) if namespaces else (free_port(), free_port())
            all_machines.append(Machine(k, home, prefix, *ports))
        yield all_machines, "10.213.0.1:7422" if namespaces else f"127.0.0.1:{free_port()}"
    except BaseException:
        for machine in all_machines:
            print(machine.logs())
        raise
    finally:
        for machine in all_machines:
            for process in reversed(machine.processes):
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                    try:
                        process.wait(20)
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.wait(10)
        for name in reversed(made):
            subprocess.run(["ip", "netns", "delete", name])
        shutil.rmtree(root, ignore_errors=True)


def namespaces_work():
    """None, or why not."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"cs{os.getpid()}-probe"
    run = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if run.returncode != 0:
        return f"ip netns add: {run.stderr.strip()}"
    try:
        run = subprocess.run(["ip", "netns", "exec", name, "ip", "link", "add", "bridge", "type", "bridge"],
                             capture_output=True, text=True)
        return None if run.returncode == 0 else f"no bridges here: {run.stderr.strip()}"
    finally:
        subprocess.run(["ip", "netns", "delete", name])


def meet(trio, hub):
    """From empty directories to nodes that know each other; what init said of each node."""
    first, *others = trio
    said = [first.init("--first", "--hub", hub, "--recovery-file", first.home / "recovery.txt")]
    said += [machine.init("--join") for machine in others]
    for machine, other in zip(trio, said):
        exported = machine.ctl("peers", "export", "--dir", machine.home)
        assert exported["fingerprint"] == other["fingerprint"]
        assert exported["authority"] == (said[0]["authority"] if machine is first else None)
        (machine.home / "exported.card").write_text(exported["card"])
    # As if copied to the first machine, and the bundle back.
    cards = [machine.home / "exported.card" for machine in others]
    plan = first.imports(*cards, "--yes")
    assert {node["node"]: (node["fingerprint"], node["status"]) for node in plan["nodes"]} == {
        machine.name: (one["fingerprint"], "new") for machine, one in zip(others, said[1:])}
    for machine in others:
        plan = machine.imports(first.home / "cluster.bundle", "--yes")
        assert [node["fingerprint"] for node in plan["nodes"]] == [one["fingerprint"] for one in said]
        assert {node["node"]: node["status"] for node in plan["nodes"]}[machine.name] == "this node"
        assert plan["authority"] == {"fingerprint": said[0]["authority"], "status": "new"}
        assert [(one["name"], one["fingerprint"], one["status"]) for one in plan["initiators"]] == [
            ("operator", said[0]["initiator"], "new")]
    return said


def sees_all(running, nodes):
    """Waits until each of these machines is ready and sees so many nodes, itself included."""
    def ready(machine):
        run = subprocess.run([*machine.prefix, BIN / "cosignerctl", "--json", "--socket",
                              machine.home / "control.sock", "status"], capture_output=True)
        status = json.loads(run.stdout) if run.returncode == 0 else {}
        return status.get("ready") and [peer["present"] for peer in status["peers"]] == [True] * nodes
    for machine in running:
        wait_until(lambda: ready(machine), 40, f"{machine.name} to be ready and to see {nodes} nodes")
