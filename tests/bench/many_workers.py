#!/usr/bin/env python3
"""Thousands of live workers on one node (its peers run only the users that are sampled): what a warm signature takes with
10 of them and with all, and what they cost the machine. Prints a report; asserts nothing about time.

usage: many_workers.py [--workers 5000] [--signatures 400] [--idle-seconds 30]

Takes root: it raises kernel.pid_max (each worker has six threads) and its own limit of descriptors where they are too
low, says so, and puts pid_max back. Everything stays on loopback and ends with the run.
"""
import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(here.parent / "integration"))
from cluster import BIN, Cluster, wait_until  # noqa: E402
from crowd import Crowd, add_crowd_initiator, configure_workers, restart  # noqa: E402

THREADS_EACH = 6


def meminfo():
    wanted = ("MemAvailable", "Slab", "KernelStack", "PageTables")
    out = {}
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in wanted:
            out[name] = int(rest.split()[0])
    return out


def processor_ms(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1000 // os.sysconf("SC_CLK_TCK")


def status_kib(pid, name):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    return 0


def private_kib(pid):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_"))


def nats_servers(cluster):
    """The servers of this cluster: their command line names its directory."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if b"nats-server" in command and str(cluster.home).encode() in command:
                found.append(int(entry.name))
    return found


def raise_limits(workers):
    said = []
    wanted_pids = workers * THREADS_EACH + 20000
    path = pathlib.Path("/proc/sys/kernel/pid_max")
    if int(path.read_text()) < wanted_pids:
        said.append(f"kernel.pid_max {path.read_text().strip()} -> {wanted_pids}")
        path.write_text(str(wanted_pids))
    threads = pathlib.Path("/proc/sys/kernel/threads-max")
    if int(threads.read_text()) < wanted_pids:
        said.append(f"kernel.threads-max {threads.read_text().strip()} -> {wanted_pids}")
        threads.write_text(str(wanted_pids))
    for name, limit, wanted in (("RLIMIT_NOFILE", resource.RLIMIT_NOFILE, 2 * workers + 4096),
                                ("RLIMIT_NPROC", resource.RLIMIT_NPROC, wanted_pids)):
        soft, hard = resource.getrlimit(limit)
        if hard != resource.RLIM_INFINITY and hard < wanted or soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(limit, (wanted, max(wanted, hard)))
            said.append(f"{name} {soft}/{hard} -> {wanted}/{max(wanted, hard)}")
    return said


def signatures(cluster, count):
    """p50, p90 and p99 in ms of warm signatures one after another, by cosignerctl bench, over 10 users."""
    env = dict(cluster.env, COSIGNER_SOCKET=str(cluster.socket(1)))
    run = subprocess.run([BIN / "cosignerctl", "--json", "bench", "sign", "--users", "10", "--concurrency", "1", "--count",
                          str(count)], env=env, capture_output=True, text=True, timeout=550)
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads(run.stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=5000)
    parser.add_argument("--signatures", type=int, default=400)
    parser.add_argument("--idle-seconds", type=float, default=30)
    options = parser.parse_args()
    pid_max = pathlib.Path("/proc/sys/kernel/pid_max").read_text().strip()
    try:
        print("limits raised:", "; ".join(raise_limits(options.workers)) or "none")
        measure(options)
    finally:
        pathlib.Path("/proc/sys/kernel/pid_max").write_text(pid_max)


def measure(options):
    with Cluster() as cluster:
        seed = add_crowd_initiator(cluster)
        configure_workers(cluster, max_workers=options.workers + 100, idle_timeout_s=86400)
        restart(cluster)
        signatures(cluster, 50)
        few = signatures(cluster, options.signatures)
        print("with few workers: ", json.dumps(few))
        base = meminfo()
        servers = nats_servers(cluster)
        server_before = [status_kib(pid, "VmRSS") for pid in servers]

        crowd = Crowd(cluster, seed, window=32)
        began = time.monotonic()
        users = [f"crowd{k}" for k in range(options.workers)]
        status = cluster.status()
        roles = {"supervisor": status["pid"], "zygote": status["zygote"]["pid"], "gateway": status["gateway"]["pid"],
                 "nats-server": servers[0]}
        for begin in range(0, len(users), 500):
            spent = {role: processor_ms(pid) for role, pid in roles.items()}
            some = users[begin:begin + 500]
            crowd.wake(some)
            each = {role: f"{(processor_ms(pid) - spent[role]) / len(some):.2f}" for role, pid in roles.items()}
            print(f"  {begin + len(some)} workers after {time.monotonic() - began:.1f} s; processor ms for each: {each}",
                  flush=True)
        crowd.control.close()

        def idle():
            workers = cluster.status()["workers"]
            return workers.get("ready", 0) >= options.workers and workers
        workers = wait_until(idle, 120, "all workers to be idle")
        supervisor = cluster.supervisor(1)
        gateway = cluster.status()["gateway"]["pid"]
        print("workers of node1:", json.dumps(workers))
        before, began = processor_ms(supervisor), time.monotonic()
        gateway_before, server_cpu = processor_ms(gateway), [processor_ms(pid) for pid in servers]
        time.sleep(options.idle_seconds)  # the thing measured is what happens in this time
        took = time.monotonic() - began
        print(f"supervisor, idle: {(processor_ms(supervisor) - before) / took / 10:.2f} % of a processor over {took:.0f} s;"
              f" gateway {(processor_ms(gateway) - gateway_before) / took / 10:.2f} %; nats-server "
              f"{sum(processor_ms(p) - b for p, b in zip(servers, server_cpu)) / took / 10:.2f} %")
        many = signatures(cluster, options.signatures)
        print("with all workers: ", json.dumps(many))

        pids = [user["pid"] for user in cluster.ctl("users")["users"] if user["user"].startswith("crowd") and user["pid"]]
        sample = pids[:: max(1, len(pids) // 200)]
        private = sorted(private_kib(pid) for pid in sample)
        threads = sum(len(os.listdir(f"/proc/{pid}/task")) for pid in sample) / len(sample)
        page_tables = sum(status_kib(pid, "VmPTE") for pid in sample) / len(sample)
        after = meminfo()
        print(f"worker private memory of {len(sample)}: p50 {private[len(private) // 2]} KiB, worst {private[-1]} KiB;"
              f" threads each {threads:.1f}; page tables each {page_tables:.0f} KiB")
        grown = {name: f"{(after[name] - base[name]) / 1024:+.0f} MiB" for name in after}
        print(f"the machine, against before: {json.dumps(grown)} (everything else on it included)")
        print(f"supervisor private {private_kib(supervisor) / 1024:.1f} MiB, descriptors "
              f"{len(os.listdir(f'/proc/{supervisor}/fd'))}; nats-server resident "
              f"{[round(k / 1024) for k in server_before]} -> "
              f"{[round(status_kib(pid, 'VmRSS') / 1024) for pid in servers]} MiB")


if __name__ == "__main__":
    main()
