#!/usr/bin/env python3
"""What takes too long for each change: all planted bugs, full kills, the release build and what it is held to.

Usage: just nightly [STEP …]      all steps, or some; `just nightly --list` says what each guards
A step that has passed for the present commit is not run again, so that a night that was cut off is gone on with; with a name
it is. Results stay in target/nightly/<commit>: a log for each step, and its seconds once it has passed. With uncommitted changes
nothing is kept.

Most steps are builds, which take every processor for a while, programs that take one, or scripts that mostly wait. Each kind is a lane of
its own beside the others: CHANGES plants bugs in a copy, TESTS runs what is compiled optimized, SCRIPTS the functions of `quick`. The
release builds wait for SCRIPTS, whose functions they overwrite. What judges time runs at the end, by itself.
"""
import argparse, concurrent.futures, json, os, pathlib, shutil, subprocess, sys, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = pathlib.Path(os.environ.get("CITIZEN_TOOLS", pathlib.Path.home() / ".cache/citizen-tools"))
# Of these the release build is counted and measured; the scenarios' jobs come from `analyze`.
MEASURED = ["get-user", "get-org-plan", "list-items", "create-item", "analyze"]
# By turns with the hand-written function, over the local system as the steps before have it: only the two functions' CPU counts.
RATIO = ["just", "bench", "--no-build", "--only", "get-user", "--local", "target/debug/local"]

SUITE = ["cargo", "test", "--workspace", "--locked", "--test", "suite", "--"]
# What runs for minutes is compiled so: a third of the time, with all checks of a debug build.
OPTIMIZED = {"CARGO_PROFILE_DEV_OPT_LEVEL": "1"}
# By name: what it guards, its command, and variables. In each lane they run in this order: `sam-local` and `procedures` take the functions
# of `quick`, what is measured those of `release`; those of `untrained` lie apart.
STEPS = {
    "build": ("all tests compile", ["cargo", "test", "--workspace", "--locked", "--no-run"], {}),
    "optimized": ("what runs for minutes or for hours of virtual time compiles, optimized",
                  ["cargo", "build", "--workspace", "--locked", "--bin", "local", "--bin", "load", "--test", "suite", "--test", "kill",
                   "--test", "unkind", "--test", "hot-tenant", "--test", "growth"], OPTIMIZED),
    "planted": ("cargo's tests find each planted bug that is theirs to find, many in one build", ["lab/planted-bugs.py", "--together"], {}),
    "planted-scripts": ("scripts find each planted bug that is theirs to find", ["lab/planted-bugs.py", "--scripts"],
                        {"CARGO_TARGET_DIR": "target/planted-scripts"}),
    "racers": ("1,000 racers for the last unit of a limit", [*SUITE, "hot::room::of_many_racers"],
               OPTIMIZED | {"CITIZEN_RACERS": "1000", "CITIZEN_LIKE_AWS": "rigs"}),
    "kill": ("nothing is lost or done twice while processes are killed",
             ["cargo", "test", "--workspace", "--locked", "--test", "kill", "--", "--jobs", "2000", "--kills", "400", "--outage", "10000", "--unkind"],
             OPTIMIZED),
    "keys": ("10,000 idempotency keys with eight callers each", [*SUITE, "jobs::idempotency::of_eight_racing"], OPTIMIZED | {"CITIZEN_KEYS": "10000"}),
    "shards": ("2,000 live jobs are swept when the index of what is due has twice the shards",
               [*SUITE, "jobs::sweeping::when_the_shards"], OPTIMIZED | {"CITIZEN_DUE_JOBS": "2000"}),
    "unkind": ("jobs under providers and a database on bad days, for hours of virtual time", ["just", "unkind"], OPTIMIZED),
    "history": ("no stale read in a million cache operations",
                ["cargo", "test", "--workspace", "--locked", "--features", "shared/discovery", "--test", "redis", "consistency"],
                {"CACHE_OPERATIONS": "1000000"}),
    "redis": ("the whole suite over a real Redis, its own system in the like-aws world", [".ci/test-redis.sh", "--all"], {"CITIZEN_LIKE_AWS": "1"}),
    "queue-features": ("the embedded queues are like MiniStack's", [".ci/test-ministack-sqs.sh"], {}),
    "clients": ("clients generated from the document compile strictly and make a walk", [".ci/with-local.sh", "lab/clients/run.sh"], OPTIMIZED),
    "browser": ("a real browser keeps the session's cookie, and /docs works as it stands", ["lab/browser/run.sh"], OPTIMIZED),
    "stranger": ("nothing gets through that a stranger tries who knows the address and the documents, in the like-aws world",
                 [".ci/with-local.sh", "sh", "-c", "lab/stranger.py $URL --seconds 120 --environments 16"], OPTIMIZED | {"LOCAL_OPTIONS": "--like-aws"}),
    "schemathesis": ("generated requests, five times as many", [".ci/schemathesis.sh", "1000"], OPTIMIZED),
    "growth": ("no endpoint's cost grows with what is stored", ["just", "growth"], {}),
    "like-aws-kill": ("nothing is lost or done twice in the like-aws world",
                      ["cargo", "test", "--workspace", "--locked", "--test", "kill", "--", "--jobs", "400", "--kills", "80", "--outage", "0", "--unkind"],
                      OPTIMIZED | {"CITIZEN_LIKE_AWS": "1"}),
    "load": ("the truth holds under load", ["just", "load"], OPTIMIZED),
    "hot-tenant": ("one organization bears 5,500 requests a second in the like-aws world and its time", ["just", "hot-tenant"], {}),
    "quick": ("all functions as the tests have them, for the three steps below", ["deploy/build-functions.py", "--quick", "--quiet", "--locked"], {}),
    "readme": ("the README's Deploy, pasted, on MiniStack", ["deploy/readme-local.py"], {}),
    "procedures": ("going back, restoring, rotating, raising limits and another region, on MiniStack", ["deploy/procedures-local.py"], {}),
    "sam-local": ("each function by `sam local invoke` in a container", [".ci/with-local.sh", "deploy/sam-local.sh"], OPTIMIZED),
    "plain": ("a function as `just build` makes it", ["deploy/build-functions.py", "--quiet", "--locked", "--bin", "get-user"], {}),
    "release": ("the release build: link-time optimization and training",
                ["deploy/build-functions.py", "--release", "--quiet", "--locked", *(word for name in MEASURED for word in ("--bin", name))], {}),
    "yardstick": ("the hand-written function as a release", ["cargo", "build", "--release", "--locked", "--package", "yardstick"], {}),
    "instructions": ("instruction counts of the release build", ["lab/bench/instructions.py"], {}),
    "ratio": ("at most 0.70 of the hand-written function's CPU, by turns", [*RATIO, "--at-most", "0.70"], {}),
    "untrained": ("the release build of get-user without training",
                  ["deploy/build-functions.py", "--release", "--untrained", "--quiet", "--locked", "--bin", "get-user", "--bin", "analyze",
                   "--lambda-dir", "target/untrained"], {}),
    "ratio-untrained": ("at most 0.95 of it without training", [*RATIO, "--binaries", "target/untrained", "--at-most", "0.95"], {}),
}

FIRST = {"build"}
CHANGES = {"planted"}
TESTS = {"optimized", "racers", "keys", "shards", "history", "redis", "queue-features", "kill", "unkind", "growth", "like-aws-kill", "stranger",
         "schemathesis", "load", "hot-tenant"}
SCRIPTS = {"quick", "readme", "procedures", "sam-local", "clients", "browser", "planted-scripts"}
ALONE = {"instructions", "ratio", "ratio-untrained"}
RELEASES = set(STEPS) - FIRST - CHANGES - TESTS - SCRIPTS - ALONE


def say(*words):
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def run(name, folder, environment):
    """Runs a step; its seconds, or None when it failed. Its log is kept."""
    purpose, command, variables = STEPS[name]
    print(f"::: {name}: {purpose}", flush=True)
    start = time.monotonic()
    log = folder / f"{name}.log"
    with log.open("w") as file:
        done = subprocess.run(command, cwd=ROOT, env=environment | variables, stdout=file, stderr=subprocess.STDOUT)
    seconds = round(time.monotonic() - start)
    if done.returncode:
        print(log.read_text()[-6000:])
        print(f"::: {name} FAILED after {seconds} s, log in {log}", flush=True)
        return None
    print(f"::: {name} took {seconds} s", flush=True)
    (folder / f"{name}.json").write_text(json.dumps({"seconds": seconds, "ended": time.strftime("%FT%TZ", time.gmtime())}))
    return seconds


def main():
    parser = argparse.ArgumentParser(prog="just nightly", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", choices=[*STEPS, []], metavar="STEP")
    parser.add_argument("--list", action="store_true", help="name the steps and what each guards")
    options = parser.parse_args()
    if options.list:
        print("\n".join(f"{name:<15} {purpose}" for name, (purpose, _, _) in STEPS.items()))
        return
    environment = os.environ | {"PATH": f"{TOOLS}/venv/bin:{TOOLS}/cargo/bin:{os.environ['PATH']}", "CARGO_INCREMENTAL": "0",
                                "CARGO_TERM_COLOR": "never"}
    commit = say("git", "rev-parse", "--short=12", "HEAD")
    changed = bool(say("git", "status", "--porcelain"))
    folder = ROOT / "target/nightly" / (f"{commit}-changed" if changed else commit)
    if changed:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    todo = []
    for name in options.steps or STEPS:
        kept = folder / f"{name}.json"
        if kept.exists() and not options.steps:
            print(f"::: {name}: passed for {commit}, {json.loads(kept.read_text())}", flush=True)
            continue
        kept.unlink(missing_ok=True)
        todo.append(name)
    begun = time.monotonic()
    lane = lambda names: [name for name in todo if name in names and run(name, folder, environment) is None]
    failed = lane(FIRST)
    with concurrent.futures.ThreadPoolExecutor() as lanes:
        tests, scripts = lanes.submit(lane, TESTS), lanes.submit(lane, SCRIPTS)
        failed += lane(CHANGES) + scripts.result() + lane(RELEASES) + tests.result()
    failed += lane(ALONE)
    passed = len(list(folder.glob("*.json")))
    print(f"::: {commit}: {passed} of {len(STEPS)} steps have passed; {len(todo)} ran, in {time.monotonic() - begun:.0f} s")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
