#!/usr/bin/env python3
"""Builds one function and puts it into the deployed stack of `dev`, past CloudFormation: from an edit to a reply in seconds.

Usage: just push FUNCTION           its folder's name
       just push FUNCTION --undo    the alias names the stack's version again

For the account's Lambda it is built as `just build` does; for an emulator on this machine (AWS_ENDPOINT_URL) as `just build --quick`
does. Only the alias names what was pushed: the function itself has the stack's code again afterwards, also where this is interrupted, so
that the next `just deploy` publishes what it deploys. Where it was killed, --undo puts the code back too. Other environments get releases
only.
"""
import argparse, contextlib, os, pathlib, subprocess, sys, tempfile, time, urllib.parse
from tools import ROOT, in_sams_environment

ENVIRONMENT = "dev"


def is_emulated():
    """Whether functions run on this machine."""
    return urllib.parse.urlsplit(os.environ.get("AWS_ENDPOINT_URL", "")).hostname in ("127.0.0.1", "localhost", "::1")


def built(name, architecture):
    """The program of a function, built now, for a stack of this Architecture."""
    if is_emulated():
        # With `local` chosen beside it, dependencies have the features that they have everywhere here, and none is compiled again.
        subprocess.run(["cargo", "build", "--quiet", "-p", "local", "-p", name, "--bin", name], cwd=ROOT, check=True)
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / name
        with tempfile.NamedTemporaryFile() as file:
            subprocess.run(["strip", "-o", file.name, str(target)], check=True)
            return pathlib.Path(file.name).read_bytes()
    of_arm = ["--arm64"] if architecture == "arm64" else []
    subprocess.run(["cargo", "lambda", "build", "--quiet", "--profile", "plain", *of_arm, "-p", name, "--bin", name], cwd=ROOT, check=True)
    return (ROOT / "target/lambda" / name / "bootstrap").read_bytes()


def objection(stack, parameters):
    """Why a stack with these parameters is not pushed to: what it is decides, not what it is called."""
    if not parameters:
        return f"{stack} is not there: just deploy {ENVIRONMENT}"
    return None if parameters["Environment"] == ENVIRONMENT else f"{stack} is {parameters['Environment']}: only {ENVIRONMENT} is pushed to"


def code_of(template, logical):
    """Where the code of a function is, by a kept release's template."""
    from samtranslator.yaml_helper import yaml_parse
    place = yaml_parse(template)["Resources"][logical]["Properties"]["CodeUri"].removeprefix("s3://")
    return dict(zip(("S3Bucket", "S3Key"), place.split("/", 1)))


def code_of_stack(stack, release, logical):
    """Where the code of a function of the stack's release is."""
    import releases
    if release not in releases.kept(stack.name):
        sys.exit(f"{stack.name} has no release that is kept: just deploy {ENVIRONMENT}")
    return code_of(releases.read(stack.name, release)[0], logical)


def update(functions, name, **code):
    """Gives a function other code."""
    functions.update_function_code(FunctionName=name, **code)
    functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})


def put_back(functions, name, code):
    """Gives a function the stack's code, once it has what it was given before: Lambda refuses two updates at a time."""
    from botocore.exceptions import WaiterError
    with contextlib.suppress(WaiterError):  # an update that failed is over, too
        functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    update(functions, name, **code)


def main():
    import releases
    from stack import ALIAS, Stack, client

    parser = argparse.ArgumentParser(prog="just push", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("function", choices=sorted(one.parent.name for one in ROOT.glob("functions/*/Cargo.toml")), metavar="FUNCTION")
    parser.add_argument("--undo", action="store_true")
    options = parser.parse_args()
    start, functions, stack = time.monotonic(), client("lambda"), Stack(ENVIRONMENT)
    now = stack.parameters()
    if said := objection(stack.name, now):
        sys.exit(said)
    logical = "".join(word.capitalize() for word in options.function.split("-")) + "Function"
    if logical not in (there := stack.resources()):
        sys.exit(f"{stack.name} has no {logical}: just deploy {ENVIRONMENT}")
    name, of_stack = there[logical][0], code_of_stack(stack, now["Release"], logical)
    if options.undo:
        functions.update_alias(FunctionName=name, Name=ALIAS, FunctionVersion=stack.published()[name])
        put_back(functions, name, of_stack)
        print(f"{options.function} is the stack's again")
        return
    program = releases.zipped(built(options.function, now.get("Architecture")))
    seconds = time.monotonic() - start
    try:
        update(functions, name, ZipFile=program)
        version = functions.publish_version(FunctionName=name, Description="pushed")["Version"]
        functions.update_alias(FunctionName=name, Name=ALIAS, FunctionVersion=version)
        print(f"{options.function} answers from version {version} after {time.monotonic() - start:.1f} s, {seconds:.1f} of them the build",
              flush=True)
    finally:
        put_back(functions, name, of_stack)


if __name__ == "__main__":
    in_sams_environment()
    main()
