#!/usr/bin/env python3
"""`sam local invoke` of each function with its event, two at a time; deploy/sam-local.sh prepares the engine."""
import concurrent.futures, json, os, pathlib, subprocess, sys, time
from functions_at_work import NAMES, ROOT, environment, fault

WORK = pathlib.Path(os.environ["WORK"])


def logical_id(name):
    return "".join(word.capitalize() for word in name.split("-")) + "Function"


def invoke(name):
    """What is wrong with the function's answer; None if nothing."""
    command = ["sam", "local", "invoke", logical_id(name), "--template", ROOT / "template.yaml", "--skip-pull-image",
               "--event", ROOT / f"events/{name}.json", "--env-vars", WORK / "variables.json"]
    variables = {**os.environ, **environment(), "SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "us-east-1"}
    result = subprocess.run(command, env=variables, cwd=WORK, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    try:
        reply = json.loads(result.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return f"{name}: no answer (exit {result.returncode}): {result.stdout}\n{result.stderr[-3000:]}"
    wrong = fault(name, reply)
    return f"{name}: {wrong}\n{result.stderr[-3000:]}" if wrong else None


def main():
    started = time.monotonic()
    # SAM gives a `Ref` as the logical id: what is a resource's name or address is said here.
    (WORK / "variables.json").write_text(json.dumps({"Parameters": environment()}))
    names = sys.argv[1:] or NAMES
    first, *rest = names
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        wrong = [one for one in (invoke(first), *pool.map(invoke, rest)) if one]
    print("\n".join(wrong))
    print(f"{len(names) - len(wrong)} passed, {len(wrong)} failed")
    print(f"sam local invoke of {len(names)} functions in {time.monotonic() - started:.0f} s")
    sys.exit(bool(wrong))


main()
