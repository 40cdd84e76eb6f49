#!/usr/bin/env python3
"""Private memory of one user's worker: just after thousands of signatures, and as it comes to rest (1 s and 32 s after its
last work). Prints; asserts nothing.

usage: worker_memory.py [--signatures 5000] [--concurrency 8] [--seconds 40]
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "integration"))
from cluster import BIN, Cluster  # noqa: E402


def parts_kib(pid):
    """Private memory by mapping: heap, stacks and anonymous, libraries and the program."""
    out, name = {}, ""
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        first = line.split()[0]
        if not first.endswith(":"):
            fields = line.split(None, 5)
            name = fields[5] if len(fields) > 5 else "anonymous"
            name = name if name.startswith("[") or name == "anonymous" else "files"
        elif first in ("Private_Clean:", "Private_Dirty:"):
            out[name] = out.get(name, 0) + int(line.split()[1])
    return {"all": sum(out.values()), **{name: kib for name, kib in sorted(out.items()) if kib}}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--signatures", type=int, default=5000)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--seconds", type=int, default=40)
    options = parser.parse_args()
    with Cluster() as cluster:
        env = dict(cluster.env, COSIGNER_SOCKET=str(cluster.socket(1)))

        def bench(count):
            run = subprocess.run([BIN / "cosignerctl", "--json", "bench", "sign", "--users", "1", "--concurrency",
                                  str(options.concurrency), "--count", str(count)], env=env, capture_output=True, text=True, timeout=550)
            assert run.returncode == 0, run.stdout + run.stderr
            return json.loads(run.stdout)

        print("bench:", json.dumps(bench(options.signatures)))
        user = next(user for user in cluster.ctl("users")["users"] if user["pid"])
        began = time.monotonic()
        print(f"just after {options.signatures} signatures: {parts_kib(user['pid'])} KiB", flush=True)
        while time.monotonic() - began < options.seconds:  # what is shown is what ticks do in this time
            time.sleep(5)
            print(f"{time.monotonic() - began:4.0f} s later: {parts_kib(user['pid'])} KiB", flush=True)


if __name__ == "__main__":
    main()
