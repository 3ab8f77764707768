#!/usr/bin/env python3
"""Deploys an earlier release as it was: its template, functions and parameters, in minutes and without a build.

Usage: just back                       lists the releases that are kept, the newest first
       just back RELEASE [--yes]       a release's name, or a part of it that no other has (the commit)

The table stays the one that the stack has now, a region that stands by goes on doing so, and where MailIdentity is another now, who
e-mails are from stays. So does a cache, where that of then is another. Nothing is gradual: an alarm that is on would stop the way back.
"""
import argparse, sys
from deploy import OWN_CACHE, another_cache, has_network, mail_objection, update
from tools import in_sams_environment

# Where the data are, and which region runs the jobs, is no part of a release.
STAYS = ("ExistingTable", "ExistingTableStream", "StandsBy")
# Nor who e-mails are from, once that is another domain: SES still has the domain of before, and CloudFormation makes none that is there.
OF_MAIL = ("MailIdentity", "MailFrom", "MailFromDomain")


def found(part, kept):
    """The environment and name of the one release that has this in its name; a text that says why there is none or which."""
    fits = [(environment, release) for environment, names in kept.items() for release in names if part in release]
    if len(fits) == 1:
        return fits[0]
    return f"no release is kept with {part} in its name" if not fits else \
        "which one?\n  " + "\n  ".join(f"{release}  {environment}" for environment, release in fits)


def parameters(then, now):
    """The parameters of a release, for a stack that has others now. A cache is not given up for another, which has not heard of what was
    written since, and a network that is there stays in its zones."""
    given = then | ({one: now[one] for one in ("CacheUrl", "Environment") if one in now} if another_cache(now, then) else {})
    stays = (*STAYS, "Zones") if has_network(now) and given.get("CacheUrl") == OWN_CACHE else STAYS
    stays += OF_MAIL if then.get("MailIdentity", "") != now.get("MailIdentity", "") else ()
    given |= {one: now[one] for one in stays if one in now}
    return given | ({"GradualDeployment": "false"} if "GradualDeployment" in then else {})


def back(environment, release, *options):
    """Deploys a kept release to its environment."""
    import releases
    from stack import Stack, has_identity
    stack = Stack(environment)
    template, then = releases.read(stack.name, release)
    now = stack.parameters()
    if now.get("ExistingTable") and "\n  ExistingTable:" not in template:
        sys.exit(f"{release} knows no other table than its own, and the stack's is {now['ExistingTable']}: it would lose its data")
    if now.get("StandsBy") == "true" and "\n  StandsBy:" not in template:
        sys.exit(f"{release} cannot stand by: it would run the jobs of a table that another region runs")
    if another_cache(now, then):
        print('the cache of then is another, and that of now stays (docs/procedures.md, "Another cache")', flush=True)
    given = parameters(then, now)
    for one in mail_objection(now, {"MailIdentity": ""} | given, has_identity):
        sys.exit(one)
    update(environment, stack, template, now, given, *options)


def main():
    import releases
    from environments import environments
    from stack import Stack

    parser = argparse.ArgumentParser(prog="just back", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("release", nargs="?")
    parser.add_argument("--yes", action="store_true", help="do not ask before the change set is carried out")
    options = parser.parse_args()
    kept = {environment: releases.kept(Stack(environment).name) for environment in environments()}
    if options.release is None:
        for environment, names in kept.items():
            live = Stack(environment).parameters().get("Release")
            print("\n".join(f"{release}  {environment}{'  live' * (release == live)}" for release in names) or f"none  {environment}")
        return
    fits = found(options.release, kept)
    if isinstance(fits, str):
        sys.exit(fits)
    back(*fits, *(["--no-confirm-changeset"] if options.yes else []))
    print(f"{fits[0]} has release {fits[1]} again")


if __name__ == "__main__":
    in_sams_environment()
    main()
