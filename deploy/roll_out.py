#!/usr/bin/env python3
"""Deploys to an environment, walks through it, and goes back by itself where the walk fails: what the release workflow does.

Usage: just roll-out ENVIRONMENT [--functions FOLDER] [--without-email] [--account FILE] [Name=value …]

The first release of a stack has none before it to go back to; it stays, and this fails all the same. So does a release whose walk a limit
ends, which others may have used up. FILE has the account that the walk logs in with (`just smoke`); where nobody may register, nothing is
deployed without one.
"""
import argparse, os, pathlib, subprocess, sys
from tools import ROOT, in_sams_environment


def address(outputs, emulator):
    """Where the stack's API answers; an emulator's lies below a path of its own."""
    url = outputs["ApiUrl"]
    if not emulator:
        return url
    api, stage = url.removeprefix("https://").split(".")[0], url.rsplit("/", 1)[1]
    return f"{emulator}/restapis/{api}/{stage}/_user_request_"


def closed(values, account):
    """Why the walk could not begin, which would take every good release back; None if it can."""
    off = lambda name: not values[name].strip("0")
    if off("FailedLogInsPerMinute"):
        return "FailedLogInsPerMinute=0 closes log-ins, so nobody can walk through it: just deploy"
    if values["FailedLogInsPerMinute"].lstrip("0") == "1":
        return "FailedLogInsPerMinute=1 refuses the log-in that the walk tries after a wrong one: just deploy"
    if values["StandsBy"] == "true":
        return "StandsBy=true leaves jobs to another region, which has them too late for the walk: just deploy"
    if off("SessionRequestsPerSecond"):
        return "SessionRequestsPerSecond=0 closes all that wants a session, so nobody can walk through it: just deploy"
    # By plan. A new organization has the first; which one an account's has, nobody knows here.
    rates = values["OrgRequestsPerSecond"].split(",")
    if not any(rate.strip("0") for rate in (rates if account else rates[:1])):
        return f"OrgRequestsPerSecond={','.join(rates)} closes organizations, so nobody can walk through it: just deploy"
    zero = [name for name in ("RegistrationsPerMinute", "RegistrationsPerDay") if off(name)]
    if account or not zero:
        return None
    return f"{zero[0]}=0 closes registration, so the walk needs an account: --account FILE (deploy/smoke.py)"


def unfound(current, values):
    """Why the walk would find nobody where a stack with these parameters had others before; None if it does. The way back would delete the
    domain, and with it what its name is to point at."""
    name = values["DomainName"]
    if not name or values["HostedZoneId"] or name == current.get("DomainName"):
        return None
    live = " --live" if current else ""
    return (f"DomainName={name} leads nowhere until it points at the output DomainTarget, which is made with it: first just deploy …{live} "
            f"DomainName={name} CertificateArn=…, and put that into its DNS")


def refuse(environment, said):
    """Ends where the walk would take every good release back."""
    if said:
        sys.exit(f"{environment} is not rolled out: {said}")


def walk_or_go_back(environment, stack, before, walk):
    """Walks through what is deployed; where that fails, goes back to the release before and ends."""
    import smoke
    from back import back
    fault = walk()
    if not fault:
        print(f"{environment} has release {stack.parameters()['Release']}, and all is well")
        return
    print(f"NOT WELL: {fault}", flush=True)
    if before is None:
        sys.exit("there was no release before this one to go back to")
    back(environment, before, "--no-confirm-changeset")
    try:
        fault = walk()
    except smoke.Limited as limit:
        raise smoke.Limited(f"went back to release {before}, and there {limit}") from None
    sys.exit(f"went back to release {before}, " + (f"which is not well either: {fault}" if fault else "and all is well there"))


def main():
    import smoke
    from deploy import with_what_stays
    from environments import defaults, environments, parameters
    from stack import Stack

    parser = argparse.ArgumentParser(prog="just roll-out", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", choices=environments())
    parser.add_argument("changes", nargs="*", metavar="Name=value")
    parser.add_argument("--functions", type=pathlib.Path, default=ROOT / "target/lambda", help="where the built functions are")
    parser.add_argument("--without-email", action="store_true", help="where SES is not set up")
    parser.add_argument("--account", type=smoke.account_in, metavar="FILE", help="the account to walk with, in place of a new one")
    options = parser.parse_intermixed_args()
    given = parameters(environments()[options.environment], options.changes)
    refuse(options.environment, closed(defaults() | given, options.account))
    stack = Stack(options.environment)
    current = stack.parameters()
    values = defaults() | with_what_stays(current, given)
    refuse(options.environment, closed(values, options.account) or unfound(current, values))
    deploy = pathlib.Path(__file__).with_name("deploy.py")
    subprocess.run([sys.executable, str(deploy), options.environment, "--yes", "--functions", str(options.functions), *options.changes],
                   check=True)
    url = lambda: address(stack.outputs(), os.environ.get("AWS_ENDPOINT_URL"))
    try:
        walk_or_go_back(options.environment, stack, current.get("Release"), lambda: smoke.walk(url(), options.account, options.without_email))
    except smoke.Limited as limit:
        sys.exit(f"NOT WALKED to the end, for a limit: {limit}\n{options.environment} has release {stack.parameters()['Release']}; "
                 f"when the limit has room again: just smoke {url()}")


if __name__ == "__main__":
    in_sams_environment()
    main()
