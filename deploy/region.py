#!/usr/bin/env python3
"""Adds a region: a replica of the stack's table there, and a stack of the same release over it, standing by.

Usage: just region ENVIRONMENT REGION [--yes] [Name=value …]      with AWS_REGION naming the first region

The release is what is live in the first region: its template, its functions and its parameters, but for what is said here. Nothing is
built. Before anything is made, AWS is asked what would stop the stack there (`just preflight`).

What is exact in one region (quotas, unique addresses, idempotency keys, jobs) is exact in each of two, not over both: so the new one
stands by (StandsBy=true), and runs no jobs, until callers are sent there. docs/procedures.md says what to do then.
"""
import argparse, concurrent.futures, os, pathlib, re, subprocess, sys
from tools import in_sams_environment

# What there is once, in the first region: the account's budget, the domain's record, and what runs the jobs; and its zones.
OF_THE_FIRST = {"MonthlyBudgetUsd": "0", "HostedZoneId": '""', "StandsBy": "true", "Zones": '""'}
# Checks of what a region that stands by does without: it sends no e-mail and runs no job.
FOR_JOBS = ("mail", "secret")


def changed(changes, table, stream, now={}):
    """The parameters of the second region's stack, beside those of the first one's. Which region runs the jobs, and in which zones a
    network is, stays as it is `now`."""
    said = {change.split("=")[0] for change in changes}
    off = OF_THE_FIRST | {name: value for name, value in now.items() if name in ("StandsBy", "Zones") and value}
    return [*changes, *(f"{name}={value}" for name, value in off.items() if name not in said),
            f"ExistingTable={table}", f"ExistingTableStream={stream}"]


def parameters(cloudformation, name):
    """Those of a stack as it is deployed; none where there is no such stack."""
    try:
        found = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except cloudformation.exceptions.ClientError as error:
        if "does not exist" in str(error):
            return {}
        raise
    return {one["ParameterKey"]: one["ParameterValue"] for one in found.get("Parameters", [])}


def unready(ask, region, name, template, given, said):
    """What would stop a stack with this template and these parameters in a region, most likely after the hours that a replica takes. All that is
    found is printed."""
    from deploy import mail_objection
    from environments import defaults, queues, reservations
    from preflight import STOPS, Absent, Preflight, Unanswered
    from samtranslator.yaml_helper import yaml_parse
    import releases

    def has_identity(domain):
        try:
            return bool(ask("sesv2", "get_email_identity", EmailIdentity=domain))
        except (Absent, Unanswered):  # CloudFormation will say it
            return False

    values, source = defaults() | releases.valued(template, given), yaml_parse(template)
    preflight = Preflight(ask, region, name, values, reservations(source), queues(source), said)
    found = list(preflight.findings())
    for check, level, text in found:
        print(f"{level:>9}  {check}: {text}", flush=True)
    return [text for check, level, text in found if level == STOPS and check not in FOR_JOBS] + mail_objection(preflight.before, values, has_identity)


def brought(name, first):
    """The template and the parameters of what is live in another region, with its functions in this region's bucket: Lambda takes code from
    its own region alone."""
    import boto3, releases
    now, s3 = parameters(boto3.client("cloudformation", region_name=first), name), boto3.client("s3", region_name=first)
    theirs, ours, here = releases.bucket(first), releases.bucket(), releases.client("s3")
    try:
        template, _ = releases.read(name, now.get("Release"), s3, theirs)
    except s3.exceptions.NoSuchKey:
        sys.exit(f"{name} has no release in {first} that is kept: deploy one there first")
    there = {one["Key"] for one in releases.objects(ours, f"{releases.PREFIX}/{name}/code/")}
    copied = lambda key: here.put_object(Bucket=ours, Key=key, Body=s3.get_object(Bucket=theirs, Key=key)["Body"].read())
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        list(threads.map(copied, sorted(set(re.findall(rf"s3://{re.escape(theirs)}/(\S+)", template)) - there)))
    return template.replace(f"s3://{theirs}/", f"s3://{ours}/"), now


def main():
    import boto3
    import releases, tables
    from environments import environments
    from environments import parameters as parsed
    from preflight import Unanswered, asks_aws
    from stack import Stack, client

    parser = argparse.ArgumentParser(prog="just region", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", choices=environments())
    parser.add_argument("region")
    parser.add_argument("changes", nargs="*", metavar="Name=value")
    parser.add_argument("--yes", action="store_true", help="do not ask before the change set is carried out")
    options = parser.parse_intermixed_args()
    stack, here = Stack(options.environment), client("dynamodb")
    if options.region == here.meta.region_name:
        sys.exit(f"{options.region} is the region that the stack is in")
    table, now = stack.outputs()["TableName"], stack.parameters()
    if now.get("Release") not in releases.kept(stack.name):
        sys.exit(f"{stack.name} has no release in {here.meta.region_name} that is kept: deploy one there first")
    there = boto3.client("cloudformation", region_name=options.region)
    said = parsed({"parameter_overrides": []}, changed(options.changes, table, "later", parameters(there, stack.name)))
    try:
        stopped = unready(asks_aws(options.region), options.region, stack.name, releases.read(stack.name, now["Release"])[0], now | said, said)
    except Unanswered as error:
        sys.exit(f"AWS does not answer in {options.region}: {error}")
    if stopped:
        sys.exit(f"nothing is made in {options.region}: do this, or give another value behind the command\n  " + "\n  ".join(stopped))
    tables.finish(table)  # a replica wants a stream
    replicas = lambda found: {one["RegionName"]: one.get("ReplicaStatus") for one in found.get("Replicas", [])}
    if options.region not in replicas(here.describe_table(TableName=table)["Table"]):
        here.update_table(TableName=table, ReplicaUpdates=[{"Create": {"RegionName": options.region}}])
        print(f"{table} is copied to {options.region}; that takes from minutes to hours", flush=True)
    tables.waited(table, lambda found: replicas(found).get(options.region) == "ACTIVE")
    stream = tables.finish(table, boto3.client("dynamodb", region_name=options.region))
    environment = os.environ | {"AWS_REGION": options.region}
    deploy, given = pathlib.Path(__file__).with_name("deploy.py"), changed(options.changes, table, stream, parameters(there, stack.name))
    subprocess.run([sys.executable, str(deploy), options.environment, "--live-in", here.meta.region_name, *["--yes"] * options.yes, *given],
                   check=True, env=environment)
    outputs = there.describe_stacks(StackName=stack.name)["Stacks"][0]["Outputs"]
    print(f"{options.region} answers at {next(one['OutputValue'] for one in outputs if one['OutputKey'] == 'ApiUrl')}")
    if "StandsBy=true" in given:
        print(f"it stands by, and {here.meta.region_name} runs the jobs: docs/procedures.md, \"Another region\", says how to switch over")
    print(f"On a day on which {here.meta.region_name} is down:\n\n  AWS_REGION={options.region} just deploy {options.environment} --live StandsBy=false")


if __name__ == "__main__":
    in_sams_environment()
    main()
