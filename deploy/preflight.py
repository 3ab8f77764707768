#!/usr/bin/env python3
"""Asks AWS, reading only, what would stop a deployment or leave a part of it dead, and says what to do.

Usage: just preflight ENVIRONMENT [--live] [Name=value …]     credentials and region come from the environment (AWS_PROFILE, AWS_REGION)

The values override the environment's parameters, with --live those that the stack has. Ends with 1 if something would stop it, with 2 if
nothing would but something could not be asked, else with 0.
"""
import argparse, json, re, sys
from deploy import architecture_objection, cache_objection, network_objection, table_objection
from tools import in_sams_environment

# Zones without Lambda or without ElastiCache Serverless, by their ids (docs/configuration.md, `Zones`).
UNSERVED_ZONES = {"use1-az3"}
# What becomes of e-mails that SES refuses for their sender (docs/jobs.md).
WAIT = "e-mails wait; after a day they fail, mail about accounts after seven"
# What Lambda keeps unreserved in each account.
UNRESERVED = 100
STOPS, NOTE, UNKNOWN = "stops", "note", "not known"


def key_of(value):
    """The key in a secret's text: the text itself, or of JSON the member ANTHROPIC_API_KEY or the only one."""
    try:
        members = json.loads(value)
    except ValueError:
        members = None
    if not isinstance(members, dict):
        return value.strip()
    only = next(iter(members.values())) if len(members) == 1 else ""
    key = members.get("ANTHROPIC_API_KEY", only)
    return key.strip() if isinstance(key, str) else ""


class Absent(Exception):
    """There is no such thing."""


class Unanswered(Exception):
    """AWS did not say."""


def asks_aws(region):
    """Asks a service, by the names of the SDK: `ask("lambda", "get_account_settings")`."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
    patience = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 3})
    clients = {}

    def ask(service, operation, **arguments):
        if service not in clients:
            clients[service] = boto3.client(service, region_name=region, config=patience)
        try:
            return getattr(clients[service], operation)(**arguments)
        except ClientError as error:
            said = error.response["Error"]
            if "NotFound" in said["Code"] or "NoSuch" in said["Code"] or "does not exist" in said.get("Message", "") or \
                    said["Code"].endswith("NonExistentQueue"):
                raise Absent(str(error)) from error
            raise Unanswered(f"{service}:{operation}: {said['Code']}") from error
        except BotoCoreError as error:
            raise Unanswered(f"{service}:{operation}: {error}") from error

    return ask


def described(ask, name):
    """What CloudFormation says of a stack, or None, and the parameters that it has."""
    try:
        stack = ask("cloudformation", "describe_stacks", StackName=name)["Stacks"][0]
    except Absent:
        return None, {}
    return stack, {one["ParameterKey"]: one["ParameterValue"] for one in stack.get("Parameters", [])}


def of_parameters(given, now={}):
    """What the template would not take, or functions at their start. A stack that has parameters `now` may keep them."""
    from environments import new_objections
    return [("parameters", STOPS, one) for one in new_objections(given, now)]


class Preflight:
    """The checks. Each yields what it found: one of the levels above, and what to do."""

    def __init__(self, ask, region, name, values, reserved, queues, said=()):
        """`said` has the names of the parameters that stand behind the command."""
        self.ask, self.region, self.name, self.values, self.reserved, self.queues, self.said = ask, region, name, values, reserved, queues, said
        self.stack, self.before = described(ask, name)

    def has(self, logical_id):
        """The physical id of a resource of the stack as it is deployed, or None."""
        try:
            found = self.ask("cloudformation", "describe_stack_resource", StackName=self.name, LogicalResourceId=logical_id)
            return found["StackResourceDetail"].get("PhysicalResourceId")
        except Absent:
            return None

    def state(self):
        status = self.stack["StackStatus"] if self.stack else None
        if status in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"):
            yield STOPS, f"the stack is {status}: look at its events for why, then `just take-down {self.values['Environment']}`"
        elif status == "UPDATE_ROLLBACK_FAILED":
            yield STOPS, f"the stack is {status}: `aws cloudformation continue-update-rollback --stack-name {self.name}`"
        elif status and status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS":
            yield STOPS, f"the stack is {status}: wait until that has ended"

    def environments(self):
        settings = self.ask("lambda", "get_account_settings")
        limit, free = settings["AccountLimit"]["ConcurrentExecutions"], settings["AccountLimit"]["UnreservedConcurrentExecutions"]
        raise_it = "ask Service Quotas for more concurrent executions of Lambda (L-B99A9384)"
        if self.values["ReservedConcurrency"] == "true":
            own = self.reserved_now() if self.stack else 0
            if free + own - self.reserved < UNRESERVED:
                yield STOPS, (f"{self.reserved} environments are to be reserved, and {max(0, free + own - UNRESERVED)} of the account's {limit} can be: "
                              f"ReservedConcurrency=false, or {raise_it}")
        if float(self.values["ConcurrencyAlarmAt"]) >= limit:
            yield NOTE, f"ConcurrencyAlarm would never go off: the account has {limit} environments; ConcurrencyAlarmAt={limit * 4 // 5}"
        if int(self.values["RequestsPerSecond"]) > 10 * limit:
            yield NOTE, f"{limit} environments answer {10 * limit} requests a second in all, less than RequestsPerSecond; {raise_it}"
        used, of = settings["AccountUsage"]["TotalCodeSize"], settings["AccountLimit"]["TotalCodeSize"]
        if used > of * 0.9:
            yield STOPS, f"the account's code storage is {100 * used // of} % full: delete old versions of functions"

    def reserved_now(self):
        """How many environments the stack's functions have reserved: another release's, or by hand, than this one would reserve."""
        found, further = [], {}
        while True:
            page = self.ask("cloudformation", "list_stack_resources", StackName=self.name, **further)
            found += [one["PhysicalResourceId"] for one in page["StackResourceSummaries"]
                      if one["ResourceType"] == "AWS::Lambda::Function" and one.get("PhysicalResourceId")]
            if "NextToken" not in page:
                return sum(self.reserved_by(function) for function in found)
            further = {"NextToken": page["NextToken"]}

    def reserved_by(self, function):
        try:
            return self.ask("lambda", "get_function_concurrency", FunctionName=function).get("ReservedConcurrentExecutions", 0)
        except Absent:
            return 0

    def logging(self):
        role = self.ask("apigateway", "get_account").get("cloudwatchRoleArn")
        if role and self.is_gone(role):
            yield NOTE, (f"the account's role for API Gateway's logs, {role}, is gone, and no API of the region logs: aws apigateway update-account "
                         "--patch-operations op=replace,path=/cloudwatchRoleArn,value=<a role with AmazonAPIGatewayPushToCloudWatchLogs>")
        elif role and self.has("ApiLogsAccount") is None:
            yield NOTE, f"the account's role for API Gateway's logs is {role}: this stack sets its own, for all APIs of the region"

    def is_gone(self, role):
        try:
            self.ask("iam", "get_role", RoleName=role.rsplit("/", 1)[1])
            return False
        except Absent:
            return True

    def mail(self):
        account = self.ask("sesv2", "get_account")
        sender, domain = self.values["MailFrom"], self.values["MailFrom"].split("@")[1]
        identity, new = self.values["MailIdentity"], False
        if identity and not (domain == identity or domain.endswith(f".{identity}")):
            yield STOPS, f"MailFrom={sender} is not of MailIdentity={identity}: SES would refuse each e-mail"
        bounces = self.values["MailFromDomain"]
        if identity and bounces and not bounces.endswith(f".{identity}"):
            yield STOPS, f"MailFromDomain={bounces} is no subdomain of MailIdentity={identity}: SES makes no such identity"
        if identity and (self.has("MailSender") is None or self.before.get("MailIdentity", identity) != identity):
            try:
                self.ask("sesv2", "get_email_identity", EmailIdentity=identity)
                yield STOPS, f"SES has the identity {identity} already, and the stack would make it: leave MailIdentity out"
            except Absent:
                new = True
        found = None
        for name in dict.fromkeys([sender, *parents(domain)]):
            try:
                found = name, self.ask("sesv2", "get_email_identity", EmailIdentity=name)
                break
            except Absent:
                continue
        if new:
            yield NOTE, f"after the deployment, put the stack's outputs DkimRecord1 to 3 into the DNS of {identity}; until then {WAIT}"
        elif not found:
            dev = self.values["Environment"] == "dev"
            yield (NOTE if dev else STOPS), f"SES knows no identity for MailFrom={sender}: say MailIdentity; until SES does, {WAIT}"
        elif not found[1].get("VerifiedForSendingStatus"):
            yield STOPS, f"SES has not verified {found[0]}; until then {WAIT}{records(*found)}"
        elif found[1].get("DkimAttributes", {}).get("Status") not in ("SUCCESS", None) and "@" not in found[0]:
            yield NOTE, f"e-mails of {found[0]} are not signed{records(*found)}"
        yield from self.bounces(found[1] if found and not new else {})
        if not account.get("ProductionAccessEnabled"):
            yield NOTE, ("SES keeps the account in its sandbox: 200 e-mails a day, one a second, to verified addresses only. Ask for production "
                         "access (`aws sesv2 put-account-details --production-access-enabled …`)")
        if not account.get("SendingEnabled", True):
            yield STOPS, "SES sends nothing for this account: its console says why, under Account dashboard"

    def bounces(self, identity):
        """What SES says of the domain that bounces go to; until it has seen the records, its own is used."""
        wanted, said = self.values["MailFromDomain"], identity.get("MailFromAttributes", {})
        if wanted and said.get("MailFromDomain") == wanted and said.get("MailFromDomainStatus") != "SUCCESS":
            yield NOTE, (f"SES has not seen the records of {wanted} ({said.get('MailFromDomainStatus')}), so bounces go to its own domain: put into the DNS"
                         f"\n      {wanted} MX 10 feedback-smtp.{self.region}.amazonses.com"
                         f'\n      {wanted} TXT "v=spf1 include:amazonses.com ~all"')

    def secret(self):
        if self.values["AnalysisProvider"] != "anthropic":
            return
        secret = self.has("AnthropicApiKey")
        put = "aws secretsmanager put-secret-value --secret-id <ModelProviderSecret> --secret-string file://key"
        if secret is None:
            yield NOTE, f"after the deployment, store the model provider's key: {put}"
            return
        try:
            value = self.ask("secretsmanager", "get_secret_value", SecretId=secret).get("SecretString", "")
        except Absent:
            value = ""
        # As the worker wants it (functions/analysis-worker/src/secret.rs). It is shown nowhere.
        if not re.fullmatch(r"[A-Za-z0-9._~+/=-]+", key_of(value)):
            yield STOPS, f"the secret has no usable key; until then analyses wait, and after a day they fail: {put}"

    def table(self):
        yield from ((STOPS, one) for one in table_objection(self.before, self.values, self.said))
        units, limits = int(self.values["TableUnitsPerSecond"]), self.ask("dynamodb", "describe_limits")
        quota = min(limits[f"TableMax{kind}CapacityUnits"] for kind in ("Read", "Write"))
        if units >= quota:
            yield STOPS, (f"TableUnitsPerSecond={units}: DynamoDB takes less than the account's quota for one table alone, which is {quota}: ask Service "
                          "Quotas for more table-level read and write throughput first")
        table = self.values["ExistingTable"]
        if table and table == self.before.get("ExistingTable"):
            gives = self.ask("dynamodb", "describe_table", TableName=table)["Table"].get("OnDemandThroughput", {})
            if set(gives.values()) != {units}:
                yield NOTE, (f"{table} gives other units than TableUnitsPerSecond={units}, which only its alarms look at: just restore "
                             f"<environment> --finish {table}, after the deployment")

    def cache(self):
        yield from ((STOPS, one) for one in cache_objection(self.before, self.values))

    def network(self):
        if self.values["CacheUrl"] != "serverless:":
            return
        yield from ((STOPS, one) for one in network_objection(self.before, self.values))
        zones = self.ask("ec2", "describe_availability_zones", Filters=[{"Name": "opt-in-status", "Values": ["opt-in-not-required"]}])["AvailabilityZones"]
        ids = {one["ZoneName"]: one["ZoneId"] for one in zones if one["State"] == "available"}
        given = [one for one in self.values["Zones"].split(",") if one]
        served = sorted(name for name, one in ids.items() if one not in UNSERVED_ZONES)
        choose = f"Zones={','.join(served[:2])}"
        if given and len(given) != 2:
            yield STOPS, f"Zones names {len(given)} zones, and the network has two: {choose}"
        for zone in given or sorted(ids)[:2]:
            if zone not in ids:
                yield STOPS, f"the region has no zone {zone}: {choose}"
            elif ids[zone] in UNSERVED_ZONES:
                yield STOPS, f"{zone} is {ids[zone]} here, which has no Lambda in networks: {choose}"
        if self.has("Network") is None:
            networks = len(self.ask("ec2", "describe_vpcs")["Vpcs"])
            most = int(self.ask("service-quotas", "get_service_quota", ServiceCode="vpc", QuotaCode="L-F678F1CE")["Quota"]["Value"])
            if networks >= most:
                yield STOPS, f"the region has {networks} of {most} networks (VPC): delete one, or ask Service Quotas for more (L-F678F1CE)"

    def domain(self):
        name, certificate = self.values["DomainName"], self.values["CertificateArn"]
        if not name:
            return
        if certificate:
            if certificate.split(":")[3] != self.region:
                yield STOPS, f"CertificateArn is of {certificate.split(':')[3]}, and the API is in {self.region}: request one here"
            else:
                try:
                    found = self.ask("acm", "describe_certificate", CertificateArn=certificate)["Certificate"]
                    covered = [found.get("DomainName"), *found.get("SubjectAlternativeNames", [])]
                    if found.get("Status") != "ISSUED":
                        yield STOPS, f"the certificate is {found.get('Status')}: put its record into the DNS (`aws acm describe-certificate`) and wait until it is ISSUED"
                    if name not in covered and "*." + name.split(".", 1)[1] not in covered:
                        yield STOPS, f"the certificate is for {', '.join(map(str, covered))}, not for {name}"
                except Absent:
                    yield STOPS, "there is no certificate CertificateArn: request one (`aws acm request-certificate`)"
        if self.values["HostedZoneId"]:
            try:
                zone = self.ask("route53", "get_hosted_zone", Id=self.values["HostedZoneId"])["HostedZone"]["Name"].rstrip(".")
                if not (name == zone or name.endswith(f".{zone}")):
                    yield STOPS, f"HostedZoneId is the zone {zone}, which has no {name}"
            except Absent:
                yield STOPS, "there is no zone HostedZoneId"
            else:
                yield from self.record(name)
        if self.has("Domain") is None:
            try:
                self.ask("apigateway", "get_domain_name", domainName=name)
                yield STOPS, f"API Gateway has the domain {name} already, and the stack would make it: delete it there first"
            except Absent:
                if not self.values["HostedZoneId"]:
                    yield NOTE, f"after the deployment, point {name} at the output DomainTarget (CNAME)"

    def record(self, name):
        """CloudFormation makes no record of a name that points somewhere already."""
        new = any(self.before.get(one, self.values[one]) != self.values[one] for one in ("DomainName", "HostedZoneId"))
        if not new and self.has("DomainRecord") is not None:
            return
        found = self.ask("route53", "list_resource_record_sets", HostedZoneId=self.values["HostedZoneId"], StartRecordName=name)["ResourceRecordSets"]
        for one in found:
            if one["Name"].rstrip(".") == name and one["Type"] in ("A", "CNAME"):
                yield STOPS, (f"HostedZoneId has a record {name} {one['Type']} already, and the stack would make it: leave HostedZoneId out, or delete "
                              "that record right before, and nobody finds the API until the deployment has made its own")

    def leftovers(self):
        """Things with names of their own that the stack would make, and that are there without it."""
        name = f"citizen-{self.values['Environment']}"
        fixed = [(queue, "queue", self.name + ending, ("sqs", "get_queue_url", {"QueueName": self.name + ending}),
                  "aws sqs delete-queue, then wait for a minute") for queue, ending in self.queues.items()]
        if self.values["CacheUrl"] == "serverless:":
            fixed += [
                ("Cache", "cache", name, ("elasticache", "describe_serverless_caches", {"ServerlessCacheName": name}), "aws elasticache delete-serverless-cache"),
                ("CacheUsers", "cache's user group", name, ("elasticache", "describe_user_groups", {"UserGroupId": name}), "aws elasticache delete-user-group"),
                ("CacheUser", "cache's user", name, ("elasticache", "describe_users", {"UserId": name}), "aws elasticache delete-user")]
        for logical_id, what, named, (service, operation, arguments), remedy in fixed:
            if self.has(logical_id) is None:
                try:
                    self.ask(service, operation, **arguments)
                    yield STOPS, f"there is a {what} {named} already, and the stack would make it: {remedy}, or another Environment"
                except Absent:
                    pass
        if self.stack is None:
            tables = self.ask("dynamodb", "list_tables", ExclusiveStartTableName=f"{self.name}-Table-")["TableNames"]
            for table in tables:
                if table.startswith(f"{self.name}-Table-"):
                    yield NOTE, f"the table {table} is left of an earlier stack, with its records; this one makes another"
            for group in self.ask("logs", "describe_log_groups", logGroupNamePrefix=f"{self.name}-FunctionLogs-")["logGroups"]:
                yield NOTE, f"the log group {group['logGroupName']} is left of an earlier stack, with its security log; it empties itself"

    def alarms(self):
        alarm, cap = float(self.values["DailySpendingAlarmUsd"]), float(self.values["DollarsPerDay"])
        if 0 < cap <= alarm:
            yield NOTE, f"SpendingAlarm would never go off: DollarsPerDay={cap:g} ends a day's analyses before; DailySpendingAlarmUsd={cap * 4 / 5:g}"
        topic = self.has("AlarmTopic") if self.values["AlarmEmail"] else None
        if topic:
            subscriptions = self.ask("sns", "list_subscriptions_by_topic", TopicArn=topic)["Subscriptions"]
            if any(one["SubscriptionArn"] == "PendingConfirmation" for one in subscriptions):
                yield NOTE, f"nobody hears of alarms: {self.values['AlarmEmail']} has not confirmed its subscription (the link in SNS's e-mail)"

    def findings(self):
        checks = [self.state, self.environments, self.logging, self.mail, self.secret, self.table, self.cache, self.network, self.domain, self.leftovers, self.alarms]
        for check in checks:
            try:
                yield from ((check.__name__, *one) for one in check())
            except Unanswered as error:
                yield check.__name__, UNKNOWN, f"{error}: allow it (AWS's ReadOnlyAccess does, but for the secret's value), or look by hand"


def parents(domain):
    """A domain and those above it, for which SES may know an identity."""
    parts = domain.split(".")
    return [".".join(parts[at:]) for at in range(len(parts) - 1)]


def records(name, identity):
    """What belongs into the DNS so that SES verifies a domain."""
    if "@" in name:
        return ": its e-mail has a link to click"
    tokens = identity.get("DkimAttributes", {}).get("Tokens", [])
    lines = [f"\n      {token}._domainkey.{name} CNAME {token}.dkim.amazonses.com" for token in tokens]
    return ": put into its DNS" + "".join(lines)


def live(ask, name):
    """The parameters of a stack that is there."""
    stack, now = described(ask, name)
    if stack is None:
        sys.exit(f"there is no stack {name} here")
    return {one: value for one, value in now.items() if one not in ("Release", "NetworkStays")}


def main():
    from environments import defaults, environments, malformed, parameters, queues, reservations
    from push import is_emulated

    parser = argparse.ArgumentParser(prog="just preflight", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", choices=environments())
    parser.add_argument("changes", nargs="*", metavar="Name=value")
    parser.add_argument("--live", action="store_true", help="with the parameters that the stack has, but for those said here")
    options = parser.parse_intermixed_args()
    environment, said = environments()[options.environment], parameters({"parameter_overrides": []}, options.changes)
    import boto3
    region = boto3.Session().region_name
    if not region:
        sys.exit("no region: set AWS_REGION, for example to us-east-1")
    ask = asks_aws(region)
    try:
        account = ask("sts", "get_caller_identity")["Account"]
        now = live(ask, environment["stack_name"]) if options.live else {}
        given = now | said if options.live else parameters(environment, options.changes)
        preflight = Preflight(ask, region, environment["stack_name"], defaults() | given, reservations(), queues(), said)
    except Unanswered as error:
        sys.exit(f"AWS does not answer: {error}")
    print(f"{environment['stack_name']}, account {account}, {region}")
    found = of_parameters(given, now)
    found += [("functions", STOPS, one) for one in (architecture_objection(now, defaults() | given) if not found and not is_emulated() else [])]
    # Of what is no number or no address nothing can be asked.
    found += list(preflight.findings()) if set(malformed(given)) <= set(malformed(now)) else []
    for check, level, text in found:
        print(f"{level:>9}  {check}: {text}")
    levels = {level for _, level, _ in found}
    print("nothing would stop the deployment" if STOPS not in levels else f"not ready: {sum(level == STOPS for _, level, _ in found)} to do")
    sys.exit(1 if STOPS in levels else 2 if UNKNOWN in levels else 0)


if __name__ == "__main__":
    in_sams_environment()
    main()
