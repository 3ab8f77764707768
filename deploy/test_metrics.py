"""Alarms and the dashboard look at metrics that there are, by dimensions by which they are there. An alarm on any other says OK for
ever. deploy/metrics.csv has them, AWS's from its guides and ours as the code writes them; `-` is a metric without dimensions."""
import csv, json, pathlib, re, unittest
from test_template import named
from transform_template import translated

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What a dimension's value names: a resource of this type, by its name.
NAMES = {"FunctionName": "AWS::Lambda::Function", "TableName": "AWS::DynamoDB::Table", "QueueName": "AWS::SQS::Queue",
         "RuleName": "AWS::Events::Rule", "Deployment": "AWS::DynamoDB::Table", "clusterId": "AWS::ElastiCache::ServerlessCache"}


def listed():
    with (ROOT / "deploy/metrics.csv").open() as file:
        return list(csv.DictReader(file))


def emitted():
    """The metrics that the code writes, with the file."""
    found = set()
    for file in [*ROOT.glob("shared/**/src/**/*.rs"), *ROOT.glob("functions/*/src/**/*.rs")]:
        code = re.sub(r"(?m)^ *//.*", "", re.split(r"\n#\[cfg\(test\)\]", file.read_text())[0])
        found |= {(name, str(file.relative_to(ROOT))) for name in re.findall(r'\bMetric\("([^"]+)"\)', code)}
    return found


class Watched(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.resources = translated(ROOT / "template.yaml")["Resources"]

    def setUp(self):
        self.alarms = {name: one["Properties"] for name, one in self.resources.items() if one["Type"] == "AWS::CloudWatch::Alarm"}
        self.metrics = {(row["namespace"], row["metric"]): [set() if one == "-" else set(one.split("+")) for one in row["dimensions"].split(";")]
                        for row in listed()}

    def of_alarm(self, alarm):
        """What an alarm looks at: namespace, metric, dimensions. It is one metric; MiniStack can have no other alarms."""
        self.assertNotIn("Metrics", alarm)
        dimensions = {one["Name"]: one["Value"] for one in alarm.get("Dimensions", [])}
        self.assertEqual(len(dimensions), len(alarm.get("Dimensions", [])), "a dimension twice")
        return alarm["Namespace"], alarm["MetricName"], dimensions

    def of_dashboard(self):
        """The same of its widgets; a dimension's value is text there."""
        (dashboard,) = (one["Properties"] for one in self.resources.values() if one["Type"] == "AWS::CloudWatch::Dashboard")
        for widget in json.loads(dashboard["DashboardBody"]["Fn::Sub"][0])["widgets"]:
            for metric in widget["properties"]["metrics"]:
                namespace, name, *rest = [part for part in metric if isinstance(part, str)]
                yield namespace, name, {rest[i]: {"Fn::Sub": rest[i + 1]} for i in range(0, len(rest), 2)}

    def wrong_with(self, namespace, name, dimensions):
        if (namespace, name) not in self.metrics:
            return "deploy/metrics.csv has no such metric"
        if set(dimensions) not in self.metrics[namespace, name]:
            return f"is not there by {sorted(dimensions) or 'no dimension'}"
        for dimension, value in dimensions.items():
            kind, resources = NAMES.get(dimension), named(value) & set(self.resources)
            by_name = dimension == "clusterId"  # whose resource gives no name
            if kind and not by_name and [self.resources[one]["Type"] for one in resources] != [kind]:
                return f"{dimension} is no {kind} of the template"
        if "Resource" in dimensions:
            (api,) = (one["Properties"] for one in self.resources.values() if one["Type"] == "AWS::ApiGateway::RestApi")
            path, method = dimensions["Resource"], dimensions["Method"]
            if method.lower() not in api["Body"]["paths"].get(path, {}):
                return f"the API has no {method} {path}"
            settings = [one for stage in self.resources.values() if stage["Type"] == "AWS::ApiGateway::Stage"
                        for one in stage["Properties"]["MethodSettings"]]
            if not [one for one in settings if one["MetricsEnabled"] and one["HttpMethod"] == method
                    and one["ResourcePath"] == "/" + path.replace("/", "~1")]:
                return f"MetricsEnabled is missing for {method} {path}"

    def test_alarms_and_widgets_look_at_metrics_that_there_are(self):
        looked = [(name, *self.of_alarm(alarm)) for name, alarm in self.alarms.items()]
        looked += [("Dashboard", *one) for one in self.of_dashboard()]
        self.assertGreater(len(looked), 50)
        wrong = [f"{where}: {namespace} {name}: {what}" for where, namespace, name, dimensions in looked
                 if (what := self.wrong_with(namespace, name, dimensions))]
        self.assertEqual(wrong, [])

    def test_what_the_code_writes_is_listed_and_nothing_else_is(self):
        ours = {(row["metric"], row["source"]) for row in listed() if row["namespace"].startswith("CitizenApp/")}
        self.assertEqual(ours, emitted())
        code = "".join(file.read_text() for folder in ("shared", "functions") for file in ROOT.glob(f"{folder}/**/src/**/*.rs"))
        namespaces = set(re.findall(r'"(CitizenApp/\w+)"', code))
        self.assertEqual(namespaces, {row["namespace"] for row in listed()} - {name for name, _ in self.metrics if name.startswith("AWS/")})
        parts = set(re.findall(r'\bSome\(\("(\w+)", \w+\)\), &', code))
        dimensions = {one for row in listed() if row["namespace"] in namespaces for one in re.split("[;+]", row["dimensions"])}
        self.assertEqual(dimensions, parts | {"Deployment"}, "platform::telemetry::metrics writes each value by Deployment, and by a part")

    def test_each_source_is_said(self):
        for row in listed():
            self.assertRegex(row["source"], r"^https://docs\.aws\.amazon\.com/|\.rs$", row)

    def test_someone_hears_of_each_alarm_and_operations_says_what_to_do(self):
        text = (ROOT / "docs/operations.md").read_text().split("\n## Alarms\n")[1].split("\n## ")[0]
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")]
        self.assertEqual(sorted(row[0].strip("`") for row in rows), sorted(self.alarms))
        for name, meaning, action in rows:
            self.assertGreater(min(len(meaning), len(action)), 20, name)
        for name, alarm in self.alarms.items():
            self.assertEqual(alarm["AlarmActions"], [{"Ref": "AlarmTopic"}], name)
            self.assertGreater(len(alarm["AlarmDescription"]), 20, name)


def behind(resources):
    """The functions that no caller waits for: what a queue, a stream or a schedule brings them runs through their alias."""
    invoked = [one["Properties"]["FunctionName"] for one in resources.values() if one["Type"] == "AWS::Lambda::EventSourceMapping"]
    invoked += [target["Arn"] for one in resources.values() if one["Type"] == "AWS::Events::Rule" for target in one["Properties"]["Targets"]]
    aliases = {name for one in invoked for name in named(one)} & {name for name, one in resources.items() if one["Type"] == "AWS::Lambda::Alias"}
    return {resources[alias]["Properties"]["FunctionName"]["Ref"] for alias in aliases}


class Wanted(unittest.TestCase):
    """What there is to watch is made of the template, so that neither an alarm goes nor a queue, rule or worker comes unnoticed."""
    # What no resource's kind tells: ours by what the code writes, the account's by AWS's name.
    OF_THE_WHOLE = {
        "renewals lost": ("CitizenApp/Cache", "RenewalsLost"), "the breaker": ("CitizenApp/Cache", "BreakerOpen"),
        "the oldest due": ("CitizenApp/Jobs", "OldestDueSeconds"), "what a sweep left": ("CitizenApp/Jobs", "SweepLeft"),
        "unknown e-mails": ("CitizenApp/Jobs", "Unknown"), "spending": ("CitizenApp/Jobs", "SpendingUsd"),
        "account mail that waits": ("CitizenApp/AccountMail", "AccountMailWaits"),
        "bounces": ("AWS/SES", "Reputation.BounceRate"), "complaints": ("AWS/SES", "Reputation.ComplaintRate"),
        "environments": ("AWS/Lambda", "ConcurrentExecutions"), "refused calls": ("AWS/Lambda", "Throttles"),
        "the cache's room": ("AWS/ElastiCache", "BytesUsedForCache"), "the cache's refusals": ("AWS/ElastiCache", "ThrottledCmds"),
        "failures": ("AWS/ApiGateway", "5XXError"), "latency": ("AWS/ApiGateway", "Latency")}

    @classmethod
    def setUpClass(cls):
        cls.resources = translated(ROOT / "template.yaml", {"GradualDeployment": "true"})["Resources"]
        cls.alarms = [one["Properties"] for one in cls.resources.values() if one["Type"] == "AWS::CloudWatch::Alarm"]

    def watched(self, namespace, metric, dimension):
        """The resources that alarms on this metric name by this dimension."""
        looked = [alarm for alarm in self.alarms if (alarm["Namespace"], alarm["MetricName"]) == (namespace, metric)]
        return set().union(*(named(one["Value"]) for alarm in looked for one in alarm.get("Dimensions", []) if one["Name"] == dimension))

    def of(self, kind):
        return {name: one["Properties"] for name, one in self.resources.items() if one["Type"] == kind}

    def test_a_queue_says_what_waits_too_long_and_where_messages_end_how_many(self):
        queues = self.of("AWS::SQS::Queue")
        ends = set().union(*(named(one["RedrivePolicy"]["deadLetterTargetArn"]) for one in queues.values() if "RedrivePolicy" in one))
        self.assertTrue(ends)
        self.assertEqual(set(queues) - ends - self.watched("AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName"), set())
        self.assertEqual(ends - self.watched("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName"), set())

    def test_a_rule_says_what_it_gave_up(self):
        self.assertEqual(set(self.of("AWS::Events::Rule")) - self.watched("AWS/Events", "FailedInvocations", "RuleName"), set())

    def test_what_runs_behind_says_that_it_fails(self):
        functions = behind(self.resources)
        self.assertGreaterEqual(len(functions), 6)
        self.assertEqual(functions - self.watched("AWS/Lambda", "Errors", "FunctionName"), set())

    def test_a_schedule_says_that_it_is_silent_and_a_stream_that_it_is_late(self):
        aliases = lambda values: {self.resources[name]["Properties"]["FunctionName"]["Ref"] for one in values for name in named(one) if name in self.of("AWS::Lambda::Alias")}
        scheduled = aliases(target["Arn"] for one in self.of("AWS::Events::Rule").values() if "ScheduleExpression" in one for target in one["Targets"])
        streams = aliases(one["FunctionName"] for one in self.of("AWS::Lambda::EventSourceMapping").values() if "BisectBatchOnFunctionError" in one)
        self.assertEqual((scheduled, streams), ({"SweeperFunction"}, {"InvalidatorFunction"}))
        self.assertEqual(scheduled - self.watched("AWS/Lambda", "Invocations", "FunctionName"), set())
        self.assertEqual(streams - self.watched("AWS/Lambda", "IteratorAge", "FunctionName"), set())

    def test_the_table_says_what_it_refuses_and_that_it_is_near_its_limits(self):
        for metric in ("ReadThrottleEvents", "WriteThrottleEvents", "ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"):
            self.assertIn("Table", self.watched("AWS/DynamoDB", metric, "TableName"), metric)

    def test_the_whole_is_watched(self):
        looked = {(alarm["Namespace"], alarm["MetricName"]) for alarm in self.alarms}
        self.assertEqual({what for what, metric in self.OF_THE_WHOLE.items() if metric not in looked}, set())


class Canaries(unittest.TestCase):
    BUSY = {"ListItemsFunction", "GetUserFunction", "GetOrgPlanFunction", "CreateItemFunction", "AnalysisWorkerFunction",
            "EmailWorkerFunction"}

    @classmethod
    def setUpClass(cls):
        cls.resources = translated(ROOT / "template.yaml", {"GradualDeployment": "true"})["Resources"]

    def setUp(self):
        self.groups = {name.removesuffix("DeploymentGroup"): one["Properties"] for name, one in self.resources.items()
                       if one["Type"] == "AWS::CodeDeploy::DeploymentGroup"}

    def guards(self, group):
        """The alarms of a group, where there is a cache to tell and where there is none."""
        _, *both = group["AlarmConfiguration"]["Fn::If"]
        return [{alarm["Name"]["Ref"] for alarm in one["Alarms"]} for one in both]

    def test_the_busy_functions_have_one_and_no_other(self):
        self.assertEqual(set(self.groups), self.BUSY)

    def test_each_is_guarded_by_its_own_errors(self):
        for function, group in self.groups.items():
            for alarms in self.guards(group):
                own = [self.resources[alarm]["Properties"] for alarm in alarms]
                dimensions = [{one["Name"]: one["Value"] for one in alarm.get("Dimensions", [])} for alarm in own]
                methods = {(one["Resource"], one["Method"]) for one in dimensions if "Resource" in one}
                paths = next(one["Properties"]["Body"]["paths"] for one in self.resources.values() if one["Type"] == "AWS::ApiGateway::RestApi")
                routed = {(path, method.upper()) for path, methods in paths.items() for method, one in methods.items()
                          if function in json.dumps(one.get("x-amazon-apigateway-integration", {}))}
                if routed:
                    self.assertEqual(methods, {one for one in routed if one[1] != "HEAD"}, function)
                else:
                    self.assertIn({"FunctionName": {"Ref": function}}, dimensions, function)

    def test_what_runs_behind_guards_all_and_no_time_does(self):
        errors = {one["Value"]["Ref"]: name for name, alarm in self.resources.items() if alarm["Type"] == "AWS::CloudWatch::Alarm"
                  and alarm["Properties"]["MetricName"] == "Errors" for one in alarm["Properties"].get("Dimensions", [])}
        for function, group in self.groups.items():
            with_cache, without = self.guards(group)
            self.assertIn("ApiErrorsAlarm", without, function)
            self.assertLessEqual({errors.get(one) for one in behind(self.resources)}, with_cache, function)
            self.assertEqual(with_cache ^ without, {"InvalidatorErrorsAlarm"}, function)
            for alarm in with_cache | without:
                # What callers wait for, or what is queued, is no sign of a bad version.
                self.assertIn(self.resources[alarm]["Properties"].get("MetricName"), ("5XXError", "Errors"), alarm)

    def test_a_guard_goes_off_before_its_canary_ends(self):
        for group in self.groups.values():
            minutes = int(re.search(r"10Percent(\d+)Minutes", str(group["DeploymentConfigName"]))[1])
            for alarm in self.guards(group)[0]:
                properties = self.resources[alarm]["Properties"]
                seconds = properties["Period"] * properties["DatapointsToAlarm"]
                self.assertLessEqual(seconds, minutes * 60 / 2, alarm)


if __name__ == "__main__":
    unittest.main()
