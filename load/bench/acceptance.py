#!/usr/bin/env python3
"""What accepting a job costs, beside creating an item: CPU time of the function's process alone, in one run.

Each function runs under a Lambda Runtime API loop on loopback, over the embedded database and queue; its rounds are
interleaved with the other's. Fails if accepting costs more than 2.5 times as much.

Usage: load/acceptance.py [--rounds 5] [--invocations 600] [--no-build]
"""
import argparse, json, statistics, subprocess, sys, urllib.request

from bench import ROOT, event, run, start

BUDGET = 2.5
FUNCTIONS = {
    "create-item": ("/items", {"name": "An item", "description": "Of no importance."}),
    "analyze": ("/analyze", {"text": "A short text about a long day."}),
    "send-email": ("/send-email", {"to": "bench@example.com", "subject": "Hello", "text": "A line."}),
}


def call(url, method, path, body, token=None):
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url + path, json.dumps(body).encode(), headers, method=method)
    return json.load(urllib.request.urlopen(request))


def post(path, body, token):
    made = json.loads(event("POST", path, None, token))
    made["headers"]["Content-Type"] = "application/json"
    made["multiValueHeaders"]["Content-Type"] = ["application/json"]
    return json.dumps(made | {"body": json.dumps(body)}).encode()


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
    local, lines = start([str(ROOT / "target/debug/local"), "--ephemeral", "--port", "0"],
                         {"api": "API answers at ", "database": "database answers at ", "queue": "queues answer at "})
    try:
        session = call(lines["api"], "POST", "/auth/register", {"email": "bench@example.com",
                       "password": "correct horse battery", "name": "Bench", "org_name": "Bench"})
        call(lines["api"], "PUT", f"/orgs/{session['org']['id']}/plan", {"plan": "enterprise"}, session["token"])
        environment = {"CACHE_URL": "off:", "AWS_ENDPOINT_URL_DYNAMODB": lines["database"], "AWS_ENDPOINT_URL_SQS": lines["queue"],
                       "JOBS_QUEUE_URL": f"{lines['queue']}/000000000000/JobsQueue", "ANALYSIS_PROVIDER": "builtin"}
        count, warmup = options.invocations, options.invocations // 10
        figures = {name: [] for name in FUNCTIONS}
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            for name, (path, body) in FUNCTIONS.items():
                cpu, _, _ = run(str(ROOT / "target/release" / name), [post(path, body, session["token"])] * count,
                                environment, expected=(201, 202))
                figures[name].append((cpu[-1] - cpu[warmup]) / (count - warmup) / 1e3)
    finally:
        local.terminate()
        local.wait()
    medians = {name: statistics.median(values) for name, values in figures.items()}
    print("| function | CPU per invocation | times create-item |\n|---|---|---|")
    for name, median in medians.items():
        print(f"| {name} | {median:.0f} µs | {median / medians['create-item']:.2f} |")
    if max(medians.values()) > BUDGET * medians["create-item"]:
        sys.exit(f"accepting a job costs more than {BUDGET} times an item")


if __name__ == "__main__":
    main()
