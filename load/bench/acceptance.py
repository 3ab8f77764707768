#!/usr/bin/env python3
"""What accepting a job costs, beside creating an item: CPU time of the function's process alone, in one run.

Each function runs under a Lambda Runtime API loop on loopback, over the embedded database and queue; its rounds are
interleaved with the other's. Fails if accepting costs more than 2.5 times as much.

Usage: load/bench/acceptance.py [--rounds 5] [--invocations 600] [--no-build]
"""
import argparse, statistics, subprocess, sys

from runtime_api import ROOT, run
from system import System, event

BUDGET = 2.5
FUNCTIONS = {
    "create-item": ("/items", {"name": "An item", "description": "Of no importance."}),
    "analyze": ("/analyze", {"text": "A short text about a long day."}),
    "send-email": ("/send-email", {"to": "bench@example.com", "subject": "Hello", "text": "A line."}),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--invocations", type=int, default=600)
    parser.add_argument("--no-build", action="store_true", help="measure what is built already")
    options = parser.parse_args()
    if not options.no_build:
        binaries = [word for name in FUNCTIONS for word in ("--bin", name)]
        subprocess.run(["cargo", "build", "--workspace", "--release", *binaries], cwd=ROOT, check=True)
        # Not measured itself, and quicker to build like this.
        subprocess.run(["cargo", "build", "--workspace", "--bin", "local", "--test", "suite"], cwd=ROOT, check=True)
    with System(ROOT / "target/debug/local") as system:
        token = system.register("acceptance")["token"]
        environment = system.plain | {"CACHE_URL": "off:"}
        count, warmup = options.invocations, options.invocations // 10
        figures = {name: [] for name in FUNCTIONS}
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            for name, (path, body) in FUNCTIONS.items():
                cpu, _, _ = run(str(ROOT / "target/release" / name), [event("POST", path, None, token, body)] * count,
                                environment, expected=(201, 202))
                figures[name].append((cpu[-1] - cpu[warmup]) / (count - warmup) / 1e3)
    medians = {name: statistics.median(values) for name, values in figures.items()}
    print("| function | CPU per invocation | times create-item |\n|---|---|---|")
    for name, median in medians.items():
        print(f"| {name} | {median:.0f} µs | {median / medians['create-item']:.2f} |")
    if max(medians.values()) > BUDGET * medians["create-item"]:
        sys.exit(f"accepting a job costs more than {BUDGET} times an item")


if __name__ == "__main__":
    main()
