"""The environments of samconfig.toml: their parameters as SAM CLI reads them, and what the template says against them."""
import functools, ipaddress, pathlib, re, tomllib, urllib.parse
import idna
from samcli.cli.types import CfnParameterOverridesType
from samtranslator.yaml_helper import yaml_parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
LOCAL_PART = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*", re.ASCII)


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


def reservations(template=None):
    """How many environments all functions reserve together."""
    functions = (one["Properties"] for one in template_of(template)["Resources"].values() if one["Type"] == "AWS::Serverless::Function")
    return sum(one["ReservedConcurrentExecutions"]["Fn::If"][1] for one in functions)


def queues(template=None):
    """The queues that the stack names, by their logical ids: what follows the stack's name."""
    named = ((name, one["Properties"].get("QueueName")) for name, one in template_of(template)["Resources"].items() if one["Type"] == "AWS::SQS::Queue")
    return {name: text["Fn::Sub"].removeprefix("${AWS::StackName}") for name, text in named if text}


def malformed(given, template=None):
    """Which of these parameters CloudFormation, or a function at its start, would take for none of theirs. The Release may lack."""
    template = template_of(template)
    known, of_functions = template["Parameters"], in_variables(template)
    found = [f"{name}: is no parameter of the template" for name in given if name not in known]
    for name, value in valued(given, template).items():
        allowed, pattern = known[name].get("AllowedValues"), known[name].get("AllowedPattern")
        shown = "what is given" if name == "CacheUrl" else value  # it may hold a password
        if allowed and value not in map(str, allowed):
            found.append(f"{name}: {value} is none of {', '.join(map(str, allowed))}")
        if pattern and not re.fullmatch(pattern, value):
            found.append(f"{name}: {shown} is not {known[name].get('ConstraintDescription', pattern)}")
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
    if "CacheUrl" in values and not [one for one in found if one.startswith("CacheUrl:")]:
        found += of_cache(values["CacheUrl"])
    if "MailFrom" in values and not [one for one in found if one.startswith("MailFrom:")]:
        found += of_sender(values["MailFrom"])
    return found


def new_objections(given, now, template=None):
    """Those to these parameters of a stack that has parameters `now`, if it is there: what it has works, whatever has come to be objected to."""
    already, name = objections(now, template) if now else [], lambda one: one.partition(":")[0]
    return [one for one in objections(given, template) if one not in already or given.get(name(one)) != now.get(name(one))]


def of_cache(given):
    """What no pattern says of the cache's address: a function that cannot read it ends at its start (shared/platform/src/cache/url.rs), and
    one that logs in by IAM, or looks a name up, is not allowed to. The address may hold a password."""
    if given in ("serverless:", "memory:", "off:"):
        return []
    read = re.fullmatch(r"rediss?://(?:(\S*)@)?(?:\[([^\]]*)\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?(?:/(\d{0,5}))?", given, re.ASCII)
    login, of_six, port, number = read.groups(default="") if read else ("?", "", "", "")
    try:
        urllib.parse.unquote(login, errors="strict")
        ipaddress.IPv6Address(of_six or "::")
    except ValueError:
        read = None
    if read and "?" not in login and not re.search("%(?![0-9A-Fa-f]{2})", login) and max(int(port or 0), int(number or 0)) <= 65535:
        return []
    return ["CacheUrl: no address that functions take: redis[s]://[user[:password]@]host[:port][/number], of which numbers end at 65535; iam and name are "
            "for what serverless: makes"]


def of_sender(given):
    """What no pattern says of the address that e-mails are from: the workers' policies compare it as text with what they send."""
    sent = as_sender(given)
    if sent == given:
        return []
    return [f"MailFrom: {given} is {f'{sent} in what the workers send' if sent else 'no address that the workers take'}"]


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


def as_sender(text):
    """An address as the workers send from it, as shared/src/model/text.rs reads it (`Email`); None for what is none."""
    local, _, domain = text.lower().rpartition("@")
    try:
        # Of plain names, idna would refuse some that functions take.
        domain = domain if domain.isascii() else idna.encode(domain, uts46=True, std3_rules=True).decode()
        labels = domain.split(".")
        foreign = [label[4:].encode().decode("punycode") for label in labels if label.startswith("xn--")]
    except UnicodeError:
        return None
    is_host = len(labels) > 1 and all(map(LABEL.fullmatch, labels)) and not labels[-1].isdigit() and not any(map(str.isascii, foreign))
    is_address = is_host and LOCAL_PART.fullmatch(local) and len(local) <= 64 and len(domain) <= 253 and len(f"{local}@{domain}") <= 254
    return f"{local}@{domain}" if is_address else None


def holds(condition, values):
    """Whether a rule's condition holds
    (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference-rules.html)."""
    (kind, operands), = condition.items()
    if kind == "Fn::Equals":
        one, other = (values[operand["Ref"]] if isinstance(operand, dict) else str(operand) for operand in operands)
        return one == other
    combined = {"Fn::Not": lambda all_of: not all_of[0], "Fn::And": all, "Fn::Or": any}[kind]
    return combined([holds(operand, values) for operand in operands])
