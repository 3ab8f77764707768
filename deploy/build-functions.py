#!/usr/bin/env python3
"""Builds functions for Lambda, each into target/lambda/<name>/bootstrap. There are three ways:

    just build [--bin NAME …] [cargo's arguments]      plain: optimized, without link-time optimization
    just build --release [--untrained] …               for a release: link-time and profile-guided optimization
    just build --quick                                 as `cargo build` makes them, for this machine alone
    just build --rehearse                              builds nothing: runs the training once over what was built, to see that it can

Profile-guided optimization takes three steps ("Profile-guided Optimization", The rustc book): functions that count are
built into target/training; each runs through its scenarios of the benchmark (lab/bench/scenarios.py), over the local
system's database and queues and a Redis, without and with TLS to the database; then the functions are built with what was
counted. The counts are not kept in the repository: they name functions as the compiler does, and those names change with
every version of a dependency. A function of another architecture cannot run here (`--arm64` on x86_64): it is built
without training, and that is said.
"""
import json, os, pathlib, platform, re, shutil, subprocess, sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "lab/bench"))
from runtime_api import RuntimeApi, variables
from scenarios import all_scenarios, queues
from system import System

NOT_DEPLOYED = ("local", "load", "tests", "testkit", "yardstick", "instructions")
TRAINING = ROOT / "target/training"
COUNTS, PROFILE = TRAINING / "counts", TRAINING / "functions.profdata"
INVOCATIONS = 100


def main():
    arguments = [one for one in sys.argv[1:] if one not in ("--release", "--untrained", "--quick", "--rehearse")]
    if "--quick" in sys.argv:
        return quick(arguments)
    if "--rehearse" in sys.argv:
        with local_system() as system:
            return train(system, [], ROOT / "target", [system.plain], 2)
    if "--release" not in sys.argv:
        return build(["--profile", "plain", *arguments])
    arguments.insert(0, "--release")
    wanted = [name for option, name in zip(arguments, arguments[1:]) if option == "--bin"]
    if other := another_architecture(arguments):
        print(f"built without training: functions for {other} cannot run on {platform.machine()}", file=sys.stderr)
    if other or "--untrained" in sys.argv:
        return build(arguments)
    check(wanted)
    shutil.rmtree(COUNTS, ignore_errors=True)
    # Cargo's profile stays, since it is a part of the names in the counts; so link-time optimization, which only takes
    # time here, is switched off behind its back. The linker is this machine's: zig's does not link what counts.
    # The scenarios' jobs come from `analyze`.
    build(arguments + ["--bin", "analyze"] * bool(wanted),
          [f"-Cprofile-generate={COUNTS}", "-Clto=off", "-Clinker-plugin-lto=off", "-Clinker=cc"], TRAINING)
    with local_system() as system:
        train(system, wanted, TRAINING, [system.plain, system.tls()], INVOCATIONS)
    subprocess.run([profdata(), "merge", "-o", PROFILE, COUNTS], check=True)
    shutil.rmtree(COUNTS)
    # Without the analysis that holds a function's cold parts for nothing when it inlines: it put nineteen copies of
    # SHA-256's rounds, for processors without instructions for them, into the signing of one request.
    build(arguments, [f"-Cprofile-use={PROFILE}", "-Cllvm-args=-inline-enable-cost-benefit-analysis=false"])


def another_architecture(arguments):
    """The architecture that the arguments ask for, if it is not this machine's."""
    asked = {"--arm64": "aarch64", "--x86-64": "x86_64"}
    found = [asked[one] for one in arguments if one in asked]
    found += [after.split("-")[0] for before, after in zip(arguments, arguments[1:]) if before == "--target"]
    return next((one for one in found if one != platform.machine()), None)


def check(wanted):
    """Ends where something is missing that would only be found after minutes."""
    for needed in ("redis-server", "openssl", "cc"):
        if not shutil.which(needed):
            sys.exit(f"{needed} is missing: .ci/install-tools.sh installs it")
    if not profdata():
        sys.exit("llvm-profdata is missing: .ci/install-tools.sh installs it")
    if "RUSTFLAGS" in os.environ:
        sys.exit("RUSTFLAGS is set, and would take the place of the compiler's flags for training: unset it")
    if unknown := [name for name in wanted if not (ROOT / "functions" / name).is_dir()]:
        sys.exit(f"no functions: {', '.join(unknown)}")


def profdata():
    """The tool that puts counts together: the compiler's own, or Debian's; None if there is neither."""
    ask = lambda *words: subprocess.run(["rustc", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    host = re.search(r"^host: (.+)$", ask("-vV"), re.M)[1]
    own = pathlib.Path(ask("--print", "sysroot").strip()) / "lib/rustlib" / host / "bin/llvm-profdata"
    return own if own.exists() else shutil.which("llvm-profdata-19")


def build(arguments, flags=(), folder=None):
    """One build of the deployed packages, with flags for rustc beside those of cargo-lambda, into a folder of its own."""
    excluded = [word for name in NOT_DEPLOYED for word in ("--exclude", name)]
    # A configuration, since an environment variable would take the place of cargo-lambda's flags. JSON's list is TOML's.
    given = ["--config", f"build.rustflags={json.dumps(list(flags))}"] if flags else []
    environment = os.environ | ({"CARGO_TARGET_DIR": str(folder)} if folder else {})
    subprocess.run(["cargo", "lambda", "build", "--workspace", *excluded, *given, *arguments],
                   cwd=ROOT, check=True, env=environment)


def local_system():
    """The local system, built as the tests have it."""
    subprocess.run(["cargo", "build", "--quiet", "--workspace", "--bin", "local", "--test", "suite"], cwd=ROOT, check=True)
    return System(ROOT / "target/debug/local")


def quick(arguments):
    """The functions as the tests have them compiled, without what only a debugger reads."""
    # The one that panics is there to be tried.
    functions = [*sorted(manifest.parent.name for manifest in ROOT.glob("functions/*/Cargo.toml")), "panics"]
    # With a test beside them: the features of all dependencies are those of the tests then.
    bins = [word for name in functions for word in ("--bin", name)]
    subprocess.run(["cargo", "build", "--workspace", *bins, "--test", "suite", *arguments], cwd=ROOT, check=True)
    built = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
    for name in functions:
        folder = ROOT / "target/lambda" / name
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["strip", "-o", folder / "bootstrap", built / name], check=True)


def train(system, wanted, built, environments, invocations):
    """Runs each function that was built through its scenarios, each in an environment's life of its own."""
    binary = lambda name: built / "lambda" / name / "bootstrap"
    known = all_scenarios(system, binary("analyze"))
    wanted = set(wanted) or {manifest.parent.name for manifest in ROOT.glob("functions/*/Cargo.toml")}
    if missing := wanted - {one.function for one in known.values()}:
        sys.exit(f"no scenario in lab/bench/scenarios.py trains {', '.join(sorted(missing))}")
    for name, one in known.items():
        if one.function not in wanted:
            continue
        print(f"training: {name}", file=sys.stderr)
        queue = queues(one.queue)
        for environment in environments:
            system.forget_cache()
            events = list(one.events(min(invocations, one.most or invocations)))
            live(name, binary(one.function), events, environment | queue, one.expected)


def live(name, binary, events, environment, expected):
    """One environment's life, to its regular end, at which it writes what it counted."""
    api = RuntimeApi(events, expected, ends=True)
    done = subprocess.run([binary], env=variables(api, environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=300)
    api.close()
    if api.bad or api.sent < len(events):
        sys.exit(f"training of {name}: {api.sent} of {len(events)} events, {api.bad[:1]}\n{done.stdout[-2000:]}")


if __name__ == "__main__":
    main()
