#!/usr/bin/env python3
"""Deploys what `just build` has built to an environment of samconfig.toml.

Usage: just deploy ENVIRONMENT [Name=value …]

The values override the environment's parameters. The release is named after the commit, the functions and all parameters, so
that whatever changes arrives: each function gets a new version, and the stage the API as it is. Before AWS is asked, what the
owner has not said and what the template would not take is named.
"""
import argparse, hashlib, os, pathlib, subprocess, sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = pathlib.Path(os.environ.get("CITIZEN_TOOLS", pathlib.Path.home() / ".cache/citizen-tools"))


def release(parameters, functions):
    """The name of a release: a digest of its parameters and of the functions' code, by name, and the commit. The digest comes first:
    SAM names a version after the first ten characters."""
    digest = hashlib.sha256((ROOT / "template.yaml").read_bytes())
    for name, value in sorted(parameters.items()):
        digest.update(f"\n{name}={value}".encode())
    for name, code in sorted(functions.items()):
        digest.update(b"\n" + name.encode() + hashlib.sha256(code).digest())
    return f"{digest.hexdigest()[:16]}-{commit()}"


def commit():
    said = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return said.stdout.strip() or "unknown"


def built(folder=ROOT / "target/lambda"):
    """The code of all functions, by name."""
    names = sorted(manifest.parent.name for manifest in ROOT.glob("functions/*/Cargo.toml"))
    if missing := [name for name in names if not (folder / name / "bootstrap").exists()]:
        sys.exit(f"not built: {', '.join(missing)}: run `just build`")
    return {name: (folder / name / "bootstrap").read_bytes() for name in names}


def main():
    from environments import environments, objections, parameters

    parser = argparse.ArgumentParser(prog="just deploy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", choices=environments())
    parser.add_argument("changes", nargs="*", metavar="Name=value")
    options = parser.parse_args()
    given = parameters(environments()[options.environment], options.changes)
    if stopped := objections(given):
        sys.exit(f"{options.environment} is not deployed:\n  " + "\n  ".join(stopped))
    given["Release"] = release(given, built())
    print(f"release {given['Release']}", flush=True)
    # An empty value stands in quotes, or SAM CLI takes it for no value at all.
    overrides = [f'{name}="{value}"' if value == "" else f"{name}={value}" for name, value in given.items()]
    os.chdir(ROOT)
    sam = TOOLS / "venv/bin/sam"
    os.execv(sam, [str(sam), "deploy", "--config-env", options.environment, "--parameter-overrides", *overrides])


if __name__ == "__main__":
    if sys.prefix != str(TOOLS / "venv"):
        # SAM CLI's environment has its parser.
        python = TOOLS / "venv/bin/python"
        if not python.exists():
            sys.exit("SAM CLI is missing: run .ci/install-tools.sh")
        os.execv(python, [str(python), *sys.argv])
    main()
