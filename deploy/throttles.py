#!/usr/bin/env python3
"""How often each method of the API may be called: as often as the environments that its function reserves can answer, so that more
is 429 with Retry-After from the gateway. A call that finds no environment would be a 5xx of the gateway's.

Usage, with the Python that has aws-sam-translator:
  throttles.py           fails where template.yaml has other throttles than these, or docs/hot-tenants.md another table of them
  throttles.py --write   writes them (`just throttles`)

API Gateway counts for each method by itself: "applied at the API method level for a stage" (Developer Guide, "Throttle requests to
your REST APIs"). So what a function reserves is divided among its methods.
"""
import itertools, pathlib, re, sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEMPLATE, PAGE, MIX = ROOT / "template.yaml", ROOT / "docs/hot-tenants.md", ROOT / "lab/load/tests/hot_tenant/mix.rs"
# Lambda takes ten requests a second for each environment that a function reserves, however short they are ("Understanding
# concurrency and requests per second", Lambda Developer Guide).
PER_ENVIRONMENT = 10
# How long a call has its environment, on average, where that is longer than the tenth of a second above. Of the callers of
# `analyze` nearly half wait, for 5 s (docs/scale.md). More than 40 at once that wait are more than it has environments.
BUSY_SECONDS = {"analyze": 2}
# Less than the environments could answer: guessing passwords and filling up stay slow. Each call computes argon2, or sends mail.
AT_MOST = {"/auth/login": 50, "/auth/register": 10, "/auth/forgot-password": 10, "/auth/reset-password": 10}
# What each method takes at once, whatever its function reserves: a page that loads a list twice, or a monitor that looks from several
# regions in the same second, does nothing wrong.
AT_ONCE, HEADS_AT_ONCE = 5, 3
BEGIN, END = "made by deploy/throttles.py", "until here"


def functions(template):
    """Each function's reservation and methods: name -> (environments, [(method, path)])."""
    found = {}
    for one in template["Resources"].values():
        if one["Type"] == "AWS::Serverless::Function":
            properties = one["Properties"]
            _, reserved, _ = properties["ReservedConcurrentExecutions"]["Fn::If"]
            events = [event["Properties"] for event in properties.get("Events", {}).values() if event["Type"] == "Api"]
            name = properties["CodeUri"].strip("/").split("/")[-1]
            found[name] = (reserved, [(event["Method"], event["Path"]) for event in events])
    return found


def of_function(name, reserved, methods):
    """What each of a function's methods takes: (path, method) -> (requests a second, requests at once)."""
    found, heads = {}, sum(method == "HEAD" for method, _ in methods)
    for method, path in methods:
        # HEAD is rare and costs the same: a tenth.
        head = max(HEADS_AT_ONCE, reserved // 10)
        share = head if method == "HEAD" else (reserved - heads * head) // (len(methods) - heads)
        rate = int(min(share * PER_ENVIRONMENT, share / BUSY_SECONDS.get(name, 1 / PER_ENVIRONMENT), AT_MOST.get(path, share * PER_ENVIRONMENT)))
        found[path, method] = (rate, min(share, 2 * rate if path in AT_MOST else rate))
    return found


def suffices(name, reserved, methods):
    """Whether each of a function's methods takes several calls at once."""
    found = of_function(name, reserved, methods).items()
    return all(burst >= (HEADS_AT_ONCE if method == "HEAD" else AT_ONCE) for (_, method), (_, burst) in found)


def lacking(name, reserved, methods):
    """What a function whose methods take too few calls at once has to reserve."""
    if suffices(name, reserved, methods):
        return None
    least = next(more for more in itertools.count(reserved) if suffices(name, more, methods))
    return f"{name} reserves {reserved}, and {least} are the least for its methods"


def setting(path, method, rate, burst, measured=False):
    """A method's line in the template."""
    encoded = "/" + path.replace("/", "~1")
    return (f'        - {{ ResourcePath: "{encoded}", HttpMethod: {method}, MetricsEnabled: {str(measured).lower()}, '
            f'LoggingLevel: "OFF", DataTraceEnabled: false, ThrottlingRateLimit: !FindInMap [MethodRates, !Ref RequestsPerSecond, UpTo{rate}], '
            f"ThrottlingBurstLimit: {burst} }}")


def measured(template):
    """The methods whose own metrics an alarm looks at; those cost, so no other has them."""
    found = set()
    for one in template["Resources"].values():
        if one["Type"] == "AWS::CloudWatch::Alarm":
            values = {one["Name"]: one["Value"] for one in one["Properties"].get("Dimensions", [])}
            if "Resource" in values:
                found.add((values["Resource"], values["Method"]))
    return found


def texts(template):
    """The two parts of the template."""
    allowed, with_metrics = template["Parameters"]["RequestsPerSecond"]["AllowedValues"], measured(template)
    if few := [lack for name, one in functions(template).items() if (lack := lacking(name, *one))]:
        sys.exit("template.yaml: " + "; ".join(few))
    limits = {method: limit for name, one in functions(template).items() for method, limit in of_function(name, *one).items()}
    steps = sorted({rate for rate, _ in limits.values()})
    rows = [f"    # {BEGIN}: the smaller of RequestsPerSecond and what the functions can answer"]
    for given in allowed:
        rows.append(f'    "{given}": {{ ' + ", ".join(f"UpTo{step}: {min(step, given)}" for step in steps) + " }")
    settings = sorted(setting(*method, *limit, method in with_metrics) for method, limit in limits.items())
    return ["\n".join([*rows, f"    # {END}"]), "\n".join([f"        # {BEGIN}", *settings, f"        # {END}"])]


def hot_tenant(template):
    """The table of the page: what `just hot-tenant` asks of each method, and what that takes at the largest RequestsPerSecond."""
    rows, found = ["| method | asked a second | taken |", "|---|---|---|"], functions(template)
    for name, asked in re.findall(r'^    \("([\w-]+)", ([\d_]+)\.0\),$', MIX.read_text(), re.M):
        (((path, method), (rate, _)),) = [one for one in of_function(name, *found[name]).items() if one[0][1] != "HEAD"]
        rows.append(f"| `{method} {path}` | {int(asked):,} | {min(rate, int(asked)):,} |")
    return "\n".join([f"<!-- {BEGIN} -->", *rows, f"<!-- {END} -->"])


def main():
    from samtranslator.yaml_helper import yaml_parse  # `just new` has it not

    template = yaml_parse(TEMPLATE.read_text())
    for file, made, parts in ((TEMPLATE, rf"(?ms)^ *# {BEGIN}.*?# {END}$", texts(template)),
                              (PAGE, rf"(?ms)^<!-- {BEGIN} -->.*?<!-- {END} -->$", [hot_tenant(template)])):
        text, left = file.read_text(), iter(parts)
        there, new = len(re.findall(made, text)), re.sub(made, lambda _: next(left), text)
        if there != len(parts):
            sys.exit(f"{file.name}: {there} of {len(parts)} parts made by deploy/throttles.py are there")
        if "--write" in sys.argv:
            file.write_text(new)
        elif new != text:
            sys.exit(f"{file.name}: the throttles are others than the reservations give: `just throttles` writes them")


if __name__ == "__main__":
    main()
