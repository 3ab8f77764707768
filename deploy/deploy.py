#!/usr/bin/env python3
"""Deploys what `just build` has built to an environment of samconfig.toml.

Usage: just deploy ENVIRONMENT [--yes] [--again] [--functions FOLDER] [Name=value …]
       just deploy ENVIRONMENT --live [--yes] [--again] [Name=value …]      what is live, with other parameters: nothing is built

The values override the environment's parameters, with --live those that the stack has. The release is named after the commit, the
functions and all parameters, so that whatever changes arrives: each function gets a new version, and the stage the API as it is. Before
AWS is asked, what the owner has not said and what the template would not take is named. What was deployed is kept (`just back` lists it).
"""
import argparse, pathlib, subprocess, sys, time
import release
from tools import ROOT, in_sams_environment

OWN_CACHE = "serverless:"
BUILD = {"x86_64": "`just build`", "arm64": "`just build --arm64`"}
# What tells the updates of one deployment apart.
OF_AN_UPDATE = ("Release", "DeletionProtection", "NetworkStays")


def table_objection(current, given, said):
    """Why this deployment may not have this table: data stay where they are, unless another table is named behind the command."""
    now, then = current.get("ExistingTable", ""), given.get("ExistingTable", "")
    if not current or now == then or "ExistingTable" in said:
        return []
    return [f"ExistingTable: the stack's table is {now or 'its own'} and this would make it {then or 'a new, empty one'}; "
            "say so in samconfig.toml, or behind the command if you mean it"]


def architecture_objection(now, values, functions=release.BUILT):
    """Why Lambda could not run these functions, which then fail at each start: they are built for another machine. What is live, with
    parameters `now`, is built for that which it has; else it is what is built in this folder."""
    wanted = values["Architecture"]
    if now:
        of_live = now.get("Architecture", wanted)
        return [] if wanted == of_live else [f"Architecture: what is live is built for {of_live}; {wanted} wants a build ({BUILD[wanted]}), without --live"]
    others = {name: machine for name, machine in release.machines(functions).items() if machine != wanted}
    return [f"Architecture={wanted}, and {len(others)} functions in {functions} are built for {', '.join(sorted(set(others.values())))} "
            f"({min(others)} …): {BUILD[wanted]}"] if others else []


def has_network(current):
    """Whether a stack with these parameters has the cache's network, also where functions have only begun to leave it."""
    return current.get("CacheUrl") == OWN_CACHE or current.get("NetworkStays") == "true"


def network_objection(current, values):
    """Why the cache's network may not have these zones: subnets cannot change theirs, and two with the same addresses cannot be at once."""
    now, then = current.get("Zones", ""), values["Zones"]
    if not has_network(current) or values["CacheUrl"] != OWN_CACHE or now == then:
        return []
    return [f"Zones: the network is in {now or 'the first two'}, and subnets stay in theirs: deploy CacheUrl=off: first, and then with Zones={then}"]


def cache_of(parameters):
    """Which cache the environments share with these parameters, whoever logs in there, and by TLS or not; None where they share none."""
    url = parameters.get("CacheUrl", "off:")
    if url == OWN_CACHE:
        return f"{url}{parameters.get('Environment', 'dev')}"  # its name has the environment's
    return None if url in ("memory:", "off:") else url.partition("//")[2].rpartition("@")[2] or url


def another_cache(current, values):
    """Whether a stack with these parameters would go from one cache to another at once."""
    now, then = cache_of(current), cache_of(values)
    return None not in (now, then) and now != then


def cache_objection(current, values):
    """Why the cache may not be this one: functions change one after the other, and those that still read the old cache would not hear of
    what others write. Nor would a cache hear of what was written while the stack had another: only a stream's mapping that is made anew
    tells again what has been."""
    if not another_cache(current, values):
        return []
    return ["CacheUrl: the stack has another cache, and whoever still reads that would not hear of writes: deploy CacheUrl=off: first, and then "
            'this (docs/procedures.md, "Another cache")']


def mail_objection(current, values, is_there):
    """Why the stack may not make this identity: CloudFormation makes none that SES has, also not one that was the stack's own before, which
    stays when the stack has it no more. `is_there` asks SES."""
    identity = values["MailIdentity"]
    if identity in ("", current.get("MailIdentity", "")) or not is_there(identity):
        return []
    return [f"MailIdentity: SES has {identity} already, and the stack would make it: leave MailIdentity out, and MailFromDomain, which is "
            "the identity's own then"]


def with_what_stays(current, given):
    """What is no part of a release unless it is said: which region runs the jobs (docs/procedures.md)."""
    return {name: current[name] for name in ("StandsBy",) if current.get(name, "false") != "false"} | given


def in_turn(current, given):
    """The parameters of each update of a stack that has these now.

    The first that makes a stack leaves the table unprotected: CloudFormation could not take a protected one back where the creation
    fails, and the stack would be stuck in ROLLBACK_FAILED. And functions leave the cache's network before it goes: as long as a version of
    one is in it, Lambda keeps its network interfaces, and CloudFormation would leave the subnets behind
    (https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html). Until it goes, it is in its zones."""
    if not current and given.get("DeletionProtection", "true") == "true" and not given.get("ExistingTable"):
        return [given | {"DeletionProtection": "false"}, given]
    if has_network(current) and given.get("CacheUrl", "off:") != OWN_CACHE:
        of_network = {"NetworkStays": "true"} | {name: current[name] for name in ("Zones",) if name in current}
        return [given | of_network, given]
    return [given]


def refused(template, given, there):
    """Which parameters a stack that has these now would have otherwise, had somebody carried this update out."""
    import releases
    wanted = releases.valued(template, given)
    return [f"{name}={wanted[name]}" for name in OF_AN_UPDATE if name in wanted and there.get(name) != wanted[name]]


def update(environment, stack, template, current, given, *options):
    """Deploys a release's template, in as many updates as that takes. What `Stack.settle` tells."""
    import releases
    for one in in_turn(current, given) if "\n  NetworkStays:" in template else [given]:
        releases.deploy(environment, stack.name, template, one, *options)
        if lacks := refused(template, one, stack.parameters()):
            sys.exit(f"nobody carried the change set out, and {stack.name} has no {', '.join(lacks)}: the same command asks again")
        leaves_network = one.get("NetworkStays") == "true"
        settled = stack.settle(keep=0 if leaves_network else 3)
        if leaves_network:
            stack.leave_network()
    return settled


def update_or_forget(environment, stack, template, current, given, kept, *options):
    """As `update`. A release that CloudFormation did not deploy is none to go back to, unless it is one of those `kept` before."""
    import releases
    try:
        return update(environment, stack, template, current, given, *options)
    except (SystemExit, subprocess.CalledProcessError):
        if given["Release"] not in kept and not stack.has(given["Release"]):
            releases.forget(stack.name, given["Release"])
        raise


def of_live(stack, region=None):
    """The template and the parameters of what is live, here or in another region. Where only parameters change nothing is gradual: an
    alarm that is on would stop it."""
    import releases
    from region import brought
    if region:
        template, now = brought(stack.name, region)
    elif (now := stack.parameters()).get("Release") in releases.kept(stack.name):
        template = releases.read(stack.name, now["Release"])[0]
        now = now | {name: "false" for name in ("GradualDeployment",) if name in now}
    else:
        sys.exit(f"{stack.name} has no release that is kept: `just build`, and then the same without --live")
    return template, {name: value for name, value in now.items() if name != "NetworkStays"}  # `in_turn` says that


def gradually(stack, current, template, given, kept):
    """The parameters of a deployment, which is not gradual where callers would fail meanwhile."""
    import releases
    values = releases.valued(template, given)
    if not current or values.get("GradualDeployment") != "true":
        return given
    import canaries
    live = releases.read(stack.name, current["Release"])[0] if current.get("Release") in kept else template
    if why := canaries.objection(live, current, template, values):
        print(f"not gradual: {why}", flush=True)
        return given | {"GradualDeployment": "false"}
    return given


def main():
    import releases
    from environments import defaults, environments, new_objections, parameters
    from push import is_emulated
    from samtranslator.yaml_helper import yaml_parse
    from stack import Stack, has_identity

    parser = argparse.ArgumentParser(prog="just deploy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", choices=environments())
    parser.add_argument("changes", nargs="*", metavar="Name=value")
    parser.add_argument("--yes", action="store_true", help="do not ask before the change set is carried out")
    parser.add_argument("--again", action="store_true", help="publish all anew though nothing has changed: every environment begins again")
    parser.add_argument("--functions", type=pathlib.Path, default=release.BUILT, help="where the built functions are")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--live", action="store_true", help="what is live, with the parameters that the stack has, but for those said here")
    which.add_argument("--live-in", metavar="REGION", help="what is live in another region, likewise (`just region`)")
    options = parser.parse_intermixed_args()
    stack, said, live = Stack(options.environment), parameters({"parameter_overrides": []}, options.changes), None
    of_then, now = None, {}
    if options.live or options.live_in:
        template, now = of_live(stack, options.live_in)
        live, of_then = now.pop("Release"), yaml_parse(template)
        given = now | said
    else:
        template, given = (ROOT / "template.yaml").read_text(), parameters(environments()[options.environment], options.changes)
    stopped = new_objections(given, now, of_then)
    if not stopped and not is_emulated():
        stopped = architecture_objection(now, defaults() | given, options.functions)
    if not stopped:
        current = stack.parameters()
        given = with_what_stays(current, given)
        values = defaults() | releases.valued(template, given)
        stopped = table_objection(current, given, said)
        stopped += network_objection(current, values)
        stopped += cache_objection(current, values)
        stopped += mail_objection(current, values, has_identity)
    if stopped:
        sys.exit(f"{options.environment} is not deployed:\n  " + "\n  ".join(stopped))
    functions = None if live else release.built(options.functions)
    kept = releases.kept(stack.name)
    given = gradually(stack, current, template, given, kept)
    named = given | ({"again": time.time()} if options.again else {})
    given["Release"] = release.renamed(live, template, named) if live else release.name(named, functions)
    print(f"release {given['Release']}", flush=True)
    template = (releases.keep(stack.name, given["Release"], given, template) if live
                else releases.package(stack.name, given["Release"], given, functions))
    unasked = ["--no-confirm-changeset"] if options.yes else []
    moved, deleted = update_or_forget(options.environment, stack, template, current, given, kept, *unasked)
    if given.get("ExistingTable") and current.get("TableUnitsPerSecond") != values["TableUnitsPerSecond"]:
        print(f"TableUnitsPerSecond is known to the alarms alone: just restore {options.environment} --finish {given['ExistingTable']} tells the table")
    for one in moved:
        print(f"{one}: its alias named another version than the stack's (`just push`?), and names that again")
    print(f"{releases.prune(stack.name, {given['Release'], current.get('Release')})} releases are kept; {deleted} old versions of functions were deleted")


if __name__ == "__main__":
    in_sams_environment()
    main()
