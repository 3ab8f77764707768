#!/usr/bin/env python3
"""Every planted bug applies to the sources, and names a test that is there: `cargo test` passes where a name finds nothing."""

import pathlib
import re
import shlex
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODULE = re.compile(r"^(\s*)(?:pub(?:\([a-z]+\))? )?mod (\w+) \{")
ELSEWHERE = re.compile(r'#\[path = "([^"]+)"\]\s*mod (\w+);')
FUNCTION = re.compile(r"^\s*(?:pub(?:\([a-z]+\))? )?(?:async )?fn (\w+)")


def tests_in(file, module):
    """The tests of a source, each by its path in its crate."""
    found, modules, is_test = [], [], False
    for line in file.read_text().splitlines():
        if opened := MODULE.match(line):
            modules.append((opened[1], opened[2]))
        elif modules and line == modules[-1][0] + "}":
            modules.pop()
        if re.match(r"\s*#\[(tokio::)?test\b", line):
            is_test = True
        elif is_test and (function := FUNCTION.match(line)):
            found.append("::".join([*module, *(name for _, name in modules), function[1]]))
            is_test = False
    return found


def tests_below(folder):
    """The tests of a target whose root is in this folder."""
    files, moved = sorted(folder.rglob("*.rs")), {}
    for file in files:
        for at, name in ELSEWHERE.findall(file.read_text()):
            moved[file.parent / at] = [*file.relative_to(folder).with_suffix("").parts, name]
    found = []
    for file in files:
        module = moved.get(file, list(file.relative_to(folder).with_suffix("").parts))
        found += tests_in(file, [] if module[-1] in ("main", "lib") else module)
    return found


def targets():
    """Of each package and target (`lib` or a test's name), the tests."""
    found = {}
    for manifest in ROOT.glob("**/Cargo.toml"):
        if "target" in manifest.relative_to(ROOT).parts[:1]:
            continue
        read = tomllib.loads(manifest.read_text())
        if "package" not in read:
            continue
        package, folder = read["package"]["name"], manifest.parent
        if (folder / "src").is_dir():
            found[package, "lib"] = tests_below(folder / "src")
        named = {test["name"]: folder / test["path"] for test in read.get("test", []) if "path" in test}
        by_place = {one.stem: one for one in (folder / "tests").glob("*.rs")}
        by_place |= {one.parent.name: one for one in (folder / "tests").glob("*/main.rs")}
        for name, root in (by_place | named).items():
            is_alone = root.name != "main.rs"
            found[package, name] = tests_in(root, []) if is_alone else tests_below(root.parent)
    return found


def finds(test, known):
    """Whether a `Test:` line finds a test."""
    words = shlex.split(test)
    if words[0] == "deploy/test.sh":
        return all(is_python_test(word) for word in words[1:])
    if words[0].split("/")[0] in ("deploy", "lab", ".ci"):
        return all((ROOT / word).exists() for word in words if "/" in word)
    package = target = None
    names, exact = [], False
    while words:
        word = words.pop(0)
        if word in ("-p", "--package"):
            package = words.pop(0)
        elif word == "--test":
            target = words.pop(0)
        elif word == "--lib":
            target = "lib"
        elif word == "--features":
            words.pop(0)
        elif word == "--exact":
            exact = True
        elif not word.startswith("-"):
            names.append(word)
    among = [path for (owner, kind), paths in known.items() for path in paths
             if package in (None, owner) and target in (None, kind)]
    return all(any(name == path if exact else name in path for path in among) for name in names) and bool(among)


def is_python_test(name):
    """Whether deploy has a module, class and function of these names."""
    module, *inside = name.split(".")
    file = ROOT / "deploy" / f"{module}.py"
    if not file.exists():
        return False
    text = file.read_text()
    return all(re.search(rf"^\s*(class|def) {re.escape(one)}\b", text, re.M) for one in inside)


def main():
    known, wrong = targets(), []
    patches = sorted(ROOT.glob("lab/planted-bugs/*/*.patch"))
    for patch in patches:
        name = patch.relative_to(ROOT)
        applies = subprocess.run(["git", "apply", "--check", "--recount", patch], cwd=ROOT, capture_output=True, text=True)
        if applies.returncode:
            wrong.append(f"{name} does not apply: {applies.stderr.strip()}")
        test = re.search(r"^Test: (.+)$", patch.read_text(), re.M)
        if not test:
            wrong.append(f"{name} names no test")
        elif not finds(test[1], known):
            wrong.append(f"{name} names a test that is not there: {test[1]}")
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print(f"{len(patches)} planted bugs, {len(wrong)} of them wrong")
    sys.exit(bool(wrong))


main()
