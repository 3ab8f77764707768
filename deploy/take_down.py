#!/usr/bin/env python3
"""Takes the stack of an environment down, and waits until it is gone. What holds data stays (docs/procedures.md), and so do the kept
releases: `sam delete` would delete their code.

Usage: just take-down ENVIRONMENT [--yes]
"""
import argparse, sys
from tools import in_sams_environment


def take_down(stack):
    """Deletes a stack."""
    from botocore.exceptions import ClientError, WaiterError
    from stack import client
    cloudformation = client("cloudformation")
    try:
        cloudformation.delete_stack(StackName=stack.name)
        # An hour: functions leave the cache's network slowly.
        cloudformation.get_waiter("stack_delete_complete").wait(StackName=stack.name, WaiterConfig={"Delay": 5, "MaxAttempts": 720})
    except (ClientError, WaiterError) as error:
        sys.exit(f"{stack.name} is not deleted; where it was begun, its events say why: {error}")


def main():
    from environments import environments
    from stack import Stack, client
    parser = argparse.ArgumentParser(prog="just take-down", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", choices=environments())
    parser.add_argument("--yes", action="store_true", help="do not ask before")
    options = parser.parse_args()
    stack = Stack(options.environment)
    if stack.described() is None:
        sys.exit(f"there is no stack {stack.name}")
    region = client("cloudformation").meta.region_name
    if not options.yes and input(f"Delete the stack {stack.name} in {region}? [y/N] ").strip().lower() != "y":
        sys.exit(f"{stack.name} is as it was")
    take_down(stack)
    print(f"{stack.name} is deleted; what holds data, and its releases, are kept (docs/procedures.md)")


if __name__ == "__main__":
    in_sams_environment()
    main()
