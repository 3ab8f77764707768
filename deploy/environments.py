"""The environments of samconfig.toml: their parameters as SAM CLI reads them, and what the template says against them."""
import functools, pathlib, re, tomllib, urllib.parse
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


@functools.cache
def parsed():
    return yaml_parse((ROOT / "template.yaml").read_text())


def template_of(template=None):
    return template or parsed()


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


def malformed(given, template=None):
    """Which of these parameters CloudFormation, or a function at its start, would take for none of theirs. The Release may lack."""
    template = template_of(template)
    known, of_functions = template["Parameters"], in_variables(template)
    found = [f"{name}: is no parameter of the template" for name in given if name not in known]
    for name, value in valued(given, template).items():
        allowed, pattern = known[name].get("AllowedValues"), known[name].get("AllowedPattern")
        if allowed and value not in map(str, allowed):
            found.append(f"{name}: {value} is none of {', '.join(map(str, allowed))}")
        if pattern and not re.fullmatch(pattern, value):
            found.append(f"{name}: {value} is not {known[name].get('ConstraintDescription', pattern)}")
        if len(value) > int(known[name].get("MaxLength", len(value))):
            found.append(f"{name}: {value} has more than {known[name]['MaxLength']} characters")
        if known[name]["Type"] == "Number" and (wrong := no_number(value, known[name], name in of_functions)):
            found.append(f"{name}: {value} is {wrong}")
    return found


def no_number(value, parameter, is_whole):
    """What keeps a text from being this parameter's number, or None."""
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", value, re.IGNORECASE | re.ASCII):
        return "no number"
    # What functions count with is whole there (shared/src/config.rs), though CloudFormation would take 1.5.
    if is_whole and not re.fullmatch(r"\d{1,18}", value, re.ASCII):
        return "no whole number"
    least, most = parameter.get("MinValue"), parameter.get("MaxValue")
    if least is not None and float(value) < float(least):
        return f"less than {least}"
    return f"more than {most}" if most is not None and float(value) > float(most) else None


def in_variables(template):
    """The parameters that a function has in a variable."""
    def referred(value):
        if isinstance(value, list):
            return set().union(*map(referred, value))
        if not isinstance(value, dict):
            return set()
        return set().union({value["Ref"]} if isinstance(value.get("Ref"), str) else set(), *map(referred, value.values()))

    of_all = [template.get("Globals", {}).get("Function", {}), *(one.get("Properties", {}) for one in template["Resources"].values())]
    return referred([one.get("Environment", {}).get("Variables") for one in of_all if isinstance(one.get("Environment"), dict)])


def valued(given, template):
    return {name: str(given.get(name, one.get("Default", "0123456789abcdef-commit"))) for name, one in template["Parameters"].items()}


def objections(given, template=None):
    """What CloudFormation would object to these parameters, which lack only the Release, or functions at their start."""
    template = template_of(template)
    found, values = malformed(given, template), valued(given, template)
    for rule in template.get("Rules", {}).values():
        if holds(rule.get("RuleCondition", {"Fn::And": []}), values):
            found += [one["AssertDescription"] for one in rule["Assertions"] if not holds(one["Assert"], values)]
    if {"AllowedOrigins", "AppUrl"} <= set(values) and not [one for one in found if one.startswith(("AllowedOrigins:", "AppUrl:"))]:
        found += of_origins(values["AllowedOrigins"].split(","), values["AppUrl"])
    return found


def of_origins(allowed, app):
    """What no pattern says of the app's origin and those that may call."""
    # Preflights compare text: an origin in another form than browsers send would be allowed by functions and by no preflight.
    found = [f"AllowedOrigins: {one} is {f'{sent} in what browsers send' if (sent := as_sent(one)) else 'no origin'}"
             for one in allowed if as_sent(one) != one]
    if as_sent(app) not in allowed:
        found.append(f"AppUrl: {app} is none of AllowedOrigins, so account mail would not start")
    return found


def as_sent(text):
    """An origin as browsers send it in `Origin`, as shared/src/config.rs reads it; None for what is none."""
    scheme, _, rest = text.partition("://")
    try:
        parts = urllib.parse.urlsplit(text)
        host, port = parts.hostname or "", parts.port
        host = f"[{host}]" if ":" in host else host.encode("idna").decode()
    except (ValueError, UnicodeError):
        return None
    if scheme.lower() not in ("http", "https") or not host or rest.endswith(":") or re.search(r"[\s/\\*?#@%]", rest):
        return None
    own = {"http": 80, "https": 443}[scheme.lower()]
    return f"{scheme.lower()}://{host}" + (f":{port}" if port not in (None, own) else "")


def holds(condition, values):
    """Whether a rule's condition holds
    (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference-rules.html)."""
    (kind, operands), = condition.items()
    if kind == "Fn::Equals":
        one, other = (values[operand["Ref"]] if isinstance(operand, dict) else str(operand) for operand in operands)
        return one == other
    combined = {"Fn::Not": lambda all_of: not all_of[0], "Fn::And": all, "Fn::Or": any}[kind]
    return combined([holds(operand, values) for operand in operands])
