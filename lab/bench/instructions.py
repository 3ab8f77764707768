#!/usr/bin/env python3
"""Counts the instructions that the deployed functions execute, and fails where one takes 3 % more than it did.

The binaries that `just build --release` makes run under callgrind (through gungraun: lab/instructions) with this process as
their Lambda Runtime API, over the local system's database and a Redis; only they are counted. The figure of an
invocation is the difference of two runs of different length, so that start and end drop out; the cold start's is the
whole run of one invocation. What disturbs a run adds instructions and never takes any, and
mostly makes the function warn (a cache that answers late): such a run does not count. What is above the limit or did not
count is run again, thrice at most, and the lowest total of each length is taken.

What part get-user takes of the same function written by hand (lab/yardstick) is told, and not judged: by turns it is (`just bench`).
Valgrind has no instructions for SHA-256, so the tag of a reply takes 3.8 % of a hit here and next to nothing on the processors that run it;
by hand there is no tag.

The baseline is that of a trained build. A compiler that finds nothing of its functions in a profile says no word, but its counts
are a tenth above it.

Usage: lab/bench/instructions.py [--renew --reason WHY] [--runs N] [--binaries FOLDER] [--local BINARY] [--yardstick BINARY]
"""
import argparse, json, math, os, pathlib, platform, re, shutil, subprocess, sys, tempfile, time
from runtime_api import ROOT, RuntimeApi, variables
from system import System, event

BASELINE = ROOT / "lab/instructions/baseline.json"
TOLERANCE_PERCENT = 3
SHORT, LONG = 50, 250
# Of a count of get-user's, the one by hand.
BY_HAND = {"get-user, hit": "by hand, hit", "get-user, miss": "by hand, miss"}


def scenarios(system):
    """By name: the function (None: the one by hand), its events for a number of invocations, and the status of its replies."""
    session = system.register("instructions")
    token, org = session["token"], session["org"]["id"]
    system.call("POST", "/items", {"items": [{"name": f"Item {n}", "description": "Of some importance."} for n in range(20)]}, token)
    one, = system.users(1)
    profile = lambda user: event("GET", f"/users/{user}", {"user_id": user})
    plan, page = event("GET", f"/orgs/{org}/plan", {"org_id": org}, token), event("GET", "/items", None, token)
    item = event("POST", "/items", None, token, {"name": "An item", "description": "Of no importance."})
    hit, miss = lambda count: [profile(one)] * count, lambda count: [profile(user) for user in system.users(count)]
    return {
        "get-user, hit": ("get-user", hit, 200),
        "get-user, miss": ("get-user", miss, 200),
        "by hand, hit": (None, hit, 200),
        "by hand, miss": (None, miss, 200),
        "get-org-plan": ("get-org-plan", lambda count: [plan] * count, 200),
        "list-items": ("list-items", lambda count: [page] * count, 200),
        "create-item": ("create-item", lambda count: [item] * count, 201),
    }


def served(system, events, status):
    """A Runtime API for one run. The cache is empty at its start; the pauses after the first invocations let the
    connections be made, whatever the machine does besides."""
    def asked(n):
        if n == 0:
            system.forget_cache()
        elif n < 4:
            time.sleep(0.3)

    return RuntimeApi(events, (status,), asked, ends=True)


def count(system, known, names, binaries, yardstick):
    """Instructions of each run, by name and number of invocations; infinite where the run was disturbed."""
    runs = {}
    by_hand = system.plain | {"AWS_ENDPOINT_URL": system.database}
    for name in names:
        function, events, status = known.get(name) or known["get-user, miss"]
        for length in (1,) if name == "cold start" else (SHORT, LONG):
            identifier = f"{re.sub('[^a-z]+', '_', name)}_{length}"
            program, variables_of = (binaries / function / "bootstrap", system.plain) if function else (yardstick, by_hand)
            runs[identifier] = name, length, program, variables_of, served(system, events(length), status)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        plan = folder / "plan.json"
        plan.write_text(json.dumps([
            {"id": identifier, "program": str(program.resolve()), "environment": variables(api, variables_of),
             "output": str(folder / identifier)} for identifier, (_, _, program, variables_of, api) in runs.items()]))
        totals = callgrind(plan, folder)
        by_name = {}
        for identifier, (name, length, _, _, api) in runs.items():
            api.close()
            warnings = [line for line in (folder / identifier).read_text().splitlines() if '"level":"WARN"' in line]
            if disturbance := (api.bad or warnings or [f"{api.sent} events"] * (api.sent < length)):
                print(f"{name}, {length} invocations, not counted: {disturbance[0]}", file=sys.stderr)
                totals[identifier] = math.inf
            by_name.setdefault(name, {})[length] = totals[identifier]
    return by_name


def per_invocation(totals):
    """The instructions of an invocation, from those of runs by their length; infinite where no run went right."""
    if math.inf in totals.values():
        return math.inf
    return totals[1] if 1 in totals else (totals[LONG] - totals[SHORT]) // (LONG - SHORT)


def callgrind(plan, folder):
    """Instructions of each run, start to end, by its identifier."""
    # Small, and not what is measured: no need to wait for its optimization.
    command = ["cargo", "bench", "--quiet", "--locked", "-p", "instructions", "--features", "gungraun", "--profile", "dev",
               "--bench", "functions", "--", "--output-format=json", f"--home={folder}/gungraun"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=os.environ | {"INSTRUCTIONS_PLAN": str(plan)})
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-1000:]}\n{done.stderr[-4000:]}")
    return {one["id"]: instructions(one) for one in map(json.loads, done.stdout.splitlines())}


def instructions(summary):
    """The instructions that gungraun's summary of one run tells."""
    return summary["profiles"][0]["data"]["total"]["metrics"]["Ir"]["values"]["new"]


def judge(counts, baseline):
    """A line for each figure, and the names of those that are more than they may."""
    lines, over = [], []
    for name, now in counts.items():
        before = baseline.get(name)
        if before is None or now == math.inf:
            over.append(name)
            lines.append(f"{name:<16}" + (f"{now:>12,}  has no baseline" if before is None else "could not be counted"))
            continue
        remark = ""
        if 100 * now > (100 + TOLERANCE_PERCENT) * before:
            over.append(name)
            remark = f"  more than +{TOLERANCE_PERCENT} %"
        elif 100 * now < (100 - TOLERANCE_PERCENT) * before:
            remark = "  less: renew the baseline, so that it stays so"
        lines.append(f"{name:<16}{now:>12,}  baseline {before:>12,}  {now / before - 1:+.2%}{remark}")
    return lines, over


def ours(counts):
    """Those that have a baseline: what is by hand only changes with its libraries."""
    return {name: count for name, count in counts.items() if name not in BY_HAND.values()}


def beside(counts):
    """A line for each count that there is one of by hand for."""
    return [f"{name:<16}{counts[name] / counts[other]:>12.3f}  of that by hand" for name, other in BY_HAND.items()
            if name in counts and math.inf not in (counts[name], counts[other])]


def lowest(rounds):
    """The count of each name, from the lowest total of each of its runs over the rounds."""
    found = {}
    for name, totals in (pair for one in rounds for pair in one.items()):
        kept = found.setdefault(name, dict(totals))
        for length, total in totals.items():
            kept[length] = min(kept[length], total)
    return {name: per_invocation(totals) for name, totals in found.items()}


def renewed(baseline, counts, made_with, reason):
    """The baseline with new counts. What rises needs a reason, which is kept.

    Raises ValueError without one."""
    raised = {name: [baseline["counts"][name], now] for name, now in counts.items() if now > baseline["counts"].get(name, now)}
    if raised and not reason:
        raise ValueError(f"rises, so say why with --reason: {', '.join(raised)}")
    raises = baseline["raised"] + ([{"reason": reason, "counts": raised}] if raised else [])
    return {"made_with": made_with, "counts": counts, "raised": raises}


def tools():
    """What the counts depend on besides the code and how it was built."""
    version = lambda *command: subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    return {"rustc": version("rustc", "--version"), "valgrind": version("valgrind", "--version"),
            "libc": " ".join(platform.libc_ver())}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--renew", action="store_true", help="write lab/instructions/baseline.json anew")
    parser.add_argument("--reason", help="why a count of the baseline rises")
    parser.add_argument("--runs", type=int, help="count so many times, print each, judge nothing")
    parser.add_argument("--binaries", type=pathlib.Path, default=ROOT / "target/lambda")
    parser.add_argument("--local", type=pathlib.Path, default=ROOT / "target/debug/local")
    parser.add_argument("--yardstick", type=pathlib.Path, default=ROOT / "target/release/yardstick")
    options = parser.parse_args()
    for needed in ("valgrind", "gungraun-runner", "redis-server"):
        if not shutil.which(needed):
            sys.exit(f"{needed} is missing: .ci/install-tools.sh installs it")
    if not (options.binaries / "get-user/bootstrap").exists():
        sys.exit(f"no functions in {options.binaries}: run `just build --release` first")
    if not options.local.exists():
        subprocess.run(["cargo", "build", "--workspace", "--bin", "local", "--test", "suite"], cwd=ROOT, check=True)
    if not options.yardstick.exists():
        subprocess.run(["cargo", "build", "--release", "--package", "yardstick"], cwd=ROOT, check=True)
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {"made_with": {}, "counts": {}, "raised": []}
    with System(options.local) as system:
        known = scenarios(system)
        names = [*known, "cold start"]
        again = lambda names: count(system, known, names, options.binaries, options.yardstick)
        if options.runs:
            for _ in range(options.runs):
                print(json.dumps(lowest([again(names)])), flush=True)
            return
        rounds = [again(names)]
        if options.renew:
            rounds += [again(names), again(names)]
            if math.inf in lowest(rounds).values():
                sys.exit("something disturbed all three runs")
            try:
                new = renewed(baseline, ours(lowest(rounds)), tools(), options.reason)
            except ValueError as error:
                sys.exit(str(error))
            BASELINE.write_text(json.dumps(new, indent=2, sort_keys=True) + "\n")
        while (over := judge(ours(lowest(rounds)), baseline["counts"])[1]) and not options.renew and len(rounds) < 4:
            rounds.append(again(over))
    lines, over = judge(ours(lowest(rounds)), baseline["counts"])
    print("\n".join(lines + beside(lowest(rounds))))
    if options.renew:
        return
    if over and baseline["made_with"] != tools():
        print(f"the baseline was made with {baseline['made_with']}, this with {tools()}")
    if over:
        sys.exit(f"more instructions than the baseline allows: {', '.join(over)}\nIf that is what it costs: `just "
                 "instructions --renew --reason …`, and commit lab/instructions/baseline.json with the change.")


if __name__ == "__main__":
    main()
