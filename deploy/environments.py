"""The environments of samconfig.toml: their parameters as SAM CLI reads them, and what the template says against them."""
import pathlib, re, tomllib
from samcli.cli.types import CfnParameterOverridesType
from samtranslator.yaml_helper import yaml_parse

ROOT = pathlib.Path(__file__).resolve().parent.parent


def environments():
    """What each environment gives `sam deploy`, by its name."""
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    return {name: one["deploy"]["parameters"] for name, one in config.items() if isinstance(one, dict)}


def parameters(environment, changes=()):
    """The parameters of an environment, with changes of the form Name=value."""
    read = CfnParameterOverridesType().convert
    return read(environment["parameter_overrides"], None, None) | (read(list(changes), None, None) if changes else {})


def template_of(template=None):
    return template or yaml_parse((ROOT / "template.yaml").read_text())


def defaults():
    """The parameters' defaults."""
    return {name: str(one["Default"]) for name, one in template_of()["Parameters"].items() if "Default" in one}


def reservations():
    """How many environments all functions reserve together."""
    functions = (one["Properties"] for one in template_of()["Resources"].values() if one["Type"] == "AWS::Serverless::Function")
    return sum(one["ReservedConcurrentExecutions"]["Fn::If"][1] for one in functions)


def queues():
    """The queues that the stack names, by their logical ids: what follows the stack's name."""
    named = ((name, one["Properties"].get("QueueName")) for name, one in template_of()["Resources"].items() if one["Type"] == "AWS::SQS::Queue")
    return {name: text["Fn::Sub"].removeprefix("${AWS::StackName}") for name, text in named if text}


def objections(given, template=None):
    """What CloudFormation would object to these parameters, which lack only the Release."""
    template = template_of(template)
    known = template["Parameters"]
    found = [f"{name}: is no parameter of the template" for name in given if name not in known]
    values = {name: str(given.get(name, one.get("Default", "0123456789abcdef-commit"))) for name, one in known.items()}
    for name, value in values.items():
        allowed, pattern = known[name].get("AllowedValues"), known[name].get("AllowedPattern")
        if allowed and value not in map(str, allowed):
            found.append(f"{name}: {value} is none of {', '.join(map(str, allowed))}")
        if pattern and not re.fullmatch(pattern, value):
            found.append(f"{name}: {value} is not {known[name].get('ConstraintDescription', pattern)}")
    for rule in template.get("Rules", {}).values():
        if holds(rule.get("RuleCondition", {"Fn::And": []}), values):
            found += [one["AssertDescription"] for one in rule["Assertions"] if not holds(one["Assert"], values)]
    return found


def holds(condition, values):
    """Whether a rule's condition holds
    (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference-rules.html)."""
    (kind, operands), = condition.items()
    if kind == "Fn::Equals":
        one, other = (values[operand["Ref"]] if isinstance(operand, dict) else str(operand) for operand in operands)
        return one == other
    combined = {"Fn::Not": lambda all_of: not all_of[0], "Fn::And": all, "Fn::Or": any}[kind]
    return combined([holds(operand, values) for operand in operands])
