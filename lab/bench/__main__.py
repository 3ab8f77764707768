"""Benchmark of single functions: each deployed binary under a Lambda Runtime API loop on loopback.

`just bench` builds everything, starts the local system's database and queues, a Redis and a TLS front for the database,
and measures all functions in interleaved rounds, so that a slow moment of the machine hits them alike: CPU of init and
first invocation (plain, and with TLS to the database), CPU and latency of warm invocations, peak memory, zip size. It
writes target/bench.json and prints it.

All that runs shares one processor, unless `--processors` says more. A function with less than 1,769 MB has less than one on
Lambda; and on several virtual ones the same work takes more CPU, it seems for waking processes on another (docs/performance.md).

What a system call or a cache line costs differs several times over between machines. So the rounds also run the
yardstick (lab/yardstick: get-user written by hand, with the same runtime, SDK and Redis client). At the end get-user and the
yardstick take turns (turns.py): their ratio is what is held, with `--at-most`.

Usage: just bench [--rounds 5] [--invocations 600] [--only NAME …] [--no-build] [--untrained] [--at-most RATIO] [--binaries FOLDER] [--out FILE]
       just bench --commits A B       builds two commits, each in a worktree of its own, and measures both in the same rounds
       just bench --compare A.json B.json
With `--only`, only those functions are built and measured.
"""
import argparse, io, json, os, pathlib, subprocess, sys, time, zipfile
from report import comparison, held, table
from runtime_api import ROOT, run
from scenarios import all_scenarios, queues
from statistics import median
from system import System
from turns import BLOCK, by_turns


def build(folder, only, untrained):
    """Builds a tree's functions as a release; or some, with the same features, trained by themselves."""
    # The scenarios' jobs come from `analyze`.
    wanted = [word for name in sorted({*only, "analyze"}) for word in ("--bin", name)] if only else []
    subprocess.run(["just", "build", "--release", *["--untrained"] * untrained, *wanted], cwd=folder, check=True)


def build_what_measures():
    """Builds the local system and the yardstick."""
    subprocess.run(["cargo", "build", "--release", "--workspace", "--bin", "local", "--bin", "yardstick"], cwd=ROOT, check=True)


def tree_of(commit):
    """A commit's files in a worktree of their own, which keeps what was built."""
    name = subprocess.run(["git", "rev-parse", "--short", commit], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    folder = ROOT / "target/bench/commits" / name
    if not folder.exists():
        subprocess.run(["git", "worktree", "add", "--detach", folder, name], cwd=ROOT, check=True)
    return name, folder


def life(figures, binary, scenario, environment, count, system):
    """One environment's life, with as many invocations as the scenario can have: its figures are added."""
    number = min(count, scenario.most or count)
    environment = environment | queues(scenario.queue)
    events = list(scenario.events(number))
    system.forget_cache()
    cpu, latency, peak = run(str(binary), events, environment, scenario.expected)
    warmup = max(number // 10, 1)
    figures.setdefault("warm CPU, µs", []).append((cpu[-1] - cpu[warmup]) / (number - warmup) / 1e3)
    figures.setdefault("p50, µs", []).append(latency[number // 2] / 1e3)
    figures.setdefault("p99, µs", []).append(latency[int(number * 0.99)] / 1e3)
    figures.setdefault("peak RSS, MB", []).append(peak / 1e3)
    figures.setdefault("init + first, ms", []).append(cpu[1] / 1e6)


def measure(options, trees, system):
    """Medians over the rounds: {tree: {scenario: {figure: value}}}."""
    first = next(iter(trees.values()))
    known = all_scenarios(system, first / "analyze/bootstrap")
    if options.only:
        known = {name: one for name, one in known.items() if one.function in options.only}
    tls = system.tls()
    of_yardstick = system.plain | {"AWS_ENDPOINT_URL": system.database}
    found = {label: {name: {} for name in known} for label in trees}
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}, {time.strftime('%H:%M:%S')}", file=sys.stderr)
        for name, scenario in known.items():
            for label, folder in trees.items():
                figures, binary = found[label][name], folder / scenario.function / "bootstrap"
                life(figures, binary, scenario, system.plain, options.invocations, system)
                events = list(scenario.events(1))
                system.forget_cache()
                cpu, _, _ = run(str(binary), events,
                                tls | queues(scenario.queue), scenario.expected)
                figures.setdefault("init + first, TLS, ms", []).append(cpu[1] / 1e6)
            if scenario.function == "get-user":
                life(found[next(iter(trees))].setdefault(f"yardstick{name.removeprefix('get-user')}", {}),
                     options.yardstick, scenario, of_yardstick, options.invocations, system)
    medians = {label: {name: {figure: median(values) for figure, values in figures.items()}
                       for name, figures in of_tree.items()} for label, of_tree in found.items()}
    for label, folder in trees.items():
        for name, scenario in known.items():
            if scenario.function == "get-user":
                programs = {"ours": (folder / "get-user/bootstrap", system.plain), "by hand": (options.yardstick, of_yardstick)}
                blocks = by_turns(programs, scenario, options.rounds * options.invocations // BLOCK)
                medians[label][name]["beside the yardstick"] = median(
                    ours / by_hand for ours, by_hand in zip(*blocks.values()))
            medians[label][name]["zip, MB"] = zipped(folder / scenario.function / "bootstrap")
    return medians


def zipped(binary):
    """MB of what is deployed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.write(binary, "bootstrap")
    return len(buffer.getvalue()) / 1e6


def arguments():
    parser = argparse.ArgumentParser(prog="just bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--invocations", type=int, default=600)
    parser.add_argument("--processors", type=int, default=1, help="how many all that runs shares")
    parser.add_argument("--only", nargs="+", metavar="FUNCTION")
    parser.add_argument("--no-build", action="store_true", help="measure what is built already")
    parser.add_argument("--untrained", action="store_true", help="build without training")
    parser.add_argument("--at-most", type=float, metavar="RATIO", help="fail where get-user takes more than this of the yardstick's CPU; without, where its zip or memory is too large")
    parser.add_argument("--binaries", type=pathlib.Path, default=ROOT / "target/lambda", help="as `just build` makes them")
    parser.add_argument("--local", type=pathlib.Path, default=ROOT / "target/release/local")
    parser.add_argument("--yardstick", type=pathlib.Path, default=ROOT / "target/release/yardstick")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "target/bench.json")
    parser.add_argument("--commits", nargs=2, metavar=("A", "B"))
    parser.add_argument("--compare", nargs=2, metavar=("A.json", "B.json"), type=pathlib.Path)
    return parser.parse_args()


def main():
    options = arguments()
    if options.compare:
        both = {str(path): json.loads(path.read_text()) for path in options.compare}
        print(comparison({name: next(iter(one["functions"].values())) for name, one in both.items()}))
        return
    trees = {"here": options.binaries}
    if options.commits:
        named = dict(tree_of(commit) for commit in options.commits)
        trees = {name: folder / "target/lambda" for name, folder in named.items()}
    if not options.no_build:
        for folder in named.values() if options.commits else [ROOT]:
            build(folder, options.only, options.untrained)
        build_what_measures()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-options.processors:])  # inherited by all that is started
    options.processors = len(os.sched_getaffinity(0))
    with System(options.local) as system:
        functions = measure(options, trees, system)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    result = {"commit": commit, "processors": options.processors, "rounds": options.rounds,
              "invocations": options.invocations, "functions": functions}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(f"medians of {options.rounds} interleaved rounds of {options.invocations} invocations on {options.processors} processors; "
          "CPU of the function's process alone\n")
    if options.commits:
        print(comparison(functions))
    else:
        print(table(functions["here"]))
        lines, over = held(functions["here"], options.at_most)
        print("\n" + lines)
        if over:
            sys.exit(f"more than get-user may take: {', '.join(over)}")


main()
