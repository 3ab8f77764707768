#!/usr/bin/env python3
"""What a deployment costs, computed from template.yaml, the units that `just growth` counted (lab/growth.json), the mix of `just load`
and deploy/prices.json; and the worst day that a stranger can cause. README.md, docs/deployment.md and docs/scale.md have its tables.

Usage, with the Python that has aws-sam-translator:
  money.py           fails where a document has another table
  money.py --write   writes the tables
"""
import csv, json, pathlib, re, sys
from stack_of import Stack

ROOT = pathlib.Path(__file__).resolve().parent.parent
PRICES = json.loads((ROOT / "deploy/prices.json").read_text())["prices"]
HOURS, DAY = 730, 86_400  # of a month, as AWS counts; seconds
MONTH = HOURS * 3600

# What is not in the template and was measured or is documented elsewhere.
HIT = {"list-items": 0.69, "get-user": 0.95, "get-org-plan": 0.97, "get-org-settings": 0.90}  # a run of `just load` (docs/scale.md)
CALL_MS, OWN_MS = 4, 1  # a call of DynamoDB (from memory), our own work (lab/NOTEBOOK.md)
HASH_MS = 40  # argon2 on one vCPU (docs/decisions/0006)
BODY_MS = 500  # a body of 5 MB that is refused, on one vCPU (docs/scale.md, "What a refused body costs")
VCPU_GB = 1.769  # the memory that has one vCPU (Lambda Developer Guide, "Configure Lambda function memory")
WAIT_SECONDS = 5  # of a caller that waits for a model; the built-in analysis takes 0.1 s
# A request: access line 169, start 136, report 403, 26 for each (measured lines, CloudWatch's overhead).
LOG_BYTES, ACCESS_BYTES = 786, 195
TRACED = 0.05  # X-Ray's default sampling beyond one a second; a caller's header may ask for more
POLLERS, POLL_SECONDS = 5, 20  # of an idle queue ("Scaling behavior", Lambda Developer Guide)
KEYS_AN_HOUR = 12  # of each connection to the table ("DynamoDB encryption at rest": every five minutes)
CLASSES = 5  # of what is cached (shared/src/model/cached.rs)
METHOD_METRICS = 5  # Count, 4XXError, 5XXError, Latency, IntegrationLatency
RELEASE_GB, KEPT = 0.1, 20  # deploy/releases.py
# The largest replies, in bytes: all prices, 100 items of 200 and 4,000 characters that are four bytes each, 100 jobs, the OpenAPI document,
# a user of 50 organizations; what else is small. Lists read on past the megabyte that a query of the table ends after. And the dearest calls
# that the free plan takes, in write units, where they are more than growth.json's: a batch of those items, whose reply is kept under its key,
# jobs with all the text that they may have, and records of users and organizations with names of 200 such characters.
# tests/suite/bodies/largest.rs holds both to what it measures, but for what wants a mail's link (accept-invitation).
REPLY_BYTES = {"get-model-pricing": 420_000, "list-items": 1_710_000, "create-item": 1_710_000, "get-item": 17_500, "update-item": 17_500,
               "list-jobs": 60_000, "docs": 280_000, "list-members": 20_000, "get-me": 50_000}
WRITE_UNITS = {"create-item": 5_100, "update-item": 17, "delete-item": 40, "analyze": 56, "send-email": 152, "register": 34, "login": 16, "update-me": 2,
               "change-password": 28, "change-email": 14, "forgot-password": 10, "reauthenticate": 12, "put-org-settings": 8, "put-member": 12,
               "invitations": 22, "accept-invitation": 30}
SMALL_REPLY = 2_500
PREFLIGHT = 900
STORED_BYTES = 1024  # what a write unit leaves at most: a kilobyte
ACCOUNT_RATE = 10_000  # requests a second that API Gateway takes of an account ("Amazon API Gateway quotas")

# What each action of the mix calls, by the names of lab/growth.json.
CALLS = {
    "ListItems": ["list-items"], "CreateItem": ["create-item"], "CreateAgain": ["create-item, with a key"] * 2,
    "CreateBatch": ["create-item, 25 at once"], "GetItem": ["get-item"], "UpdateItem": ["update-item"], "GetPlan": ["get-org-plan"],
    "GetUser": ["get-user"], "UpdateMe": ["update-me"], "GetSettings": ["get-org-settings"], "PutSettings": ["put-org-settings"],
    "Prices": ["get-model-pricing"], "AnalyzeAndWait": ["analyze"], "Analyze": ["analyze"], "SendEmail": ["send-email"],
    "GetJob": ["get-job"], "ListJobs": ["list-jobs"], "Usage": ["get-usage"], "LogInAndOut": ["login", "logout", "get-me, no session"],
    "Foreign": ["get-item"],
}
# What runs an endpoint's jobs.
JOBS, WAITING = {"analyze": "analysis-worker", "send-email": "email-worker"}, "AnalyzeAndWait"


def usd(price, amount, free=False):
    """What an amount costs in a month; with what is free for ever, or without."""
    one = PRICES[price]
    left, below, total = max(0, amount - (one.get("first", 0) if free else 0)), 0, 0
    for upto, each in one.get("tiers", [[None, one.get("usd")]]):
        part = left if upto is None else min(left, max(0, upto - below))
        total, left, below = total + part * each / one["per"], left - part, upto
    return total


def units():
    """What a call of each endpoint takes of the table, by its name."""
    return {one["endpoint"]: one["costs"][0] for one in json.loads((ROOT / "lab/growth.json").read_text())[0]["endpoints"]}


def mix():
    """The actions of `just load`, and how many of a thousand each is."""
    text = (ROOT / "lab/load/src/actions.rs").read_text()
    return {name: int(count) for name, count in re.findall(r"\(Action::(\w+), (\d+)\)", text)}


def request(cached):
    """What one request of the mix takes on average, its job included."""
    table, sums, requests, jobs = units(), {"calls": 0, "read_units": 0, "write_units": 0, "bytes_read": 0}, 0, 0
    add = lambda name, times: [sums.__setitem__(key, sums[key] + times * table[name][key]) for key in sums]
    for action, times in mix().items():
        for name in CALLS[action]:
            requests += times
            hit = HIT.get(name, 0) if cached else 0
            add(name, times * (1 - hit))
            if hit:
                add(f"{name}, hit", times * hit)
            if name in JOBS:
                jobs += times
                add(JOBS[name], times)
    return {key: value / requests for key, value in sums.items()} | {
        "jobs": jobs / requests, "waiting": mix()[WAITING] / requests, "hashing": mix()["LogInAndOut"] / requests, "requests": requests}


# What a hit and a miss take of the cache: a unit for each command, or for each kilobyte that it moves. Lists, plans and settings count session
# and organization beside; the miss of a page asks for its lease by a command of its own, and what was fetched is stored. Writes do not look
# up: they tell the cache, and so does the stream.
PAGE_KB = 10  # of 50 ordinary items
CACHE_UNITS = {"list-items": (2 + PAGE_KB, 2 + 2 + PAGE_KB), "get-org-plan": (3, 4), "get-org-settings": (3, 4), "get-user": (1, 2)} | dict.fromkeys(
    ("create-item", "update-item", "update-me", "put-org-settings"), (0, 2))


def cache_units():
    """What one request of the mix takes of the cache on average."""
    calls = [(name.split(",")[0], times) for action, times in mix().items() for name in CALLS[action]]
    of = lambda name, hit, miss: HIT.get(name, 0) * hit + (1 - HIT.get(name, 0)) * miss
    return sum(times * of(name, *CACHE_UNITS.get(name, (0, 0))) for name, times in calls) / sum(times for _, times in calls)


def memory(stack, function):
    name = "".join(word.capitalize() for word in function.split("-")) + "Function"
    return stack.resources[name]["Properties"]["MemorySize"] / 1024


def million(stack, cached, requests=1e6, free=False):
    """The lines of so many requests of the mix: what, arithmetic, dollars."""
    one, calls = request(cached), requests * (1 + request(cached)["jobs"])
    small, login = memory(stack, "get-user"), memory(stack, "login")
    ms = CALL_MS * one["calls"] + OWN_MS * (1 + one["jobs"])
    waits, hashes = one["waiting"] * WAIT_SECONDS, one["hashing"] * HASH_MS / 1000
    pay = lambda price, amount: usd(price, amount * requests, free)
    lines = [
        ("API Gateway, REST", "a request each", pay("api_request", 1)),
        ("DynamoDB, reads", f"{one['read_units']:.2f} units", pay("read_unit", one["read_units"])),
        ("DynamoDB, writes", f"{one['write_units']:.2f} units", pay("write_unit", one["write_units"])),
        ("the table's key (KMS)", f"{KEYS_AN_HOUR} calls an hour of each environment, which answers 10 requests a second",
         pay("kms_call", KEYS_AN_HOUR / 36_000)),
        ("Lambda, requests", f"1 and {one['jobs']:.2f} of the worker", usd("lambda_request", calls, free)),
        ("Lambda, time", f"{ms:.1f} ms of {small:g} GB, {hashes * 1000:.1f} ms of {login:.2f} GB for passwords",
         pay("lambda_gb_second", ms / 1000 * small + hashes * login)),
        ("Lambda, callers that wait", f"{one['waiting']:.1%} × {WAIT_SECONDS} s", pay("lambda_gb_second", waits * small)),
        ("SQS", f"{one['jobs']:.2f} jobs × 3 calls", pay("sqs_call", one["jobs"] * 3)),
        ("logs", f"{LOG_BYTES} bytes", pay("log_gb", LOG_BYTES * (1 + one["jobs"]) / 1e9)),
        ("traces", f"{TRACED:.0%}", pay("trace", TRACED)),
    ]
    if cached:
        lines.append(("cache", f"{cache_units():.1f} units", pay("cache_ecpu", cache_units())))
        lines.append(("the invalidator", "half a record a request, each alone", usd("lambda_request", requests / 2, free)
                      + pay("lambda_gb_second", 0.5 * 0.01 * small)))
    if "AWS::WAFv2::WebACL" in {resource["Type"] for resource in stack.resources.values()}:
        lines.append(("WAF", "a request each", pay("waf_request", 1)))
    return lines


def rest(stack):
    """The lines of a month without a caller."""
    kinds = [one["Type"] for one in stack.resources.values()]
    count = kinds.count
    runs = HOURS * 60  # of the sweeper
    mappings = [str(one["Properties"]["EventSourceArn"]) for one in stack.of("AWS::Lambda::EventSourceMapping").values()]
    # A shared cache is invalidated by the table's stream.
    written = ("CitizenApp/",) if any("Stream" in one for one in mappings) else ("CitizenApp/Jobs", "CitizenApp/AccountMail")
    metrics = sum(CLASSES if "Class" in dimensions else 1 for row in csv.DictReader((ROOT / "deploy/metrics.csv").read_text().splitlines())
                  if row["namespace"].startswith(written) for dimensions in row["dimensions"].split(";"))
    (stage,) = stack.of("AWS::ApiGateway::Stage").values()
    methods = sum(one.get("MetricsEnabled") is True for one in stage["Properties"]["MethodSettings"])
    queues = sum("Queue" in one for one in mappings)
    polls = queues * POLLERS * MONTH / POLL_SECONDS
    lines = [
        (f"{count('AWS::CloudWatch::Alarm')} alarms", "0.10 each, ten free", usd("alarm_month", count("AWS::CloudWatch::Alarm"), True)),
        (f"{count('AWS::CloudWatch::Dashboard')} dashboard", "3.00 each, three free", usd("dashboard_month", 1, True)),
        (f"polling {queues} queues", f"{queues * POLLERS} × {MONTH / POLL_SECONDS:,.0f} receives, a million free", usd("sqs_call", polls, True)),
        ("the sweeper", f"{runs:,.0f} runs, {units()['sweeper']['read_units']:.0f} read units and {units()['sweeper']['write_units']:.0f} write unit each",
         usd("lambda_request", runs, True) + usd("read_unit", runs * units()["sweeper"]["read_units"])
         + usd("write_unit", runs * units()["sweeper"]["write_units"])),
        ("the table's key (KMS)", f"{KEYS_AN_HOUR} calls an hour and environment, 20,000 free", usd("kms_call", KEYS_AN_HOUR * HOURS, True)),
        (f"the newest {KEPT} releases", f"{RELEASE_GB:g} GB each", usd("bucket_gb_month", RELEASE_GB * KEPT)),
    ]
    used = [(f"{metrics} metrics of ours", "0.30 each, ten free", usd("metric_month", metrics, True)),
            (f"metrics of {methods} methods", f"{METHOD_METRICS} × 0.30 each", usd("metric_month", methods * METHOD_METRICS))]
    if count("AWS::SecretsManager::Secret"):
        lines.append(("a secret", "", usd("secret_month", 1)))
    if count("AWS::ElastiCache::ServerlessCache"):
        lines.append(("the cache", f"100 MB at least × {HOURS} h", usd("cache_gb_hour", 0.1 * HOURS)))
    for acl in stack.of("AWS::WAFv2::WebACL").values():
        rules = len(acl["Properties"].get("Rules", []))
        lines.append((f"a WAF with {rules} rules", "5.00 + 1.00 each", usd("waf_acl_month", 1) + usd("waf_rule_month", rules)))
    return lines, used


def worst_day(stack):
    """What callers can cause in a day, each method at its limit: requests a second of one and of all, the lines, and the gigabytes that
    stay in the table."""
    (stage,), (api,) = stack.of("AWS::ApiGateway::Stage").values(), stack.of("AWS::ApiGateway::RestApi").values()
    limits = {(one["ResourcePath"].replace("~1", "/").replace("//", "/"), one["HttpMethod"]): rate(stack, one["ThrottlingRateLimit"])
              for one in stage["Properties"]["MethodSettings"]}
    default, table, bodies = limits[("/*", "*")], units(), with_bodies()
    dearest = {key: max(one[key] for one in table.values()) for key in ("read_units", "write_units", "calls")}
    uncounted = set()
    total = {key: 0 for key in ("requests", "functions", "gb_seconds", "read", "write", "logged", "out", "jobs")}
    for path, methods in api["Properties"]["Body"]["paths"].items():
        for method, operation in methods.items():
            each = limits.get((path, method.upper()), default) * DAY
            total["requests"] += each
            total["logged"] += each * ACCESS_BYTES
            if method == "options":
                total["out"] += each * PREFLIGHT
                continue
            name = function(operation)
            cost = table.get(name, dearest)
            if name not in table:
                uncounted.add(name)
            own = BODY_MS / min(1, memory(stack, name) / VCPU_GB) if (path, method) in bodies else OWN_MS
            seconds = (CALL_MS * cost["calls"] + own) / 1000 + (HASH_MS / 1000 if memory(stack, name) > 1 else 0)
            total["functions"] += each
            total["gb_seconds"] += each * seconds * memory(stack, name)
            page = REPLY_BYTES.get(name, 0) / 4096 if cost["read_units"] else 0
            total["read"] += each * max(cost["read_units"], 3 + page)
            of_job = table[JOBS[name]]["write_units"] if name in JOBS else 0
            total["write"] += each * (max(cost["write_units"], WRITE_UNITS.get(name, 0)) + of_job)
            total["logged"] += each * (LOG_BYTES - ACCESS_BYTES)
            total["out"] += each * (0 if method == "head" else REPLY_BYTES.get(name, SMALL_REPLY))
    # Beyond these DynamoDB refuses (template.yaml, TableUnitsPerSecond).
    (bounds,) = (one["Properties"]["OnDemandThroughput"] for one in stack.of("AWS::DynamoDB::Table").values())
    total["read"] = min(total["read"], float(bounds["MaxReadRequestUnits"]) * DAY)
    total["write"] = min(total["write"], float(bounds["MaxWriteRequestUnits"]) * DAY)
    free = lambda price, amount: usd(price, amount)
    mails = sum(int(stack.template["Parameters"][name]["Default"]) for name in ("EmailsPerDay", "AccountMailsPerDay"))
    models = float(stack.template["Parameters"]["DollarsPerDay"]["Default"])
    lines = [
        ("API Gateway", f"{total['requests'] / 1e6:,.0f} M requests that are answered", free("api_request", total["requests"])),
        ("API Gateway, refusals", f"up to the account's {ACCOUNT_RATE:,} requests a second, if AWS charges for a `429`",
         free("api_request", ACCOUNT_RATE * DAY) - free("api_request", total["requests"])),
        ("Lambda", f"{total['functions'] / 1e6:,.0f} M calls, {total['gb_seconds'] / 1e6:,.1f} M GB-seconds",
         free("lambda_request", total["functions"]) + free("lambda_gb_second", total["gb_seconds"])),
        ("DynamoDB", f"{total['read'] / 1e6:,.0f} M read and {total['write'] / 1e6:,.0f} M write units; the table gives no more than "
         f"{float(bounds['MaxWriteRequestUnits']):,.0f} a second of each (`TableUnitsPerSecond`)"
         + f" ({', '.join(sorted(uncounted))}: not counted yet, taken for the dearest)" * bool(uncounted),
         free("read_unit", total["read"]) + free("write_unit", total["write"])),
        ("logs", f"{total['logged'] / 1e9:,.0f} GB", free("log_gb", total["logged"] / 1e9)),
        ("traces", "each call: its `X-Amzn-Trace-Id` may ask for it", free("trace", total["functions"])),
        ("replies", f"{total['out'] / 1e9:,.0f} GB, uncompressed", free("gb_out", total["out"] / 1e9)),
        ("e-mails", f"{mails:,}: `EmailsPerDay` and `AccountMailsPerDay`", free("email", mails)),
        ("models", "`DollarsPerDay`, where a provider is chosen", models),
    ]
    return default, total["requests"] / DAY, lines, total["write"] * STORED_BYTES / 1e9


def with_bodies():
    """The paths and methods that read a body."""
    paths = json.loads((ROOT / "functions/docs/openapi.json").read_text())["paths"]
    return {(path, method) for path, methods in paths.items() for method, operation in methods.items() if "requestBody" in operation}


def rate(stack, value):
    """A limit; where the template looks it up, what it finds."""
    if isinstance(value, dict) and "Fn::FindInMap" in value:
        name, first, second = (stack.resolved(one) for one in value["Fn::FindInMap"])
        return float(stack.template["Mappings"][name][str(first)][second])
    return float(value)


def function(operation):
    """The folder of the function that an operation calls."""
    name = re.search(r"\$\{?(\w+)Function", json.dumps(operation["x-amazon-apigateway-integration"]["uri"]))[1]
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def dollars(value):
    return f"{value:,.2f}" if value < 10 else f"{value:,.0f}"


def rows(lines, total="together"):
    text = "".join(f"| {what} | {how} | {dollars(cost)} |\n" for what, how, cost in lines)
    return text + f"| **{total}** | | **{dollars(sum(cost for *_, cost in lines))}** |\n"


def tables():
    """The generated parts of the documents, by document and name."""
    dev = Stack(ROOT / "template.yaml", {})
    prod = Stack(ROOT / "template.yaml", {"CacheUrl": "serverless:", "AnalysisProvider": "anthropic", "GradualDeployment": "true"})
    head = "| what | arithmetic | dollars |\n|---|---|---|\n"
    (idle, used), (idle_prod, used_prod) = rest(dev), rest(prod)
    metrics = lambda lines: ", ".join(f"{what} ({how}) {dollars(one)}" for what, how, one in lines)
    cost = lambda lines: sum(one for *_, one in lines)
    default, second, worst, left = worst_day(dev)
    stays = usd("table_gb_month", left) + usd("recovery_gb_month", left)
    means = {cached: request(cached) for cached in (True, False)}
    scale = "| requests a second | millions a month | dollars a month | of which API Gateway | DynamoDB |\n|---|---|---|---|---|\n"
    for each in (1e3, 1e5, 1e6):
        lines = million(prod, True, each * MONTH, free=True)
        of = lambda word: cost([line for line in lines if word in line[0]])
        scale += f"| {each:,.0f} | {each * MONTH / 1e6:,.0f} | {cost(lines):,.0f} | {of('API Gateway'):,.0f} | {of('DynamoDB'):,.0f} |\n"
    average = "| a request, worker included | with the cache | without |\n|---|---|---|\n"
    for name, key, form in (("database calls", "calls", ".2f"), ("read units (RRU)", "read_units", ".2f"), ("write units (WRU)", "write_units", ".2f"),
                            ("bytes read from the database", "bytes_read", ",.0f")):
        average += f"| {name} | {means[True][key]:{form}} | {means[False][key]:{form}} |\n"
    return {
        ("docs/deployment.md", "rest"): "| a month without a caller, `dev` | arithmetic | dollars |\n|---|---|---|\n" + rows(idle)
        + f"\nAs soon as it is used: {metrics(used)}. `prod` with the cache and a provider's secret costs {dollars(cost(idle_prod))} a month; "
        + f"as soon as it is used: {metrics(used_prod)}. "
        + f"Each GB of data: {usd('table_gb_month', 1):.2f} (25 GB are free) and {usd('recovery_gb_month', 1):.2f} for point-in-time recovery.\n",
        ("docs/deployment.md", "million"): head + rows(million(dev, False)),
        ("docs/scale.md", "request"): average,
        ("docs/scale.md", "million"): head + rows(million(prod, True)),
        ("docs/scale.md", "months"): scale,
        ("README.md", "costs"): f"`dev` costs {dollars(cost(idle))} dollars a month without a caller and {dollars(cost(used))} for metrics once it is "
        f"used; a million requests cost {dollars(cost(million(dev, False)))}. `prod` with the cache: {dollars(cost(idle_prod))} and "
        f"{dollars(cost(used_prod))}. [How that comes about](docs/deployment.md#what-it-costs).\n",
        ("README.md", "worst day"): f"The worst day that a stranger can cause costs {dollars(cost(worst))} dollars: every method at its limit all day. "
        f"What it leaves in the table costs {dollars(stays)} a month until it is deleted. [Its sum](docs/deployment.md#the-worst-day).\n",
        ("docs/deployment.md", "worst day"): f"The worst day that a stranger can cause costs {dollars(cost(worst))} dollars. That is every method at its limit "
        f"all day; `RequestsPerSecond` is {default:.0f} unless set, each method has it for itself, and together they take {second:,.0f} a second:\n\n"
        + head + rows(worst) + f"\nWhat it leaves in the table: at most a kilobyte for each write unit, so {left:,.0f} GB. They cost {dollars(stays)} a month, "
        "with point-in-time recovery, until they are deleted, which takes as many write units once more.\n",
    }


def main():
    wrong = []
    for (document, name), text in tables().items():
        file = ROOT / document
        begin, end = f"<!-- made by deploy/money.py: {name} -->\n", "<!-- until here -->\n"
        there = re.search(re.escape(begin) + ".*?" + re.escape(end), file.read_text(), re.DOTALL)
        if there is None:
            wrong.append(f"{document}: has no place for {name}: {begin.strip()}")
        elif "--write" in sys.argv:
            file.write_text(file.read_text().replace(there[0], begin + text + end))
        elif there[0] != begin + text + end:
            wrong.append(f"{document}: {name} is another sum: deploy/money.py --write (`just money`)")
    wrong += [f"deploy/money.py: CALLS does not say what {action} calls" for action in mix() if action not in CALLS]
    wrong += [f"deploy/prices.json: {key} has no source" for key, one in PRICES.items() if not one.get("source") or "seen" not in one]
    print("\n".join(wrong) or "the documents' sums are those of the template, the counted units and the prices")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
