"""`just preflight` against replies of AWS's, whose shapes the SDK's own models hold."""
import unittest
import botocore.session
from botocore.validate import validate_parameters
from environments import defaults, queues, reservations
from preflight import NOTE, STOPS, UNKNOWN, Absent, Preflight, Unanswered, live, of_parameters

SESSION = botocore.session.get_session()
DEFAULTS, RESERVED = defaults(), 856
STACK, DOMAIN = "citizen-prod", "a.example"


def made(service, operation, reply):
    """Checks a made reply, and how it is asked for, against the SDK's model of the service."""
    model = SESSION.get_service_model(service)
    name = next(one for one in model.operation_names if one.lower() == operation.replace("_", ""))
    shapes = model.operation_model(name)

    def checked(arguments):
        validate_parameters(arguments, shapes.input_shape) if shapes.input_shape else None
        answer = reply(**arguments) if callable(reply) and not isinstance(reply, type) else reply
        if isinstance(answer, type) and issubclass(answer, Exception):
            raise answer(operation)
        validate_parameters(answer, shapes.output_shape)
        return answer

    return checked


def stack(status="UPDATE_COMPLETE", **parameters):
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
    return {"Stacks": [{"StackName": STACK, "StackStatus": status, "CreationTime": "2026-01-01", "Parameters": given}]}


def has(*names):
    """That the stack has these resources."""
    def reply(StackName, LogicalResourceId):
        if LogicalResourceId not in names:
            return Absent
        return {"StackResourceDetail": {"LogicalResourceId": LogicalResourceId, "PhysicalResourceId": f"id-of-{LogicalResourceId}",
                                        "ResourceType": "AWS::Any", "ResourceStatus": "CREATE_COMPLETE", "LastUpdatedTimestamp": "2026-01-01"}}
    return reply


def identity(verified=True, status="SUCCESS", name=DOMAIN, bounces=None):
    def reply(EmailIdentity):
        if EmailIdentity != name:
            return Absent
        domain = {"MailFromDomain": f"bounces.{DOMAIN}", "MailFromDomainStatus": bounces, "BehaviorOnMxFailure": "USE_DEFAULT_VALUE"}
        return {"VerifiedForSendingStatus": verified, "DkimAttributes": {"Status": status, "Tokens": ["one", "two", "three"]}} | (
            {"MailFromAttributes": domain} if bounces else {})
    return reply


def lambdas(limit=1000, free=None, used=1):
    return {"AccountLimit": {"ConcurrentExecutions": limit, "UnreservedConcurrentExecutions": limit if free is None else free, "TotalCodeSize": 100},
            "AccountUsage": {"TotalCodeSize": used}}


def zone(name, id, state="available"):
    return {"ZoneName": name, "ZoneId": id, "State": state}


def role(there=True):
    def reply(RoleName):
        return {"Role": {"Path": "/", "RoleName": RoleName, "RoleId": "A" * 16, "Arn": f"arn:aws:iam::0:role/{RoleName}", "CreateDate": "2026-01-01"}} if there else Absent
    return reply


def records(*points):
    """A zone whose other names have records, and these, of a name and a type."""
    there = [(f"www.{DOMAIN}", "A"), *points]
    return {"ResourceRecordSets": [{"Name": f"{name}.", "Type": kind} for name, kind in there], "IsTruncated": False, "MaxItems": "300"}


def resources(*functions, further=None):
    """A page of a stack that has these functions, and what names the page after it."""
    there = {name: "AWS::Lambda::Function" for name in functions} | {f"{STACK}-jobs": "AWS::SQS::Queue"}
    page = [{"LogicalResourceId": "Any", "PhysicalResourceId": name, "ResourceType": kind, "ResourceStatus": "CREATE_COMPLETE",
             "LastUpdatedTimestamp": "2026-01-01"} for name, kind in there.items()]
    return {"StackResourceSummaries": page} | ({"NextToken": further} if further else {})


def table_limits(reads, writes=None):
    return {"TableMaxReadCapacityUnits": reads, "TableMaxWriteCapacityUnits": writes or reads}


def gives(units):
    return {"Table": {"OnDemandThroughput": {"MaxReadRequestUnits": units, "MaxWriteRequestUnits": units}}}


# An account that has all that is needed, and no stack.
GOOD = {
    ("cloudformation", "describe_stacks"): Absent, ("cloudformation", "describe_stack_resource"): Absent,
    ("lambda", "get_account_settings"): lambdas(), ("lambda", "get_function_concurrency"): {}, ("apigateway", "get_account"): {},
    ("iam", "get_role"): role(),
    ("sesv2", "get_account"): {"ProductionAccessEnabled": True, "SendingEnabled": True}, ("sesv2", "get_email_identity"): identity(),
    ("secretsmanager", "get_secret_value"): {"SecretString": "sk-ant-key\n"},
    ("ec2", "describe_availability_zones"): {"AvailabilityZones": [zone("us-east-1a", "use1-az1"), zone("us-east-1b", "use1-az2"), zone("us-east-1c", "use1-az3")]},
    ("ec2", "describe_vpcs"): {"Vpcs": [{}]}, ("service-quotas", "get_service_quota"): {"Quota": {"Value": 5.0}},
    ("sqs", "get_queue_url"): Absent, ("elasticache", "describe_serverless_caches"): Absent,
    ("elasticache", "describe_user_groups"): Absent, ("elasticache", "describe_users"): Absent,
    ("acm", "describe_certificate"): {"Certificate": {"DomainName": DOMAIN, "SubjectAlternativeNames": [f"*.{DOMAIN}"], "Status": "ISSUED"}},
    ("route53", "get_hosted_zone"): {"HostedZone": {"Id": "Z1", "Name": f"{DOMAIN}.", "CallerReference": "1"}}, ("apigateway", "get_domain_name"): Absent,
    ("route53", "list_resource_record_sets"): records(), ("cloudformation", "list_stack_resources"): resources(),
    ("logs", "describe_log_groups"): {"logGroups": []}, ("dynamodb", "list_tables"): {"TableNames": []}, ("dynamodb", "describe_limits"): table_limits(40_000), ("dynamodb", "describe_table"): gives(30_000), ("sns", "list_subscriptions_by_topic"): {"Subscriptions": []},
}
SAID = {"Environment": "prod", "MailFrom": f"us@mail.{DOMAIN}", "AlarmEmail": f"ops@{DOMAIN}", "CacheUrl": "serverless:"}


def found(replies=None, said=(), **values):
    """What is found where these replies and values are others, and these stand behind the command."""
    replies = GOOD | (replies or {})
    ask = lambda service, operation, **arguments: made(service, operation, replies[service, operation])(arguments)
    preflight = Preflight(ask, "us-east-1", STACK, DEFAULTS | SAID | values, RESERVED, {"JobsQueue": "-jobs"}, said)
    return [(level, f"{check}: {text}") for check, level, text in preflight.findings()]


class ReadyAccount(unittest.TestCase):
    def test_where_all_is_there_nothing_is_found(self):
        self.assertEqual(found(), [])

    def test_a_deployed_stack_finds_its_own_things(self):
        own = ("JobsQueue", "Cache", "CacheUsers", "CacheUser", "Network", "AnthropicApiKey", "MailSender", "ApiLogsAccount", "AlarmTopic")
        replies = {("cloudformation", "describe_stacks"): stack(), ("cloudformation", "describe_stack_resource"): has(*own),
                   ("sqs", "get_queue_url"): {"QueueUrl": "there"}, ("elasticache", "describe_users"): {"Users": [{}]},
                   ("ec2", "describe_vpcs"): {"Vpcs": [{}] * 5}, ("apigateway", "get_account"): {"cloudwatchRoleArn": "arn:role/ours"}}
        self.assertEqual(found(replies, MailIdentity=DOMAIN, AnalysisProvider="anthropic"), [])


class OfLive(unittest.TestCase):
    """What a stack has that samconfig.toml has not, as that of a second region."""
    NOW = {"Environment": "prod", "ExistingTable": "replica", "ExistingTableStream": "label", "Release": "r", "NetworkStays": "true"}

    def live(self, reply):
        ask = lambda service, operation, **arguments: made(service, operation, reply)(arguments)
        return live(ask, STACK)

    def test_it_is_what_is_looked_at(self):
        now = self.live(stack(**self.NOW))
        self.assertEqual(now, {name: value for name, value in self.NOW.items() if name not in ("Release", "NetworkStays")})
        there = {("cloudformation", "describe_stacks"): stack(**self.NOW)}
        self.assertEqual(found(there, **now), [])
        self.assertEqual([one for one, _ in found(there)], [STOPS], "as samconfig.toml would have it: another table")

    def test_without_a_stack_there_is_none(self):
        with self.assertRaisesRegex(SystemExit, "no stack citizen-prod here"):
            self.live(Absent)

    def test_its_parameters_stay(self):
        now = defaults() | {"MailFrom": "No-Reply@A.example"}
        self.assertEqual(of_parameters(now | {"LogLevel": "debug"}, now), [])
        said = of_parameters(now | {"LogLevel": "loud"}, now)
        self.assertEqual([(level, text.split(":")[0]) for _, level, text in said], [(STOPS, "LogLevel")])
        self.assertEqual([text.split(":")[0] for _, _, text in of_parameters(now)], ["MailFrom"])


class Template(unittest.TestCase):
    def test_what_is_reserved_and_named_is_read(self):
        self.assertGreater(reservations(), 800)
        self.assertIn("-emails", queues().values())
        self.assertTrue(all(one.startswith("-") for one in queues().values()))


class NotReady(unittest.TestCase):
    def one(self, level, words, replies=None, **values):
        said = found(replies, **values)
        self.assertEqual([one for one, _ in said], [level], said)
        for word in words:
            self.assertIn(word, said[0][1])

    def test_a_stack_that_cannot_be_deployed_over(self):
        for status, remedy in (("ROLLBACK_COMPLETE", "just take-down prod"), ("UPDATE_ROLLBACK_FAILED", "continue-update-rollback"), ("UPDATE_IN_PROGRESS", "wait")):
            self.one(STOPS, [status, remedy], {("cloudformation", "describe_stacks"): stack(status)})

    def test_a_new_account_reserves_nothing(self):
        new = {("lambda", "get_account_settings"): lambdas(10)}
        self.one(NOTE, ["ConcurrencyAlarmAt=8"], new)
        self.one(STOPS, ["856 environments", "0 of the account's 10", "ReservedConcurrency=false", "L-B99A9384"], new, ReservedConcurrency="true", ConcurrencyAlarmAt="8")
        self.assertEqual(found(new, ConcurrencyAlarmAt="8"), [])
        self.one(NOTE, ["100 requests a second"], new, ConcurrencyAlarmAt="8", RequestsPerSecond="200")

    def test_an_alarm_on_spending_that_the_cap_silences(self):
        for alarm, cap in (("20", "20"), ("16.5", "5")):
            self.one(NOTE, ["SpendingAlarm", f"DailySpendingAlarmUsd={float(cap) * 0.8:g}"], DailySpendingAlarmUsd=alarm, DollarsPerDay=cap)
        self.assertEqual(found(DailySpendingAlarmUsd="19.9"), [])
        self.assertEqual(found(DollarsPerDay="0"), [], "closed: nothing is spent")

    def test_what_other_stacks_reserve_counts_and_the_own_does_not(self):
        self.one(STOPS, ["800 of the account's 1000"], {("lambda", "get_account_settings"): lambdas(1000, 900)}, ReservedConcurrency="true")
        own = {("lambda", "get_account_settings"): lambdas(1000, 144), ("cloudformation", "describe_stacks"): stack(ReservedConcurrency="true"),
               ("cloudformation", "list_stack_resources"): resources("all"),
               ("lambda", "get_function_concurrency"): {"ReservedConcurrentExecutions": RESERVED}}
        self.assertEqual(found(own, ReservedConcurrency="true"), [])

    def test_what_the_stack_has_reserved_is_asked(self):
        """A release that reserves more than the one that is there: others have 60, the stack 800 and 30, and 16 are not to be had."""
        pages = {None: resources("one", "none", further="more"), "more": resources("other", "gone")}
        reserved = {"one": {"ReservedConcurrentExecutions": 800}, "other": {"ReservedConcurrentExecutions": 30}, "none": {}, "gone": Absent}
        there = {("lambda", "get_account_settings"): lambdas(1000, 110), ("cloudformation", "describe_stacks"): stack(ReservedConcurrency="true"),
                 ("cloudformation", "list_stack_resources"): lambda StackName, NextToken=None: pages[NextToken],
                 ("lambda", "get_function_concurrency"): lambda FunctionName: reserved[FunctionName]}
        self.one(STOPS, ["856 environments", "840 of the account's 1000"], there, ReservedConcurrency="true")
        there |= {("lambda", "get_account_settings"): lambdas(1000, 126)}
        self.assertEqual(found(there, ReservedConcurrency="true"), [], "100 are left")

    def test_what_is_reserved_by_hand_is_the_stacks_own(self):
        there = {("lambda", "get_account_settings"): lambdas(1000, 900), ("cloudformation", "describe_stacks"): stack(ReservedConcurrency="false"),
                 ("cloudformation", "list_stack_resources"): resources("one"),
                 ("lambda", "get_function_concurrency"): {"ReservedConcurrentExecutions": 100}}
        self.assertEqual(found(there, ReservedConcurrency="true"), [])

    def test_code_storage_that_is_full(self):
        self.one(STOPS, ["95 % full"], {("lambda", "get_account_settings"): lambdas(used=95)})

    def test_another_stacks_role_for_logs(self):
        logs = {("apigateway", "get_account"): {"cloudwatchRoleArn": "arn:role/theirs"}}
        self.one(NOTE, ["role/theirs: this stack sets its own"], logs)
        for stacks in (Absent, has("ApiLogsAccount")):
            gone = logs | {("iam", "get_role"): role(False), ("cloudformation", "describe_stack_resource"): stacks}
            self.one(NOTE, ["role/theirs, is gone"], gone)

    def test_e_mail(self):
        nothing = {("sesv2", "get_email_identity"): Absent}
        self.one(STOPS, ["no identity", "MailIdentity", "e-mails wait"], nothing)
        self.one(NOTE, ["no identity"], nothing, Environment="dev")
        self.one(NOTE, ["DkimRecord1", "e-mails wait"], nothing, MailIdentity=DOMAIN)
        self.one(STOPS, ["already", "leave MailIdentity out"], MailIdentity=DOMAIN)
        self.one(STOPS, ["e-mails wait; after a day", "one._domainkey.a.example CNAME one.dkim.amazonses.com"], {("sesv2", "get_email_identity"): identity(False, "PENDING")})
        self.one(STOPS, ["link to click"], {("sesv2", "get_email_identity"): identity(False, "NOT_STARTED", f"us@mail.{DOMAIN}")})
        self.one(NOTE, ["not signed", "three._domainkey"], {("sesv2", "get_email_identity"): identity(True, "FAILED")})
        self.one(NOTE, ["sandbox", "production-access"], {("sesv2", "get_account"): {"ProductionAccessEnabled": False}})
        self.one(STOPS, ["sends nothing"], {("sesv2", "get_account"): {"ProductionAccessEnabled": True, "SendingEnabled": False}})
        with_bounces = {"MailIdentity": DOMAIN, "MailFromDomain": f"bounces.{DOMAIN}"}
        own = {("cloudformation", "describe_stack_resource"): has("MailSender")}
        for status in ("PENDING", "FAILED", "TEMPORARY_FAILURE"):
            self.one(NOTE, [status, "bounces.a.example MX 10 feedback-smtp.us-east-1.amazonses.com", "v=spf1"],
                     own | {("sesv2", "get_email_identity"): identity(bounces=status)}, **with_bounces)
        self.assertEqual(found(own | {("sesv2", "get_email_identity"): identity(bounces="SUCCESS")}, **with_bounces), [])
        self.assertEqual(found({("sesv2", "get_email_identity"): identity(bounces="PENDING")}), [], "nobody asked for it here")
        self.assertIn("is not of MailIdentity", str(found(nothing, MailIdentity="b.example")))

    def test_another_domain_that_ses_has_already(self):
        """One that was the stack's own before, too."""
        there = {("cloudformation", "describe_stacks"): stack(MailIdentity="b.example"), ("cloudformation", "describe_stack_resource"): has("MailSender")}
        self.one(STOPS, ["already", "leave MailIdentity out"], there, MailIdentity=DOMAIN)
        self.assertEqual(found(there | {("cloudformation", "describe_stacks"): stack(MailIdentity=DOMAIN)}, MailIdentity=DOMAIN), [])

    def test_bounces_go_to_a_subdomain(self):
        own = {("cloudformation", "describe_stack_resource"): has("MailSender")}
        for wrong in (DOMAIN, "bounces.b.example", f"bounces{DOMAIN}"):
            self.one(STOPS, ["no subdomain of MailIdentity=a.example"], own, MailIdentity=DOMAIN, MailFromDomain=wrong)
        self.assertEqual(found(own, MailIdentity=DOMAIN, MailFromDomain=f"bounces.{DOMAIN}"), [])

    def test_the_model_providers_key(self):
        self.one(NOTE, ["put-secret-value"], AnalysisProvider="anthropic")
        there = {("cloudformation", "describe_stack_resource"): has("AnthropicApiKey")}
        for value in (Absent, {"SecretString": " \n"}, {"SecretString": "two words"}, {"SecretString": "schlüssel"},
                      {"SecretString": "{}"}, {"SecretString": '["sk-ant-key"]'}, {"SecretString": '{"a": "sk", "b": "sk"}'}):
            self.one(STOPS, ["no usable key", "analyses wait"], there | {("secretsmanager", "get_secret_value"): value}, AnalysisProvider="anthropic")
        for value in ('{"ANTHROPIC_API_KEY": "sk-ant-key", "note": 1}', '{"key": "sk-ant-key"}'):
            self.assertNotIn("no usable key", str(found(there | {("secretsmanager", "get_secret_value"): {"SecretString": value}}, AnalysisProvider="anthropic")))
        self.assertNotIn("schl", str(found(there | {("secretsmanager", "get_secret_value"): {"SecretString": "schlüssel"}}, AnalysisProvider="anthropic")))

    def test_zones(self):
        first = {("ec2", "describe_availability_zones"): {"AvailabilityZones": [zone("us-east-1a", "use1-az3"), zone("us-east-1b", "use1-az2"), zone("us-east-1c", "use1-az1")]}}
        self.one(STOPS, ["us-east-1a is use1-az3", "Zones=us-east-1b,us-east-1c"], first)
        self.assertEqual(found(first, Zones="us-east-1b,us-east-1c"), [])
        self.one(STOPS, ["no zone eu-west-1a"], Zones="eu-west-1a,us-east-1a")
        self.one(STOPS, ["names 1 zones"], Zones="us-east-1a")
        self.assertEqual(found(first, CacheUrl="off:"), [], "without the network it does not matter")
        there = {("cloudformation", "describe_stacks"): stack(Environment="prod", CacheUrl="serverless:", Zones="us-east-1a,us-east-1b")}
        self.one(STOPS, ["subnets stay in theirs"], there, Zones="us-east-1b,us-east-1a")
        self.assertEqual(found(there, Zones="us-east-1a,us-east-1b"), [])

    def test_another_table(self):
        there = {("cloudformation", "describe_stacks"): stack(ExistingTable="restored")}
        self.one(STOPS, ["the stack's table is restored"], there)
        self.assertEqual(found(there, ExistingTable="restored"), [])
        self.assertEqual(found(there, said={"ExistingTable"}), [])

    def test_a_restored_table_is_told_of_another_maximum_by_hand(self):
        """The stack's parameter moves its own table's and the alarms' alone."""
        there = {("cloudformation", "describe_stacks"): stack(ExistingTable="restored")}
        for gave in (gives(5_000), {"Table": {}}):
            self.one(NOTE, ["restored gives other units", "--finish restored"], there | {("dynamodb", "describe_table"): gave}, ExistingTable="restored")

    def test_a_table_that_gives_more_than_the_account_has(self):
        """"The maximum throughput that you specify must be lower than any default throughput quotas" (DynamoDB Developer Guide)."""
        for limits in (table_limits(30_000), table_limits(40_000, 30_000)):
            self.one(STOPS, ["TableUnitsPerSecond=30000", "table-level read and write throughput"], {("dynamodb", "describe_limits"): limits})
        self.one(STOPS, ["TableUnitsPerSecond=60000"], TableUnitsPerSecond="60000")
        self.assertEqual(found({("dynamodb", "describe_limits"): table_limits(80_000)}, TableUnitsPerSecond="60000"), [])

    def test_another_cache(self):
        there = {("cloudformation", "describe_stacks"): stack(CacheUrl="redis://a.example:6379")}
        self.one(STOPS, ["CacheUrl=off: first"], there, CacheUrl="redis://b.example:6379")

    def test_too_many_networks(self):
        self.one(STOPS, ["5 of 5", "L-F678F1CE"], {("ec2", "describe_vpcs"): {"Vpcs": [{}] * 5}})

    def test_a_domain(self):
        given = {"DomainName": f"api.{DOMAIN}", "CertificateArn": "arn:aws:acm:us-east-1:000000000000:certificate/0", "HostedZoneId": "Z1"}
        self.assertEqual(found(**given), [])
        self.one(NOTE, ["DomainTarget"], **given | {"HostedZoneId": ""})
        self.one(STOPS, ["of eu-west-1"], **given | {"CertificateArn": "arn:aws:acm:eu-west-1:000000000000:certificate/0"})
        self.one(STOPS, ["no certificate"], {("acm", "describe_certificate"): Absent}, **given)
        self.one(STOPS, ["PENDING_VALIDATION"], {("acm", "describe_certificate"): {"Certificate": {"DomainName": f"api.{DOMAIN}", "Status": "PENDING_VALIDATION"}}}, **given)
        self.one(STOPS, ["not for api.a.example"], {("acm", "describe_certificate"): {"Certificate": {"DomainName": DOMAIN, "Status": "ISSUED"}}}, **given)
        self.one(STOPS, ["no zone"], {("route53", "get_hosted_zone"): Absent}, **given)
        self.one(STOPS, ["the zone b.example"], {("route53", "get_hosted_zone"): {"HostedZone": {"Id": "Z1", "Name": "b.example.", "CallerReference": "1"}}}, **given)
        self.one(STOPS, ["already"], {("apigateway", "get_domain_name"): {"domainName": f"api.{DOMAIN}"}}, **given)

    def test_a_name_that_points_somewhere_already(self):
        given = {"DomainName": f"api.{DOMAIN}", "CertificateArn": "arn:aws:acm:us-east-1:000000000000:certificate/0", "HostedZoneId": "Z1"}
        own = {("cloudformation", "describe_stack_resource"): has("Domain", "DomainRecord")}
        for kind in ("A", "CNAME"):
            there = {("route53", "list_resource_record_sets"): records((f"api.{DOMAIN}", kind))}
            by_hand = there | {("cloudformation", "describe_stacks"): stack(**given | {"HostedZoneId": ""}), ("cloudformation", "describe_stack_resource"): has("Domain")}
            self.one(STOPS, [f"api.a.example {kind} already", "leave HostedZoneId out"], by_hand, **given)
            self.one(STOPS, ["already"], there | own | {("cloudformation", "describe_stacks"): stack(**given | {"DomainName": f"old.{DOMAIN}"})}, **given)
            self.assertEqual(found(there | own | {("cloudformation", "describe_stacks"): stack(**given)}, **given), [], "the stack's own")
            self.assertNotIn("leave HostedZoneId out", str(found(there, **given | {"HostedZoneId": ""})))
        self.assertEqual(found({("route53", "list_resource_record_sets"): records((f"api.{DOMAIN}", "TXT"))}, **given), [])

    def test_what_an_earlier_stack_left(self):
        self.one(STOPS, ["queue citizen-prod-jobs"], {("sqs", "get_queue_url"): {"QueueUrl": "there"}})
        for operation, reply in (("describe_serverless_caches", {"ServerlessCaches": [{}]}), ("describe_user_groups", {"UserGroups": [{}]}), ("describe_users", {"Users": [{}]})):
            self.one(STOPS, ["citizen-prod already", "aws elasticache delete-"], {("elasticache", operation): reply})
        self.one(NOTE, ["citizen-prod-FunctionLogs-1 is left", "security log"], {("logs", "describe_log_groups"): {"logGroups": [{"logGroupName": "citizen-prod-FunctionLogs-1"}]}})
        self.one(NOTE, ["citizen-prod-Table-1 is left"], {("dynamodb", "list_tables"): {"TableNames": ["citizen-prod-Table-1", "other"]}})

    def test_nobody_has_confirmed_the_alarms(self):
        pending = {("cloudformation", "describe_stack_resource"): has("AlarmTopic"),
                   ("sns", "list_subscriptions_by_topic"): {"Subscriptions": [{"SubscriptionArn": "PendingConfirmation"}]}}
        self.one(NOTE, ["has not confirmed"], pending)

    def test_what_may_not_be_asked_is_said_and_the_rest_is_asked(self):
        said = found({("lambda", "get_account_settings"): Unanswered, ("sqs", "get_queue_url"): {"QueueUrl": "there"}})
        self.assertEqual([level for level, _ in said], [UNKNOWN, STOPS])

    def test_nothing_is_asked_but_reading(self):
        for _, operation in GOOD:
            self.assertRegex(operation, r"^(get|describe|list)_")


if __name__ == "__main__":
    unittest.main()
