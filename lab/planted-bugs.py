#!/usr/bin/env python3
"""Plants the bugs of lab/planted-bugs/<group>/*.patch into a copy of the sources, and runs the test that each patch names in its
"Test:" line: it must pass without the bug and fail with it. A test is cargo's, or a script of deploy/, lab/ or .ci/.

Usage: lab/planted-bugs.py GROUP [PART]      one bug at a time; PART is of a patch's name
       lab/planted-bugs.py --together        those of all groups that cargo's tests find, up to 62 in one build
       lab/planted-bugs.py --scripts         those that scripts find, one at a time

Together they take fewer builds, and fewer runs: their tests run side by side, as they do without bugs. What is not found so is tried
alone. A test could also fail for a neighbour's bug and hide that its own is not found. So no two of them touch the same lines of a file or
those near them, or are found by the same test, and no three by the same module; and who is whose neighbour depends on the commit: what one
night hides, another one shows.
"""
import argparse, collections, json, os, pathlib, random, re, shlex, shutil, signal, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUGS = ROOT / "lab/planted-bugs"
TOOLS = pathlib.Path(os.environ.get("CITIZEN_TOOLS", pathlib.Path.home() / ".cache/citizen-tools"))
AT_ONCE = 62
DISCOVERY = " --features shared/discovery"
OF_A_MODULE = 2
# Lines between two bugs of one file.
APART = 25
TIMEOUT_S = 120
# Tests side by side may take this long. Those that have not ended then run alone.
TOGETHER_TIMEOUT_S = 90


def place(file, begin, old):
    """From which line to which a file has these lines now. A patch names the line at which they were once."""
    there = (ROOT / file).read_text().splitlines() if (ROOT / file).exists() else []
    found = [at + 1 for at in range(len(there) - len(old) + 1) if there[at:at + len(old)] == old]
    begin = min(found, key=lambda at: abs(at - begin), default=begin)
    return begin, begin + len(old)


class Bug:
    """A patch, with what it touches and the test that finds it."""

    def __init__(self, path):
        text = path.read_text()
        self.path, self.name = path, f"{path.parent.name}/{path.stem}"
        self.test = re.search(r"^Test: (.+)$", text, re.M)[1].strip().replace("--package ", "-p ")
        self.is_script = self.test.startswith(("deploy/", "lab/", ".ci/"))
        if not self.is_script:
            # With the suite's package and with what finds the cache by its name: the features are the same for the tests of all bugs then,
            # so that one build has them.
            self.test = re.sub(r"^(-p \S+)", r"\1 -p tests", self.test.replace(DISCOVERY, ""))
            self.test = re.sub(r"^(--workspace|-p \S+ -p tests)", rf"\1{DISCOVERY}", self.test)
        self.files = set(re.findall(r"^\+\+\+ b/(\S+)", text, re.M)) | set(re.findall(r"^--- a/(\S+)", text, re.M))
        # By file, from which line to which.
        self.places = {}
        for of_file in re.split(r"^--- (?=a/|/dev/null)", text, flags=re.M)[1:]:
            file = of_file.split()[0].removeprefix("a/")
            for begin, hunk in re.findall(r"^@@ -(\d+).*\n((?:[ +-].*\n?|\n)*)", of_file, re.M):
                self.places.setdefault(file, []).append(place(file, int(begin), [line[1:] for line in hunk.rstrip("\n").split("\n") if line[:1] != "+"]))
        self.program = self.test.split(" -- ")[0] if " -- " in self.test else self.test.rpartition(" ")[0]
        self.wanted = self.test.split()[-1]
        self.is_exact = "--exact" in self.test.split()
        # Of one program. A test that is in no module has nothing in common with the others.
        self.module = self.program, self.wanted.rpartition("::")[0] or self.wanted

    def is_near(self, other):
        """Whether the same test finds it, or it touches lines that another one touches, or lines near those."""
        return (self.program, self.wanted) == (other.program, other.wanted) or any(begin < end_of_other + APART and begin_of_other < end + APART
                   for file in self.places.keys() & other.places.keys()
                   for begin, end in self.places[file] for begin_of_other, end_of_other in other.places[file])


class Copy:
    """A copy of the sources, with a folder of its own for what is built."""

    def __init__(self, folder):
        self.folder = folder / "sources"
        self.folder.mkdir()
        target = ROOT / os.environ.get("CARGO_TARGET_DIR", "target/planted-bugs")
        packages = own_packages()
        take_over(target, packages)
        # However dependencies are compiled (CARGO_PROFILE_DEV_OPT_LEVEL): what each bug has compiled anew is not optimized.
        (folder / ".cargo").mkdir()
        (folder / ".cargo/config.toml").write_text("\n".join(f"[profile.dev.package.{name}]\nopt-level = 0" for name in sorted(packages)))
        # A bug changes one function, so what was compiled before is of use. Nobody looks for lines.
        self.environment = os.environ | {
            "CARGO_TARGET_DIR": str(target), "CARGO_INCREMENTAL": "1", "CARGO_PROFILE_DEV_DEBUG": "false", "RUST_BACKTRACE": "0",
            "MINISTACK_PYTHON": os.environ.get("MINISTACK_PYTHON", str(TOOLS / "ministack/bin/python"))}
        # With new times: what an earlier run built, with a bug or in another folder, is not taken for what these sources give.
        files = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
        packed = subprocess.run(["tar", "--null", "--files-from=-", "-c"], cwd=ROOT, input=files.stdout, capture_output=True, check=True)
        subprocess.run(["tar", "-x", "-m", "-C", self.folder], input=packed.stdout, check=True)

    def apply(self, bug, *options):
        subprocess.run(["git", "apply", "--recount", *options, bug.path], cwd=self.folder, check=True)

    def run(self, command, timeout=None):
        """Whether a command ended well, and what it printed."""
        with tempfile.TemporaryFile("w+") as said:
            begun = subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=said, stderr=subprocess.STDOUT,
                                     shell=isinstance(command, str), start_new_session=True)
            try:
                ended = begun.wait(timeout)
            except subprocess.TimeoutExpired:
                # What it started, too.
                os.killpg(begun.pid, signal.SIGKILL)
                ended = begun.wait()
            said.seek(0)
            return ended == 0, said.read()

    def build(self, bugs):
        """Whether all test programs compile that find them, and what was printed."""
        for program in sorted({bug.program for bug in bugs if not bug.is_script}):
            built, said = self.run(["cargo", "test", "--quiet", "--no-run", *shlex.split(program)])
            if not built:
                return built, said
        return True, ""

    def found(self, bugs):
        """Those whose tests fail when the tests of all run side by side. That a bug is missing says nothing yet."""
        found = []
        for program, is_exact in sorted({(bug.program, bug.is_exact) for bug in bugs if not bug.is_script}):
            of = [bug for bug in bugs if (bug.program, bug.is_exact) == (program, is_exact)]
            names = sorted({bug.wanted for bug in of})
            if len(names) < 2:
                continue
            command = ["cargo", "test", *shlex.split(program), "--", *["--exact"] * is_exact, *names]
            _, said = self.run(command, TOGETHER_TIMEOUT_S)
            failed = re.findall(r"^test (\S+).* \.\.\. FAILED$", said, re.M)
            found += [bug for bug in of if any(name == bug.wanted if is_exact else bug.wanted in name for name in failed)]
        return found

    def test(self, bug):
        return self.run(bug.test if bug.is_script else ["cargo", "test", "--quiet", *shlex.split(bug.test)], TIMEOUT_S)


def own_packages():
    """The packages of the workspace, with the names of what is compiled of each."""
    metadata = subprocess.run(["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"], cwd=ROOT, capture_output=True, check=True)
    return {package["name"]: {target["name"] for target in package["targets"]} for package in json.loads(metadata.stdout)["packages"]}


def take_over(target, packages):
    """Dependencies are the same: what the workspace's own tests have compiled of them is taken over."""
    built = ROOT / "target/debug"
    if (target / "debug").exists() or not (built / "deps").is_dir():
        return
    own = {name.replace("-", "_") for package, targets in packages.items() for name in [package, *targets]}
    # What says that a crate is compiled comes first: others may compile meanwhile.
    for part in (".fingerprint", "build", "deps"):
        (target / "debug" / part).mkdir(parents=True)
        for entry in (built / part).iterdir():
            crate = re.match(r"(?:lib)?(.+)-[0-9a-f]{16}", entry.name)
            if crate and crate[1].replace("-", "_") in own:
                continue
            to = target / "debug" / part / entry.name
            try:
                shutil.copytree(entry, to, symlinks=True) if entry.is_dir() else shutil.copy2(entry, to)
            except (FileNotFoundError, shutil.Error):  # a compiler's own, which is gone by now
                shutil.rmtree(to, ignore_errors=True)


def pass_without(copy, bugs):
    """All tests pass without a bug: asked first, so that each bug costs one build and not two. (That each test is there is held by
    .ci/planted.py.)"""
    commands = {}
    for bug in bugs:
        head, _, name = bug.test.rpartition(" ")
        if bug.is_script:
            # Names of tests that one script runs.
            head, name = (head, name) if head == "deploy/test.sh" else (bug.test, "")
        else:
            head = f"cargo test --quiet {head}" + ("" if " -- " in bug.test else " --")
        commands.setdefault(head, set()).add(name)
    for command, names in commands.items():
        passed, said = copy.run(f"{command} {' '.join(sorted(names))}")
        if not passed:
            sys.exit(f"{said}\na test fails without a bug: {command}")


def plant(copy, bugs):
    """Plants bugs in one build. Those that their tests do not find."""
    for bug in bugs:
        copy.apply(bug)
    built, said = copy.build(bugs)
    missed = []
    if not built and len(bugs) == 1:
        print(f"{said}\n{bugs[0].name}: does not compile", flush=True)
        missed = bugs
    elif built:
        found = copy.found(bugs)
        for bug in bugs:
            is_missed = bug not in found and copy.test(bug)[0]
            alone = "" if len(bugs) == 1 else " beside others"
            print(f"{bug.name}: NOT FOUND by {bug.test}{alone}" if is_missed else f"{bug.name}: found by {bug.test}", flush=True)
            missed += [bug] * is_missed
    for bug in bugs:
        copy.apply(bug, "--reverse")
    if built and len(bugs) > 1:
        # A neighbour may have hidden it.
        missed = [one for bug in missed for one in plant(copy, [bug])]
    if not built and len(bugs) > 1:
        # Those of the files that the compiler names, one at a time; the others together.
        named = set(re.findall(r"^ *--> (\S+?):\d+", said, re.M))
        apart = [bug for bug in bugs if bug.files & named] or bugs
        print(f"{said[-2000:]}\nof {', '.join(bug.name for bug in bugs)}, {len(apart)} may not compile: one at a time", flush=True)
        rest = [bug for bug in bugs if bug not in apart]
        missed = [one for batch in [[bug] for bug in apart] + [rest] * bool(rest) for one in plant(copy, batch)]
    return missed


def neighbours(bugs):
    """Bugs in batches."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    bugs = sorted(bugs, key=lambda bug: bug.name)
    random.Random(commit).shuffle(bugs)
    # Those of the largest modules first: they need the most builds.
    of_module = collections.Counter(bug.module for bug in bugs)
    bugs.sort(key=lambda bug: -of_module[bug.module])
    batches = []
    for bug in bugs:
        for batch in batches:
            if (len(batch) < AT_ONCE and sum(bug.module == other.module for other in batch) < OF_A_MODULE
                    and not any(bug.is_near(other) for other in batch)):
                batch.append(bug)
                break
        else:
            batches.append([bug])
    return batches


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--together", action="store_true")
    parser.add_argument("--scripts", action="store_true")
    parser.add_argument("group", nargs="?", choices=sorted(one.name for one in BUGS.iterdir() if one.is_dir()))
    parser.add_argument("part", nargs="?", default="")
    options = parser.parse_args()
    bugs = [Bug(path) for path in sorted(BUGS.glob("*/*.patch"))]
    if options.together:
        batches = neighbours([bug for bug in bugs if not bug.is_script])
    elif options.scripts:
        batches = [[bug] for bug in bugs if bug.is_script]
    else:
        batches = [[bug] for bug in bugs if bug.path.parent.name == options.group and options.part in bug.path.stem]
    if not batches:
        parser.error(f"no such bugs: {BUGS}/{options.group}/*{options.part}*.patch")
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(pathlib.Path(folder))
        begun = time.monotonic()
        pass_without(copy, [bug for batch in batches for bug in batch])
        print(f"without a bug all tests pass, {time.monotonic() - begun:.0f} s", flush=True)
        missed = []
        for batch in batches:
            missed += plant(copy, batch)
            print(f"  {time.monotonic() - begun:.0f} s", flush=True)
    count = sum(len(batch) for batch in batches)
    print(f"{count - len(missed)} of {count} planted bugs were found, in {len(batches)} builds")
    if missed:
        sys.exit(f"not found: {', '.join(bug.name for bug in missed)}")


if __name__ == "__main__":
    main()
