#!/usr/bin/env python3
"""What takes too long for each change: all planted bugs, full kills, the release build and what it is held to.

Usage: just nightly [STEP …]      all steps, or some; `just nightly --list` says what each guards
A step that has passed for the present commit is not run again, so that a night that was cut off is gone on with; with a name
it is. Results stay in target/nightly/<commit>: a log for each step, and its seconds once it has passed. With uncommitted changes
nothing is kept.

Most steps are builds, which take every processor for a while, programs that take one, or scripts that mostly wait. So several run side by
side, in the order below, each once what it needs has ended. What judges time runs at the end, by itself.
"""
import argparse, concurrent.futures, json, os, pathlib, shutil, subprocess, sys, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = pathlib.Path(os.environ.get("CITIZEN_TOOLS", pathlib.Path.home() / ".cache/citizen-tools"))
# Of these the release build is counted and measured; the scenarios' jobs come from `analyze`.
MEASURED = ["get-user", "get-org-plan", "list-items", "create-item", "analyze"]
# By turns with the hand-written function, over the local system as the steps before have it: only the two functions' CPU counts.
RATIO = ["just", "bench", "--no-build", "--only", "get-user", "--local", "target/debug/local"]

SUITE = ["cargo", "test", "--workspace", "--locked", "--test", "suite", "--"]
# A name for each: what it guards, its command, and variables.
STEPS = {
    "build": ("all functions, the local system and what tries it compile",
              ["cargo", "build", "--workspace", "--locked", "--bins", "--test", "suite", "--test", "kill", "--test", "unkind", "--test", "hot-tenant",
               "--test", "growth"], {}),
    "discovery": ("the cache's tests compile, with what finds it by its name",
                  ["cargo", "test", "--workspace", "--features", "shared/discovery", "--locked", "--no-run", "--test", "redis"], {}),
    "planted": ("cargo's tests find each planted bug that is theirs to find, many in one build", ["lab/planted-bugs.py", "--together"], {}),
    "quick": ("all functions as the tests have them, for the three steps below", ["deploy/build-functions.py", "--quick", "--quiet", "--locked"], {}),
    "procedures": ("going back, restoring, rotating, raising limits and another region, on MiniStack", ["deploy/procedures-local.py"], {}),
    "readme": ("the README's Deploy, pasted, on MiniStack", ["deploy/readme-local.py"], {}),
    "sam-local": ("each function by `sam local invoke` in a container", [".ci/with-local.sh", "deploy/sam-local.sh"], {}),
    "release": ("the release build: link-time optimization and training",
                ["deploy/build-functions.py", "--release", "--quiet", "--locked", *(word for name in MEASURED for word in ("--bin", name))], {}),
    "untrained": ("the release build of get-user without training",
                  ["deploy/build-functions.py", "--release", "--untrained", "--quiet", "--locked", "--bin", "get-user", "--bin", "analyze",
                   "--lambda-dir", "target/untrained"], {}),
    "yardstick": ("the hand-written function as a release", ["cargo", "build", "--release", "--locked", "--package", "yardstick"], {}),
    "planted-scripts": ("scripts find each planted bug that is theirs to find", ["lab/planted-bugs.py", "--scripts"],
                        {"CARGO_TARGET_DIR": "target/planted-scripts"}),
    "unkind": ("jobs under providers and a database on bad days, for hours of virtual time", ["just", "unkind"], {}),
    "growth": ("no endpoint's cost grows with what is stored", ["just", "growth"], {}),
    "schemathesis": ("generated requests, three times as many", [".ci/schemathesis.sh", "300"], {}),
    "redis": ("the whole suite over a real Redis, its own system in the like-aws world", [".ci/test-redis.sh", "--all"], {"CITIZEN_LIKE_AWS": "1"}),
    "kill": ("nothing is lost or done twice while processes are killed",
             ["cargo", "test", "--workspace", "--locked", "--test", "kill", "--", "--jobs", "2000", "--kills", "400", "--outage", "10000", "--unkind"], {}),
    "shards": ("2,000 live jobs are swept when the index of what is due has twice the shards",
               [*SUITE, "jobs::sweeping::when_the_shards"], {"CITIZEN_DUE_JOBS": "2000"}),
    "keys": ("10,000 idempotency keys with eight callers each", [*SUITE, "jobs::idempotency::of_eight_racing"], {"CITIZEN_KEYS": "10000"}),
    "history": ("no stale read in a million cache operations",
                ["cargo", "test", "--workspace", "--locked", "--features", "shared/discovery", "--test", "redis", "consistency"],
                {"CACHE_OPERATIONS": "1000000"}),
    "clients": ("clients generated from the document compile strictly and make a walk", [".ci/with-local.sh", "lab/clients/run.sh"], {}),
    "browser": ("a real browser keeps the session's cookie, and /docs works as it stands", ["lab/browser/run.sh"], {}),
    "queue-features": ("the embedded queues are like MiniStack's", [".ci/test-ministack-sqs.sh"], {}),
    "racers": ("1,000 racers for the last unit of a limit", [*SUITE, "hot::room::of_many_racers"],
               {"CITIZEN_RACERS": "1000", "CITIZEN_LIKE_AWS": "rigs"}),
    "like-aws-kill": ("nothing is lost or done twice in the like-aws world",
                      ["cargo", "test", "--workspace", "--locked", "--test", "kill", "--", "--jobs", "400", "--kills", "80", "--outage", "0", "--unkind"],
                      {"CITIZEN_LIKE_AWS": "1"}),
    "stranger": ("nothing gets through that a stranger tries who knows the address and the documents, in the like-aws world",
                 [".ci/with-local.sh", "sh", "-c", "lab/stranger.py $URL --seconds 120 --environments 16"], {"LOCAL_OPTIONS": "--like-aws"}),
    "load": ("the truth holds under load", ["just", "load"], {}),
    "hot-tenant": ("one organization bears 5,500 requests a second in the like-aws world and its time", ["just", "hot-tenant"], {}),
    "instructions": ("instruction counts of the release build", ["lab/bench/instructions.py"], {}),
    "ratio": ("at most 0.70 of the hand-written function's CPU, by turns", [*RATIO, "--at-most", "0.70"], {}),
    "ratio-untrained": ("at most 0.95 of it without training", [*RATIO, "--binaries", "target/untrained", "--at-most", "0.95"], {}),
    "sizes": ("zip and memory of get-user", [*RATIO, "--rounds", "1"], {}),
}
# What runs for minutes is compiled so: a third of the time, with all checks of a debug build. The same for all, so that nothing is twice.
OPTIMIZED = {"CARGO_PROFILE_DEV_OPT_LEVEL": "1"}
# By themselves, before all others and after them. What takes longest, and what much waits for, stands first of the others. `unkind` judges virtual
# time, which goes on while a packet on the loopback waits for a processor.
FIRST, ALONE = ["build", "discovery"], ["unkind", "instructions", "ratio", "ratio-untrained", "sizes"]
AT_ONCE = 3
# What a step waits for: functions that it takes, functions of others that it overwrites, and who builds into the same folder.
AFTER = {"procedures": ["quick"], "readme": ["quick"], "sam-local": ["quick"], "release": ["procedures", "readme", "sam-local"],
         "untrained": ["release"], "yardstick": ["untrained"]}


def say(*words):
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def run(name, folder, environment):
    """Runs a step; whether it passed. Its log is kept, and how long it took when it passed: seconds, and those of all processors together."""
    purpose, command, variables = STEPS[name]
    print(f"::: {name}: {purpose}", flush=True)
    start = time.monotonic()
    log = folder / f"{name}.log"
    with log.open("w") as file:
        begun = subprocess.Popen(command, cwd=ROOT, env=environment | variables, stdout=file, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(begun.pid, 0)
        begun.returncode = os.waitstatus_to_exitcode(status)
    seconds, processors = round(time.monotonic() - start), round(used.ru_utime + used.ru_stime)
    if begun.returncode:
        print(log.read_text()[-6000:])
        print(f"::: {name} FAILED after {seconds} s, log in {log}", flush=True)
        return False
    print(f"::: {name} took {seconds} s, {processors} s of processors", flush=True)
    (folder / f"{name}.json").write_text(json.dumps({"seconds": seconds, "processors": processors, "ended": time.strftime("%FT%TZ", time.gmtime())}))
    return True


def side_by_side(names, folder, environment):
    """Runs steps, some at once; those that failed."""
    left, running, failed = list(names), {}, []
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        while left or running:
            for name in list(left):
                if len(running) < AT_ONCE and not {*left, *running.values()} & {*AFTER.get(name, [])}:
                    left.remove(name)
                    running[pool.submit(run, name, folder, environment)] = name
            for ended in concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED).done:
                name = running.pop(ended)
                failed += [name] * (not ended.result())
    return failed


def main():
    parser = argparse.ArgumentParser(prog="just nightly", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", choices=[*STEPS, []], metavar="STEP")
    parser.add_argument("--list", action="store_true", help="name the steps and what each guards")
    options = parser.parse_args()
    if options.list:
        print("\n".join(f"{name:<15} {purpose}" for name, (purpose, _, _) in STEPS.items()))
        return
    environment = os.environ | OPTIMIZED | {"PATH": f"{TOOLS}/venv/bin:{TOOLS}/cargo/bin:{os.environ['PATH']}", "CARGO_INCREMENTAL": "0",
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
    one_by_one = lambda names: [name for name in names if name in todo and not run(name, folder, environment)]
    failed = one_by_one(FIRST)
    failed += side_by_side([name for name in todo if name not in FIRST + ALONE], folder, environment)
    failed += one_by_one(ALONE)
    passed = len(list(folder.glob("*.json")))
    print(f"::: {commit}: {passed} of {len(STEPS)} steps have passed; {len(todo)} ran, in {time.monotonic() - begun:.0f} s")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
