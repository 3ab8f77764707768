"""The order in which CloudFormation makes what the template names. cfn-lint looks for circles before SAM's transform, where an API
and its stage are one; so it is told to leave two resources alone, and this looks after the transform."""
import pathlib, re, unittest
from graphlib import TopologicalSorter
import region
from stack_of import ALL_ON, Stack
from transform_template import translated

TEMPLATE = pathlib.Path(__file__).resolve().parent.parent / "template.yaml"


def named(value):
    """What a part of the template refers to."""
    if isinstance(value, list):
        return set().union(*map(named, value))
    if not isinstance(value, dict):
        return set()
    found = set().union(*map(named, value.values()))
    if isinstance(value.get("Ref"), str):
        found.add(value["Ref"])
    if "Fn::GetAtt" in value:
        attribute = value["Fn::GetAtt"]
        found.add(attribute[0] if isinstance(attribute, list) else attribute.split(".")[0])
    if "Fn::Sub" in value:
        text = value["Fn::Sub"] if isinstance(value["Fn::Sub"], str) else value["Fn::Sub"][0]
        found.update(re.findall(r"\$\{(\w+)", text))
    return found


class Order(unittest.TestCase):
    def setUp(self):
        resources = translated(TEMPLATE)["Resources"]
        self.after = {}
        for name, one in resources.items():
            depends = one.get("DependsOn", [])
            depends = [depends] if isinstance(depends, str) else depends
            self.after[name] = {other for other in named(one) | set(depends) if other in resources and other != name}

    def before(self, name):
        """All that is made before a resource."""
        found, left = set(), [name]
        while left:
            new = self.after[left.pop()] - found
            found |= new
            left += new
        return found

    def test_nothing_waits_for_itself(self):
        list(TopologicalSorter(self.after).static_order())

    def test_the_account_has_its_logging_role_before_a_stage_logs_and_an_api_before_that(self):
        self.assertIn("ApiLogsAccount", self.before("ApiStage"))
        self.assertIn("Api", self.before("ApiLogsAccount"))


class Variables(unittest.TestCase):
    def test_each_is_text(self):
        """CloudFormation makes text of a number; MiniStack starts no function with one."""
        def others(value):
            """What is neither text nor comes from the stack."""
            if isinstance(value, dict):
                ((name, of),) = value.items()
                return others(of[1:]) if name == "Fn::If" else []
            if isinstance(value, list):
                return [other for one in value for other in others(one)]
            return [] if isinstance(value, str) else [value]

        found = {}
        for name, one in translated(TEMPLATE)["Resources"].items():
            if one["Type"] == "AWS::Lambda::Function":
                variables = one["Properties"]["Environment"]["Variables"]
                found |= {f"{name}.{variable}": wrong for variable, value in variables.items() if (wrong := others(value))}
        self.assertEqual(found, {})


class Traces(unittest.TestCase):
    def test_x_ray_has_functions_calls_and_nothing_of_api_gateways(self):
        """Its segments have the caller's address and the real path, under the `trace_id` of the security log's lines, which hash both."""
        stack = Stack(TEMPLATE, ALL_ON)
        (stage,) = stack.of("AWS::ApiGateway::Stage").values()
        self.assertIs(stage["Properties"].get("TracingEnabled", False), False)
        self.assertNotIn("xray", stage["Properties"]["AccessLogSetting"]["Format"], "there is none without tracing")
        self.assertEqual({one["Properties"]["TracingConfig"]["Mode"] for one in stack.of("AWS::Lambda::Function").values()}, {"Active"})


class Size(unittest.TestCase):
    def test_with_every_parameter_on_the_stack_stays_under_the_limit(self):
        # Whatever a condition could make: more than any stack has.
        template = translated(TEMPLATE, {"GradualDeployment": "true"})
        stated = template["Metadata"]["StackResources"]
        self.assertEqual(len(template["Resources"]), stated["AllOn"], "say so in template.yaml, Metadata, StackResources")
        # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
        self.assertEqual(stated["Limit"], 500)
        self.assertLess(stated["AllOn"], stated["Limit"])


class Door(unittest.TestCase):
    PARTS = {"AWS::ApiGateway::DomainName": "HasDomain", "AWS::ApiGateway::BasePathMapping": "HasDomain", "AWS::Route53::RecordSet": "HasZone",
             "AWS::WAFv2::WebACL": "HasWebAcl", "AWS::WAFv2::WebACLAssociation": "HasWebAcl", "AWS::Budgets::Budget": "HasBudget"}

    @classmethod
    def setUpClass(cls):
        cls.template = translated(TEMPLATE)

    def test_each_part_is_there_by_its_parameter_only(self):
        kinds = {one["Type"]: one.get("Condition") for one in self.template["Resources"].values()}
        self.assertEqual({kind: kinds[kind] for kind in self.PARTS}, self.PARTS)

    def test_it_is_closed_unless_asked_for(self):
        defaults = {name: str(one.get("Default")) for name, one in self.template["Parameters"].items()}
        for condition, (parameter, off) in {"HasDomain": ("DomainName", ""), "HasWebAcl": ("RequestsPerAddress", "0"), "HasBudget": ("MonthlyBudgetUsd", "0")}.items():
            self.assertEqual(self.template["Conditions"][condition], {"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, off]}]})
            self.assertEqual(defaults[parameter], off)

    def test_with_a_domain_there_is_no_other_way_in(self):
        (api,) = (one["Properties"]["Body"] for one in self.template["Resources"].values() if one["Type"] == "AWS::ApiGateway::RestApi")
        (server,) = api["servers"]
        off = server["x-amazon-apigateway-endpoint-configuration"]["disableExecuteApiEndpoint"]
        self.assertEqual(off, {"Fn::If": ["HasDomain", True, False]})

    def test_who_is_refused_for_its_address_is_told_so(self):
        (api,) = (one["Properties"]["Body"] for one in self.template["Resources"].values() if one["Type"] == "AWS::ApiGateway::RestApi")
        refused = api["x-amazon-apigateway-gateway-responses"]["WAF_FILTERED"]
        self.assertEqual(int(refused["statusCode"]), 429)
        self.assertIn("gatewayresponse.header.Retry-After", refused["responseParameters"])
        (acl,) = (one["Properties"] for one in self.template["Resources"].values() if one["Type"] == "AWS::WAFv2::WebACL")
        self.assertEqual(len(acl["Rules"]), 1, "WAF_FILTERED speaks of one rule")


class Zones(unittest.TestCase):
    def test_the_caches_network_is_where_its_owner_says(self):
        zones = lambda given: [one["Properties"]["AvailabilityZone"] for one in
                               Stack(TEMPLATE, {"CacheUrl": "serverless:"} | given).of("AWS::EC2::Subnet").values()]
        # The translator makes nothing of the region's own, and a list of the owner's.
        self.assertEqual(zones({}), [{"Fn::Select": [0, ""]}, {"Fn::Select": [1, ""]}])
        self.assertEqual(zones({"Zones": "one,two"}), [{"Fn::Select": [0, "one,two"]}, {"Fn::Select": [1, "one,two"]}])


class Leaving(unittest.TestCase):
    def test_the_network_stays_for_an_update_without_anything_in_it(self):
        stack = Stack(TEMPLATE, {"CacheUrl": "off:", "NetworkStays": "true"})
        inside = {name for name, one in stack.resources.items() if "VpcConfig" in one.get("Properties", {}) or one["Type"].startswith("AWS::ElastiCache")}
        self.assertEqual(inside, set())
        network = lambda given: {name for name, one in Stack(TEMPLATE, given).resources.items() if one["Type"].startswith("AWS::EC2")}
        self.assertEqual(network({"CacheUrl": "off:", "NetworkStays": "true"}), network({"CacheUrl": "serverless:"}))
        self.assertEqual(network({"CacheUrl": "off:"}), set())


class MailRecords(unittest.TestCase):
    """What an owner puts into the DNS (docs/deployment.md, "E-mail"), under names that SES's documentation has."""

    def setUp(self):
        self.template = translated(TEMPLATE)

    def output(self, name):
        one = self.template["Outputs"][name]
        return one.get("Condition"), one["Value"]["Fn::Sub"]

    def test_the_identitys_keys_are_three_records(self):
        for number in "123":
            self.assertEqual(self.output(f"DkimRecord{number}"), (
                "VerifiesMailIdentity", f"${{MailSender.DkimDNSTokenName{number}}} CNAME ${{MailSender.DkimDNSTokenValue{number}}}"))
        self.assertEqual(self.template["Resources"]["MailSender"]["Condition"], "VerifiesMailIdentity")

    def test_bounces_have_two(self):
        self.assertEqual(self.output("MailFromMxRecord"), ("HasMailFromDomain", "${MailFromDomain} MX 10 feedback-smtp.${AWS::Region}.amazonses.com"))
        self.assertEqual(self.output("MailFromSpfRecord"), ("HasMailFromDomain", '${MailFromDomain} TXT "v=spf1 include:amazonses.com ~all"'))
        for given, there in (({}, False), ({"MailIdentity": "a.example", "MailFromDomain": "bounces.a.example"}, True)):
            stack = Stack(TEMPLATE, given)
            self.assertEqual(stack.holds({"Condition": "HasMailFromDomain"}), there)
            self.assertEqual("MailFromAttributes" in stack.resources.get("MailSender", {"Properties": {}})["Properties"], there)


class Preflights(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        (api,) = (one["Properties"]["Body"] for one in translated(TEMPLATE)["Resources"].values() if one["Type"] == "AWS::ApiGateway::RestApi")
        cls.options = [path["options"] for path in api["paths"].values()]

    def test_their_headers_are_openapis(self):
        # OpenAPI 3.0.1, Header Object.
        for one in self.options:
            for name, header in one["responses"]["200"]["headers"].items():
                self.assertEqual(header, {"schema": {"type": "string"}}, name)

    def test_an_origin_that_is_named_twice_is_answered_once(self):
        # "An override may only be applied to each parameter once", or API Gateway answers 5XX (Developer Guide, "Override ... mapping").
        for one in self.options:
            text = one["x-amazon-apigateway-integration"]["responses"]["default"]["responseTemplates"]["application/json"]["Fn::Sub"]
            loop = re.search(r"#foreach.*#end#end\n", text)
            self.assertNotIn("responseOverride", text[:loop.end()])
            self.assertEqual(text[loop.end():].count("responseOverride"), 1)


class Regions(unittest.TestCase):
    """A stack has the same name in each region (`just region`), and what the account has once cannot be made twice."""
    NAMES = {"AWS::CloudWatch::Dashboard": "DashboardName", "AWS::IAM::Role": "RoleName", "AWS::S3::Bucket": "BucketName"}
    ONCE = {"AWS::Budgets::Budget", "AWS::Route53::RecordSet"}

    def test_what_has_a_name_in_the_account_has_the_regions_in_it(self):
        for name, one in Stack(TEMPLATE, ALL_ON).resources.items():
            said = one.get("Properties", {}).get(self.NAMES.get(one["Type"]))
            self.assertTrue(said is None or "${AWS::Region}" in str(said), f"{name}: {said}")
        outputs = translated(TEMPLATE)["Outputs"]
        self.assertIn("dashboard/${AWS::StackName}-${AWS::Region}", str(outputs["DashboardUrl"]["Value"]))

    def test_a_second_region_makes_nothing_that_there_is_once(self):
        kinds = lambda given: {one["Type"] for one in Stack(TEMPLATE, given).resources.values()}
        self.assertLessEqual(self.ONCE, kinds(ALL_ON))
        second = dict(one.split("=") for one in region.changed([], "t", "s"))
        self.assertFalse(self.ONCE & kinds(ALL_ON | {name: value.strip('"') for name, value in second.items()}))
        self.assertEqual(region.changed(["MonthlyBudgetUsd=9"], "t", "s").count("MonthlyBudgetUsd=0"), 0, "what is said counts")

    def test_a_region_that_stands_by_runs_no_jobs_from_its_first_minute_on(self):
        """Its sweeper would find the first region's jobs in the replica, and whichever worker ran them has neither key nor sender there."""
        second = ALL_ON | dict(one.split("=") for one in region.changed([], "t", "s"))
        for given, runs in ((ALL_ON, True), ({}, True), (second, False), (second | {"StandsBy": "false"}, True)):
            stack = Stack(TEMPLATE, given)
            (sweeper,) = (one["Properties"] for one in stack.of("AWS::Events::Rule").values() if "ScheduleExpression" in one["Properties"])
            self.assertEqual(sweeper["State"], "ENABLED" if runs else "DISABLED")
            self.assertEqual("SweeperSilentAlarm" in stack.resources, runs, "it would be silent for good")
            self.assertIn("StandsBy=false", region.changed(["Release=r"], "t", "s", {"StandsBy": "false", "MonthlyBudgetUsd": "9"}), "it was switched to")
            enabled = {name: one["Properties"].get("Enabled", True) for name, one in stack.of("AWS::Lambda::EventSourceMapping").items()}
            # What SES says of e-mails that went out from here is taken in all the same.
            self.assertEqual({name for name, on in enabled.items() if not on},
                             set() if runs else {f"{worker}WorkerFunctionJobs" for worker in ("Analysis", "Email", "AccountMail")})

    def test_the_cache_changes_nothing_of_the_table(self):
        """A replica needs the table's stream: no parameter may switch it off, nor on where `just region` has done so already."""
        tables = [Stack(TEMPLATE, {"CacheUrl": url}).resources["Table"]["Properties"] for url in ("off:", "memory:", "serverless:")]
        self.assertEqual(tables, tables[:1] * 3)
        self.assertEqual(tables[0]["StreamSpecification"], {"StreamViewType": "NEW_AND_OLD_IMAGES"})


class Caches(unittest.TestCase):
    def test_a_function_that_logs_in_by_iam_may_and_is_in_the_network(self):
        """So no other address may say that it does (test_environments)."""
        for url in ("serverless:", "rediss://user:pass@cache.example:6380", "memory:", "off:"):
            stack = Stack(TEMPLATE, {"CacheUrl": url})
            functions, roles = stack.of("AWS::Lambda::Function"), stack.of("AWS::IAM::Role")
            asks = "iam=" in str(functions["GetUserFunction"]["Properties"]["Environment"]["Variables"]["CACHE_URL"])
            self.assertEqual((asks, "elasticache:Connect" in str(roles["GetUserFunctionRole"]), "VpcConfig" in functions["GetUserFunction"]["Properties"]),
                             (url == "serverless:",) * 3, url)


class Units(unittest.TestCase):
    def test_the_alarms_go_off_at_four_fifths_of_what_the_table_gives(self):
        template = translated(TEMPLATE)
        units = {"Ref": "TableUnitsPerSecond"}
        self.assertEqual(template["Resources"]["Table"]["Properties"]["OnDemandThroughput"], {"MaxReadRequestUnits": units, "MaxWriteRequestUnits": units})
        for alarm in ("DatabaseReadLimitAlarm", "DatabaseWriteLimitAlarm"):
            properties = template["Resources"][alarm]["Properties"]
            name, key, attribute = properties["Threshold"]["Fn::FindInMap"]
            self.assertEqual((key, properties["Statistic"]), (units, "Sum"))
            found = {int(given): one[attribute] for given, one in template["Mappings"][name].items()}
            self.assertEqual(found, {given: given * properties["Period"] * 4 / 5 for given in template["Parameters"]["TableUnitsPerSecond"]["AllowedValues"]})


class ExistingTable(unittest.TestCase):
    def test_with_another_table_nothing_names_the_stacks_own(self):
        """So a restored table, or another region's, takes its place by two parameters (docs/procedures.md)."""
        stack = Stack(TEMPLATE, {"ExistingTable": "other", "ExistingTableStream": "1", "CacheUrl": "serverless:"})
        self.assertNotIn("AWS::DynamoDB::Table", {one["Type"] for one in stack.resources.values()})
        of_it = [name for name, one in stack.resources.items() if "Table" in named(one) or re.search(r"\$\{Table\b", str(one))]
        self.assertEqual(of_it, [])
        self.assertEqual(stack.resolved(stack.template["Outputs"]["TableName"]["Value"]), "other")
        self.assertTrue(stack.resources["TableChanges"]["Properties"]["EventSourceArn"].endswith(":table/other/stream/1"))


if __name__ == "__main__":
    unittest.main()
