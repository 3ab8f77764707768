#!/usr/bin/env python3
"""Prints an output of the stack of an environment, or all of them.

Usage: just output ENVIRONMENT [NAME]
"""
import argparse, os, sys
from tools import in_sams_environment


def main():
    from environments import environments
    from roll_out import address
    from stack import Stack
    parser = argparse.ArgumentParser(prog="just output", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", choices=environments())
    parser.add_argument("name", nargs="?")
    options = parser.parse_args()
    outputs = Stack(options.environment).outputs()
    outputs["ApiUrl"] = address(outputs, os.environ.get("AWS_ENDPOINT_URL"))
    if options.name is None:
        print("\n".join(f"{name}={value}" for name, value in outputs.items()))
    elif options.name in outputs:
        print(outputs[options.name])
    else:
        sys.exit(f"the stack has no output {options.name}: {', '.join(outputs)}")


if __name__ == "__main__":
    in_sams_environment()
    main()
