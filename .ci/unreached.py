#!/usr/bin/env python3
"""Lists what `shared` and the functions have and no function reaches: nothing there exists for `local`, a test or a measurement.

`shared`, its `platform` and `worker`, all functions and the operator's commands are put together as the modules of one program, which calls each
function's `main`. Whatever the compiler calls dead code in it is reached by nothing that runs in production."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
CRATE = ROOT / "target" / "unreached"
# The one that is optional.
DISCOVERY = "aws-sdk-elasticache"


def dependencies(workspace):
    """All that the workspace's crates depend on beside each other, with the features that they ask for: what is compiled then is what the
    workspace's own checks have compiled."""
    features, paths = {}, {name for name, of in workspace["workspace"]["dependencies"].items() if "path" in of}
    for member in workspace["workspace"]["members"]:
        for manifest in ROOT.glob(f"{member}/Cargo.toml"):
            tables = tomllib.loads(manifest.read_text())
            for name, of in [entry for kind in ("dependencies", "dev-dependencies") for entry in tables.get(kind, {}).items()]:
                if "path" not in of and name not in paths and (not of.get("optional") or name == DISCOVERY):
                    features.setdefault(name, set()).update(of.get("features", []))
    return features


def source(folder, to, module):
    """Copies a crate's sources; what it calls `crate` is then `module` of the program."""
    for file in sorted((folder / "src").rglob("*")):
        if not file.is_file() or file.name == "main.rs":
            continue
        target = to / file.relative_to(folder / "src")
        if target.name == "lib.rs":
            target = to / ("shared.rs" if module == "shared" else "mod.rs")
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix != ".rs":
            shutil.copy(file, target)
            continue
        text = file.read_text()
        # What stands outside of the crate is included from where it is.
        text = re.sub(
            r'include_str!\("(\.\./[^"]*)"\)',
            lambda found: f'include_str!("{(file.parent / found[1]).resolve()}")',
            text,
        )
        if module != "shared":
            text = re.sub(r"\bcrate::", f"crate::{module}::", text)
        for other in ("platform", "worker"):
            if module != other:
                text = re.sub(rf"(?<!crate::)\b{other}::", f"crate::{other}::", text)
        target.write_text(text)


def of_the_document(span, document):
    """Whether a span's item is all that says to the OpenAPI document what a function takes or where it is, and stands in it."""
    before = (CRATE / span["file_name"]).read_text().splitlines()[: span["line_start"] - 1]
    attributes = []
    while before and (before[-1].startswith((" ", "#", ")", "/")) or not before[-1].strip()) and before[-1] != "}":
        attributes.append(before.pop())
    attributes = "\n".join(attributes)
    names = re.findall(r'operation_id = "(\w+)"', attributes)
    if "ToSchema" in attributes:
        names += re.findall(r"\bas = (\w+)", attributes) or re.findall(r"\b(?:struct|enum) (\w+)", span["text"][0]["text"])
    return any(f'"{name}"' in document for name in names)


def main():
    shutil.rmtree(CRATE, ignore_errors=True)
    (CRATE / "src").mkdir(parents=True)
    manifest = (ROOT / "Cargo.toml").read_text()
    workspace = tomllib.loads(manifest)
    functions = sorted(path for path in (ROOT / "functions").iterdir() if path.is_dir())
    source(ROOT / "shared", CRATE / "src", "shared")
    source(ROOT / "shared/platform", CRATE / "src/platform", "platform")
    source(ROOT / "shared/worker", CRATE / "src/worker", "worker")
    for file in ("build.rs", "amazon_roots.rs"):
        shutil.copy(ROOT / "shared/platform" / file, CRATE)
    root = (CRATE / "src" / "shared.rs").read_text()
    (CRATE / "src" / "shared.rs").unlink()
    modules, calls = ["mod platform;", "mod worker;"], []
    for folder in functions:
        module = folder.name.replace("-", "_")
        source(folder, CRATE / "src" / module, module)
        main = (folder / "src" / "main.rs").read_text()
        uses = "".join(f"    {line}\n" for line in re.findall(r"(?m)^use .*;$", main))
        body = main[main.index("async fn main") :].replace("{\n", "{\n" + uses, 1)
        body = re.sub(rf"\b{module}::", f"crate::{module}::", body).replace("async fn main", f"async fn main_{module}")
        modules.append(f"mod {module};\n{body}")
        calls.append(f"    let _ = main_{module}().await;")
    roots, commands = [], (ROOT / "local" / "src" / "commands.rs").read_text()
    names = "|".join(folder.name.replace("-", "_") for folder in functions)
    operator = ROOT / "local" / "src" / "operator"
    for file in [operator.with_suffix(".rs"), *sorted(file for file in operator.rglob("*.rs") if "tests" not in file.stem)]:
        module = "::".join(file.relative_to(operator.parent).with_suffix("").parts)
        text = re.sub(r"\bcrate::(?!operator::)", "crate::operator::", file.read_text())
        # The functions that an operator's commands call.
        text = re.sub(rf"(?<!::)\b({names})::", r"crate::\1::", text)
        target = CRATE / "src" / file.relative_to(operator.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        # What no command calls is there for somebody else, and reaches nothing.
        called = [name for name in re.findall(r"(?m)^pub (?:async )?fn (\w+)", text) if re.search(rf"(?<![.\w])(?<!fn ){name}\(", commands)]
        roots += [f"    let _ = {module}::{name};\n" for name in called]
    modules.append("mod operator;\nfn operators() {\n" + "".join(roots) + "}\n")
    (CRATE / "src" / "main.rs").write_text(
        # Nothing of a program is anybody else's, so what its root gives on would count as reached.
        root.replace("pub mod", "mod").replace("\npub use", "\npub(crate) use")
        + "\nextern crate self as shared;\n"
        + "\n".join(modules)
        + "\n#[tokio::main(flavor = \"current_thread\")]\nasync fn main() {\n"
        + "\n".join(calls)
        + "\n    operators();\n}\n"
    )
    builds = tomllib.loads((ROOT / "shared/platform/Cargo.toml").read_text())["build-dependencies"]
    # The workspace's tables as they stand, but for its own crates: versions, and profiles, which are a part of what is compiled.
    tables = re.split(r"(?m)^(?=\[)", manifest)
    kept = [table for table in tables if table.startswith(("[workspace.dependencies]", "[profile."))]
    of_workspace = "".join(line for line in "".join(kept).splitlines(keepends=True) if "path =" not in line)
    named = "".join(
        f"{name} = {{ workspace = true, features = {json.dumps(sorted(features))}, optional = {json.dumps(name == DISCOVERY)} }}\n"
        for name, features in sorted(dependencies(workspace).items())
    )
    (CRATE / "Cargo.toml").write_text(
        '[package]\nname = "unreached"\nversion = "0.1.0"\nedition = "2024"\n\n'
        f'[features]\ndefault = ["discovery"]\ndiscovery = ["dep:{DISCOVERY}"]\n\n[dependencies]\n{named}\n[build-dependencies]\n'
        + "".join(f"{name}.workspace = true\n" for name in builds)
        + f"\n[workspace]\n\n{of_workspace}"
    )
    shutil.copy(ROOT / "Cargo.lock", CRATE)
    checked = subprocess.run(
        ["cargo", "check", "--quiet", "--offline", "--message-format", "json"],
        cwd=CRATE,
        env={**os.environ, "CARGO_TARGET_DIR": str(ROOT / "target")},
        stdout=subprocess.PIPE,
        text=True,
    )
    unreached, document = [], (ROOT / "functions/docs/openapi.json").read_text()
    for line in checked.stdout.splitlines():
        message = json.loads(line).get("message") or {}
        if (message.get("code") or {}).get("code") == "dead_code":
            primary = [span for span in message["spans"] if span["is_primary"]]
            unreached += [
                f"{span['file_name']}:{span['line_start']}: {span['text'][0]['text'].strip()}"
                for span in primary
                if not span["file_name"].startswith("src/operator") and not of_the_document(span, document)
            ]
        elif message.get("level") == "error":
            sys.exit(message["rendered"])
    if checked.returncode:
        sys.exit(checked.returncode)
    print("\n".join(unreached))
    if unreached:
        sys.exit(f"{len(unreached)} items of production are reached by no function")


if __name__ == "__main__":
    main()
