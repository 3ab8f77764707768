#!/usr/bin/env python3
"""Deploys what `just build` has built to an environment of samconfig.toml.

Usage: just deploy ENVIRONMENT [--yes] [--again] [--functions FOLDER] [Name=value …]

The values override the environment's parameters. The release is named after the commit, the functions and all parameters, so
that whatever changes arrives: each function gets a new version, and the stage the API as it is. Before AWS is asked, what the
owner has not said and what the template would not take is named. The release is kept (`just back` lists those that are).
"""
import argparse, pathlib, sys, time
import release
from tools import ROOT, in_sams_environment


def table_objection(current, given, said):
    """Why this deployment may not have this table: data stay where they are, unless another table is named behind the command."""
    now, then = current.get("ExistingTable", ""), given.get("ExistingTable", "")
    if not current or now == then or "ExistingTable" in said:
        return []
    return [f"ExistingTable: the stack's table is {now or 'its own'} and this would make it {then or 'a new, empty one'}; "
            "say so in samconfig.toml, or behind the command if you mean it"]


def in_turn(stack, given):
    """The parameters of each update, the first of which makes the stack. The table is protected once it is there: CloudFormation could
    not take a protected one back where the creation fails, and the stack would be stuck in ROLLBACK_FAILED."""
    protects = given.get("DeletionProtection", "true") == "true" and not given.get("ExistingTable")
    return [given | {"DeletionProtection": "false"}, given] if stack is None and protects else [given]


def main():
    import releases
    from environments import environments, objections, parameters
    from stack import Stack

    parser = argparse.ArgumentParser(prog="just deploy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", choices=environments())
    parser.add_argument("changes", nargs="*", metavar="Name=value")
    parser.add_argument("--yes", action="store_true", help="do not ask before the change set is carried out")
    parser.add_argument("--again", action="store_true", help="publish all anew though nothing has changed: every environment begins again")
    parser.add_argument("--functions", type=pathlib.Path, default=ROOT / "target/lambda", help="where the built functions are")
    options = parser.parse_intermixed_args()
    given = parameters(environments()[options.environment], options.changes)
    stopped = objections(given)
    if not stopped:
        stack = Stack(options.environment)
        stopped = table_objection(stack.parameters(), given, parameters({"parameter_overrides": []}, options.changes))
    if stopped:
        sys.exit(f"{options.environment} is not deployed:\n  " + "\n  ".join(stopped))
    functions = release.built(options.functions)
    given["Release"] = release.name(given | ({"again": time.time()} if options.again else {}), functions)
    print(f"release {given['Release']}", flush=True)
    template = releases.package(stack.name, given["Release"], given, functions)
    for one in in_turn(stack.described(), given):
        releases.deploy(options.environment, stack.name, template, one, *(["--no-confirm-changeset"] if options.yes else []))
    moved, deleted = stack.settle()
    for one in moved:
        print(f"{one}: its alias named another version than the stack's (`just push`?), and names that again")
    print(f"{releases.prune(stack.name, given['Release'])} releases are kept; {deleted} old versions of functions were deleted")


if __name__ == "__main__":
    in_sams_environment()
    main()
