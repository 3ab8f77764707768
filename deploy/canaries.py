"""Which updates may not be gradual.

CloudFormation changes a function's role first and moves its alias last. With a canary, nine tenths of the calls stay on the version of
before for ten minutes in between. If that needs what the role has lost (the table of before, the sender of before), it fails, alarms
go off, and CodeDeploy takes the update back.
"""
import json, pathlib, tempfile
from samtranslator.yaml_helper import yaml_parse
from stack_of import Stack


def translated(template, parameters):
    """What CloudFormation makes of a template's text with those of these parameters that it knows."""
    known = yaml_parse(template)["Parameters"]
    with tempfile.TemporaryDirectory() as work:
        file = pathlib.Path(work, "template.yaml")
        file.write_text(template)
        return Stack(file, {name: value for name, value in parameters.items() if name in known})


def listed(one):
    return one if isinstance(one, list) else [one]


def grants(stack, function):
    """What a function's role allows: each action on each resource under its condition, and policies by their names."""
    role = stack.resources.get(f"{function}Role", {}).get("Properties", {})
    statements = [one for policy in role.get("Policies", []) for one in listed(policy["PolicyDocument"]["Statement"])]
    return {json.dumps([action, resource, one.get("Condition")], sort_keys=True) for one in statements
            for action in listed(one["Action"]) for resource in listed(one["Resource"])} | set(map(str, role.get("ManagedPolicyArns", [])))


def losing(before, after):
    """The functions with a canary whose roles lose something from one stack to the other."""
    names = [name.removesuffix("DeploymentGroup") for name in after.of("AWS::CodeDeploy::DeploymentGroup")]
    return sorted(name.removesuffix("Function") for name in names if grants(before, name) - grants(after, name))


def objection(live, current, template, values):
    """Why an update to this template with these values may not be gradual; None if it may. The stack has the template `live` with the
    parameters `current`."""
    if current.get("StandsBy", "false") != values.get("StandsBy", "false"):
        return "StandsBy is another, and an alarm that is on would take that back"
    names = losing(translated(live, current), translated(template, values))
    return f"{', '.join(names)} would fail for ten minutes, since the roles lose what the versions of before need" if names else None
