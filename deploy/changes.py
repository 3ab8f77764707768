#!/usr/bin/env python3
"""What a changed parameter of template.yaml changes, and that it arrives: each function that it reaches has a new version then,
the API a new deployment, and nothing has to be replaced that cannot be. The table in docs/configuration.md is made of it.

Usage, with SAM CLI's Python:
  changes.py           fails where a change would not arrive, a parameter has no row below, or the table is another
  changes.py --write   writes the table
"""
import json, pathlib, re, sys
import cfnlint, release
from stack_of import Stack
from transform_template import translated

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEMPLATE, DOCUMENT = ROOT / "template.yaml", ROOT / "docs/configuration.md"
BEGIN, END = "<!-- made by deploy/changes.py -->\n", "<!-- until here -->\n"

CERTIFICATE = "arn:aws:acm:us-east-1:000000000000:certificate/0"
# Two values of each parameter. The others have their defaults meanwhile, or what is named beside.
VALUES = {
    "Environment": ("dev", "test", {"CacheUrl": "serverless:"}),
    "AllowedOrigins": ("https://a.example", "https://b.example"),
    "CacheUrl": ("off:", "serverless:"),
    "LogLevel": ("info", "debug"),
    "LogRetentionDays": ("30", "90"),
    "AnalysisProvider": ("builtin", "anthropic"),
    "AnalysesPerMinute": ("50", "1000"),
    "EmailsPerSecond": ("14", "50"),
    "AppUrl": ("http://localhost:5173", "http://localhost:3000"),
    "AccountMailsPerDay": ("1000", "100"),
    "AccountMailBouncePercent": ("4", "3"),
    "InvitationsPerDay": ("20", "10"),
    "MailFrom": ("us@a.example", "us@b.example"),
    "MailIdentity": ("", "a.example"),
    "MailFromDomain": ("", "bounces.a.example", {"MailIdentity": "a.example"}),
    "AlarmEmail": ("us@a.example", "you@a.example", {"MonthlyBudgetUsd": "100"}),
    "DailySpendingAlarmUsd": ("16", "40"),
    "RequestsPerSecond": ("100", "200"),
    "TableUnitsPerSecond": ("30000", "5000"),
    "ConcurrencyAlarmAt": ("800", "1600"),
    "Architecture": ("x86_64", "arm64"),
    "ReservedConcurrency": ("false", "true"),
    "GradualDeployment": ("false", "true"),
    "DeletionProtection": ("true", "false"),
    "Zones": ("", "use1-az1,use1-az2", {"CacheUrl": "serverless:"}),
    "DomainName": ("", "api.a.example", {"CertificateArn": CERTIFICATE}),
    "CertificateArn": (CERTIFICATE, CERTIFICATE + "0", {"DomainName": "api.a.example"}),
    "BasePath": ("", "v1", {"DomainName": "api.a.example", "CertificateArn": CERTIFICATE}),
    "HostedZoneId": ("", "Z0123456789", {"DomainName": "api.a.example", "CertificateArn": CERTIFICATE}),
    "TlsPolicy": ("SecurityPolicy_TLS13_1_2_2021_06", "SecurityPolicy_TLS13_1_3_2025_09", {"DomainName": "api.a.example"}),
    "RequestsPerAddress": ("0", "1000"),
    "FailedLogInsPerMinute": ("10", "20"),
    "RegistrationsPerMinute": ("5", "10"),
    "RegistrationsPerDay": ("20", "50"),
    "ResetLinksPerDay": ("20", "50"),
    "SessionRequestsPerSecond": ("50", "100"),
    "OrgRequestsPerSecond": ("50,500,10000", "5,50,100"),
    "EmailsPerDay": ("1000", "5000"),
    "DollarsPerDay": ("20", "50"),
    "CapShares": ("5,25,100", "1,10,50"),
    "MonthlyBudgetUsd": ("0", "100", {"AlarmEmail": "us@a.example"}),
    "ExistingTable": ("", "other", {"CacheUrl": "serverless:"}),
    "ExistingTableStream": ("2026-11-29T00:00:00.000", "2026-11-29T00:00:01.000", {"ExistingTable": "other", "CacheUrl": "serverless:"}),
    "StandsBy": ("false", "true"),
    "NetworkStays": ("false", "true"),
    "StageName": ("v1", "v2"),
}
# What `just deploy` does not change, and says how it is done (deploy.network_objection).
REFUSED = {"Zones"}
# A property of which no two resources may have the same: a name, or a range of addresses.
UNIQUE = re.compile(r"(Name|Id|Identity|CidrBlock)$")
# What no version of a function has: where that alone changes, Lambda finds nothing to publish, and the update fails.
OF_NO_VERSION = {"ReservedConcurrentExecutions", "Tags"}
# What is new with every release, and the variable that tells which.
PUBLISHED = ("AWS::Lambda::Version", "AWS::ApiGateway::Deployment")


def changed(one, other):
    """The names of the resources that differ, with their types, but for what is new with each release."""
    both = one.resources | other.resources
    return {name: both[name]["Type"] for name in both if one.resources.get(name) != other.resources.get(name)
            and not both[name]["Type"].startswith(PUBLISHED)}


def not_arrived(parameter, before, after, with_release):
    """What changes with a parameter, and is not published with the release that it belongs to."""
    changes, wrong = changed(before, after), []
    for name in (name for name, kind in changes.items() if kind == "AWS::Lambda::Function"):
        old, new = before.versions().get(name), with_release.versions().get(name)
        if old == new or new is None:
            wrong.append(f"{parameter}: {name} changes and publishes no version: AutoPublishCodeSha256: !Ref Release is missing")
    if "AWS::ApiGateway::RestApi" in changes.values():
        if set(before.of("AWS::ApiGateway::Deployment")) & set(with_release.of("AWS::ApiGateway::Deployment")):
            wrong.append(f"{parameter}: the API changes and its stage serves the old one: AlwaysDeploy is missing")
    return wrong


def not_published(one, other):
    """The functions of two releases of which the second would be told that there is a version like this already."""
    of_version = lambda stack, name: {key: value for key, value in stack.resources[name]["Properties"].items() if key not in OF_NO_VERSION}
    return [f"Release: {name} has nothing new to publish: its description is not the release's"
            for name in one.of("AWS::Lambda::Function") if of_version(one, name) == of_version(other, name)]


def create_only():
    """The properties that nobody can change of a resource that is there, by its type, as paths."""
    found = {}
    for file in (pathlib.Path(cfnlint.__file__).parent / "data/schemas/resources").glob("*.json"):
        schema = json.loads(file.read_text())
        found[schema["typeName"]] = [path.split("/")[2:] for path in schema.get("createOnlyProperties", [])]
    return found


def stuck(parameter, before, after, fixed):
    """What CloudFormation would have to replace and could not: it makes the new one first, and that would have a name, or addresses, of
    the old one."""
    def at(value, path):
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        return value

    wrong = []
    for name in sorted(set(before.resources) & set(after.resources)):
        old, new = (stack.resources[name].get("Properties", {}) for stack in (before, after))
        both = {"/".join(path): (at(old, path), at(new, path)) for path in fixed.get(after.resources[name]["Type"], [])}
        replaced = [path for path, (one, other) in both.items() if one != other]
        kept = [path for path, (one, other) in both.items() if one == other and UNIQUE.search(path) and is_own(one)]
        if replaced and kept:
            wrong.append(f"{parameter}: {name} would be replaced for its {', '.join(replaced)}, and keep its {', '.join(kept)}")
    return wrong


def is_own(value):
    """Whether it is said here, and not another resource's."""
    return isinstance(value, str) or value == {"Ref": "AWS::StackName"}


def row(parameter, changes, functions):
    of_functions = sorted(name for name, kind in changes.items() if kind == "AWS::Lambda::Function")
    listed = lambda names: ", ".join(name.removesuffix("Function") for name in sorted(names))
    live, same = listed(of_functions) or "–", set(functions) - set(of_functions)
    if len(same) < len(functions) / 2:
        comes = listed(set(of_functions) - set(functions))
        live = "all" + (f" but {listed(same)}" if same else "") + (f"; {comes} comes or goes" if comes else "")
    stage = "yes" if {"AWS::ApiGateway::RestApi", "AWS::ApiGateway::Stage"} & set(changes.values()) else "–"
    others = sorted({kind.removeprefix("AWS::") for kind in changes.values()
                     if kind not in ("AWS::Lambda::Function", "AWS::ApiGateway::RestApi", "AWS::ApiGateway::Stage")})
    return f"| `{parameter}` | {live} | {stage} | {', '.join(others) or '–'} |"


def main():
    parameters = [name for name in translated(TEMPLATE)["Parameters"] if name != "Release"]
    wrong = [f"deploy/changes.py: VALUES has no two values of {name}" for name in parameters if name not in VALUES]
    wrong += [f"deploy/changes.py: VALUES has {name}, which is no parameter" for name in VALUES if name not in parameters]
    wrong += not_published(*(Stack(TEMPLATE, {"CacheUrl": "serverless:", "Release": f"{name * 16}-commit"}) for name in "01"))
    fixed = create_only()
    rows = ["| parameter | new versions of | the stage | other resources |", "|---|---|---|---|"]
    for parameter in (name for name in parameters if name in VALUES):
        first, second, *beside = VALUES[parameter]
        given = [dict(*beside) | {parameter: value} for value in (first, second)]
        before, after = (Stack(TEMPLATE, one | {"Release": release.name(given[0], {})}) for one in given)
        with_release = Stack(TEMPLATE, given[1] | {"Release": release.name(given[1], {})}, at=1)
        wrong += not_arrived(parameter, before, after, with_release)
        wrong += stuck(parameter, before, after, fixed) if parameter not in REFUSED else []
        rows.append(row(parameter, changed(before, after), before.of("AWS::Lambda::Function")))
    table = BEGIN + "".join(f"{one}\n" for one in rows) + END
    text = DOCUMENT.read_text()
    there = re.search(re.escape(BEGIN) + ".*?" + re.escape(END), text, re.DOTALL)
    if "--write" in sys.argv:
        DOCUMENT.write_text(text.replace(there[0], table))
    elif there is None or there[0] != table:
        wrong.append("docs/configuration.md: the table of changes is another: `deploy/changes.py --write` (`just changes`)")
    print("\n".join(wrong) or f"{len(parameters)} parameters: what each changes arrives")
    sys.exit(bool(wrong))


main()
