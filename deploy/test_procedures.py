"""What the recipes decide before they ask AWS."""
import contextlib, datetime, email.message, functools, io, os, pathlib, re, subprocess, sys, tempfile, unittest, unittest.mock, urllib.error
import back, boto3, canaries, deploy, environments, preflight, push, region, release, releases, restore, roll_out, rotate, smoke, stack, tables, take_down, tools
import test_preflight

HERE = pathlib.Path(deploy.__file__).parent


class RegionOfAll(unittest.TestCase):
    def test_it_is_aws_region(self):
        """What the pages say to set, and all but the SDK for Python and SAM CLI go by."""
        import boto3
        for before in ({"AWS_DEFAULT_REGION": "us-east-1"}, {}):
            nowhere = before | {"AWS_REGION": "eu-west-1", "AWS_CONFIG_FILE": "/nonexistent"}
            with unittest.mock.patch.dict(os.environ, nowhere), unittest.mock.patch.object(tools.os, "execv"):
                tools.in_sams_environment()
                self.assertEqual(boto3.Session().region_name, "eu-west-1")
        with unittest.mock.patch.dict(os.environ, {"AWS_DEFAULT_REGION": "us-east-1"}), unittest.mock.patch.object(tools.os, "execv"):
            os.environ.pop("AWS_REGION", None)
            tools.in_sams_environment()
            self.assertEqual(boto3.Session().region_name, "us-east-1")


class Table(unittest.TestCase):
    """No deployment may give the stack another table, which would be an empty one, because somebody did not think of it."""

    def test_another_table_has_to_be_said_behind_the_command(self):
        took = {"ExistingTable": "restored", "Release": "…"}
        self.assertEqual(len(deploy.table_objection(took, {}, {})), 1)
        self.assertIn("restored", deploy.table_objection(took, {}, {})[0])
        self.assertEqual(len(deploy.table_objection({"ExistingTable": ""}, {"ExistingTable": "other"}, {})), 1)
        self.assertEqual(deploy.table_objection(took, {"ExistingTable": "restored"}, {}), [])
        self.assertEqual(deploy.table_objection(took, {"ExistingTable": "old"}, {"ExistingTable": "old"}), [])

    def test_a_first_deployment_and_one_from_before_the_parameter_have_nothing_to_say(self):
        self.assertEqual(deploy.table_objection({}, {"ExistingTable": "kept"}, {}), [])
        self.assertEqual(deploy.table_objection({"Release": "…"}, {}, {}), [])

    def test_the_table_is_not_gone_back_on(self):
        then = {"ExistingTable": "", "LogLevel": "debug", "GradualDeployment": "true", "Release": "a"}
        now = {"ExistingTable": "restored", "ExistingTableStream": "arn", "LogLevel": "info", "Release": "b"}
        given = back.parameters(then, now)
        self.assertEqual(given, {"ExistingTable": "restored", "ExistingTableStream": "arn", "LogLevel": "debug", "Release": "a",
                                 "GradualDeployment": "false"})


OLD = "Parameters:\n  Release: { Type: String }\n  CacheUrl: { Type: String, Default: 'off:' }\n"
TEMPLATE = OLD + "  DeletionProtection:\n    Default: 'true'\n  NetworkStays:\n    Default: 'false'\n"


def updated(current, given, template=TEMPLATE, answers="yy"):
    """What a deployment does to a stack, with the value of NetworkStays for each update that somebody is asked about, and how it ends."""
    done, has, left = [], dict(current), list(answers)
    there = unittest.mock.Mock(**{"parameters.side_effect": lambda: dict(has)})
    there.settle.side_effect = lambda keep: done.append(f"keeps {keep}")
    there.leave_network.side_effect = lambda: done.append("waits")

    def carried_out(environment, name, template, one):
        values = releases.valued(template, one)
        done.append(values.get("NetworkStays"))
        has.update(values if left.pop(0) == "y" else {})

    with unittest.mock.patch.object(releases, "deploy", carried_out):
        try:
            deploy.update("dev", there, template, current, given)
        except SystemExit as ended:
            return done, str(ended)
    return done, None


class Creation(unittest.TestCase):
    """A creation that fails is taken back whole, which CloudFormation could not do with a protected table."""

    def test_a_first_deployment_protects_the_table_that_it_made(self):
        for given in ({}, {"DeletionProtection": "true"}):
            first, second = deploy.in_turn({}, given)
            self.assertEqual((first["DeletionProtection"], second), ("false", given))
            # Also where nobody says so (test_releases.Said).
            self.assertEqual((environments.defaults() | second)["DeletionProtection"], "true")

    def test_no_other_deployment_takes_protection_off(self):
        there = {"Release": "r"}
        for current, given in ((there, {}), (there, {"DeletionProtection": "true"}), ({}, {"DeletionProtection": "false"}), ({}, {"ExistingTable": "kept"})):
            self.assertEqual(deploy.in_turn(current, given), [given])


class Network(unittest.TestCase):
    """As long as a version of a function is in the cache's network, Lambda keeps interfaces there, and the network cannot be deleted."""
    INSIDE = {"CacheUrl": "serverless:"}

    def test_functions_leave_it_before_it_goes(self):
        cut_off = {"CacheUrl": "off:", "NetworkStays": "true"}
        for current, given in ((self.INSIDE, {}), (self.INSIDE, {"CacheUrl": "off:"}), (cut_off, {}), (cut_off, {"CacheUrl": "off:"}),
                               (cut_off, {"CacheUrl": "redis://a.example:6379"})):
            self.assertEqual(deploy.in_turn(current, given), [given | {"NetworkStays": "true"}, given])
        for current, given in ((self.INSIDE, self.INSIDE), ({"CacheUrl": "off:"}, {"CacheUrl": "off:"}), ({"CacheUrl": "off:"}, self.INSIDE)):
            self.assertEqual(deploy.in_turn(current, given), [given])

    def test_between_both_updates_no_version_is_left_inside(self):
        given = {"CacheUrl": "off:", "Release": "b"}
        self.assertEqual(updated(self.INSIDE, given), (["true", "keeps 0", "waits", "false", "keeps 3"], None))
        self.assertEqual(updated(self.INSIDE, given, template=OLD), ([None, "keeps 3"], None), "a release from before the parameter")
        done, said = updated(self.INSIDE, given, answers="n")
        self.assertEqual(done, ["true"], "somebody said no to the change set")
        self.assertIn("no Release=b", said)

    def test_no_to_the_second_update_is_no(self):
        done, said = updated(self.INSIDE, {"CacheUrl": "off:", "Release": "b"}, answers="yn")
        self.assertEqual(done, ["true", "keeps 0", "waits", "false"])
        self.assertIn("no NetworkStays=false", said)
        done, said = updated({}, {"Release": "b"}, answers="yn")
        self.assertEqual(done, ["false", "keeps 3", "false"])
        self.assertIn("no DeletionProtection=true", said, "the table of a first deployment is protected by the second")
        self.assertEqual(updated({}, {"Release": "b"})[1], None)

    def test_it_goes_when_lambda_has_given_back_its_interfaces(self):
        replies = [{"NetworkInterfaces": [{}]}, {"NetworkInterfaces": [{}]}, {"NetworkInterfaces": []}]
        network = unittest.mock.Mock(**{"describe_network_interfaces.side_effect": replies})
        resources = {"SubnetA": ("subnet-a", "AWS::EC2::Subnet"), "Network": ("vpc", "AWS::EC2::VPC")}
        with unittest.mock.patch.object(stack, "client", lambda service: network), unittest.mock.patch.object(stack.time, "sleep") as sleep, \
                unittest.mock.patch.object(stack.Stack, "resources", lambda self: resources):
            stack.Stack("dev").leave_network()
        self.assertEqual(sleep.call_count, 2)
        self.assertIn({"Name": "subnet-id", "Values": ["subnet-a"]}, network.describe_network_interfaces.call_args.kwargs["Filters"])

    def test_until_it_goes_it_is_in_its_zones(self):
        """Who is told to turn the cache off before the zones are others has named those already."""
        for current in (self.INSIDE, {"CacheUrl": "off:", "NetworkStays": "true"}):
            given = {"CacheUrl": "off:", "Zones": "three,four"}
            self.assertEqual(deploy.in_turn(current | {"Zones": "one,two"}, given), [given | {"NetworkStays": "true", "Zones": "one,two"}, given])

    def test_its_zones_stay(self):
        """Two subnets with the same addresses cannot be at once, and one cannot move."""
        defaults = environments.defaults()
        objects = lambda current, **given: deploy.network_objection(current, defaults | given)
        self.assertIn("CacheUrl=off: first", objects(self.INSIDE, **self.INSIDE, Zones="one,two")[0])
        self.assertEqual(len(objects(self.INSIDE | {"Zones": "one,two"}, **self.INSIDE)), 1)
        self.assertEqual(len(objects({"CacheUrl": "off:", "NetworkStays": "true"}, **self.INSIDE, Zones="one,two")), 1)
        then = self.INSIDE | {"Zones": "one,two"}
        self.assertEqual(back.parameters(then, self.INSIDE | {"Zones": "three,four"})["Zones"], "three,four")
        self.assertEqual(back.parameters(then, {"CacheUrl": "off:", "Zones": ""})["Zones"], "one,two")
        for current, given in ((self.INSIDE, self.INSIDE), ({"CacheUrl": "off:"}, self.INSIDE | {"Zones": "one,two"}), (self.INSIDE, {"Zones": "one,two"}), ({}, self.INSIDE)):
            self.assertEqual(objects(current, **given), [])


class Cache(unittest.TestCase):
    """Functions change one after the other: with two caches at a time, one would not hear of what is written by those that have the other."""
    CACHES = ("serverless:", "redis://a.example:6379", "redis://b.example:6379", "redis://a.example:6379/1", "rediss://u@?iam=prod&name=prod")
    NONE = ("off:", "memory:")

    def test_another_one_is_reached_by_way_of_none(self):
        objects = lambda current, then: deploy.cache_objection(current, environments.defaults() | {"CacheUrl": then})
        for now in self.CACHES:
            for then in self.CACHES:
                said = objects({"CacheUrl": now}, then)
                self.assertEqual([one for one in said if "CacheUrl=off: first" in one], said)
                self.assertEqual(len(said), int(now != then), f"{now} {then}")
            for none in self.NONE:
                self.assertEqual(objects({"CacheUrl": now}, none) + objects({"CacheUrl": none}, now), [], f"{now} {none}")
            self.assertEqual(objects({}, now), [], "a first deployment")
        own = {"CacheUrl": "serverless:", "Environment": "dev"}
        self.assertEqual(len(deploy.cache_objection(own, own | {"Environment": "other"})), 1, "the stack's own has the environment's name")
        self.assertEqual(back.parameters(own | {"Environment": "other"}, own), own)

    def test_another_password_is_no_other_cache(self):
        now = {"CacheUrl": "redis://us:old//@a.example:6379"}
        for then in ("redis://us:new@a.example:6379", "rediss://a.example:6379"):
            self.assertEqual(deploy.cache_objection(now, {"CacheUrl": then}), [], then)
        self.assertNotIn("old", deploy.cache_objection(now, {"CacheUrl": "redis://us:old@b.example:6379"})[0])

    def test_nothing_is_deployed_before_that_is_known(self):
        there = unittest.mock.Mock(**{"parameters.return_value": {"CacheUrl": "redis://a.example:6379"}})
        with unittest.mock.patch.object(stack, "Stack", lambda _: there), unittest.mock.patch.object(deploy.release, "built", side_effect=AssertionError("begun")), \
                unittest.mock.patch.object(sys, "argv", ["deploy.py", "dev", "--functions", "/nowhere", "CacheUrl=redis://b.example:6379"]):
            with self.assertRaisesRegex(SystemExit, "CacheUrl: the stack has another cache"):
                deploy.main()

    def test_going_back_keeps_it(self):
        """What was written since, only the cache of now has heard."""
        for now in self.CACHES:
            for then in self.CACHES:
                self.assertEqual(back.parameters({"CacheUrl": then, "Release": "a"}, {"CacheUrl": now, "Release": "b"}), {"CacheUrl": now, "Release": "a"})
            for none in self.NONE:
                self.assertEqual(back.parameters({"CacheUrl": none}, {"CacheUrl": now}), {"CacheUrl": none})
                self.assertEqual(back.parameters({"CacheUrl": now}, {"CacheUrl": none}), {"CacheUrl": now})
        inside = {"CacheUrl": "serverless:", "Zones": "one,two"}
        self.assertEqual(back.parameters({"CacheUrl": "redis://a.example:6379", "Zones": ""}, inside), inside, "with its network, which stays in its zones")


class Region(unittest.TestCase):
    def test_which_region_runs_the_jobs_stays_unless_it_is_said(self):
        now = {"StandsBy": "true", "LogLevel": "debug"}
        self.assertEqual(deploy.with_what_stays(now, {}), {"StandsBy": "true"})
        self.assertEqual(deploy.with_what_stays(now, {"StandsBy": "false"}), {"StandsBy": "false"})
        # Nor is one that runs them another release for it.
        self.assertEqual((deploy.with_what_stays({}, {}), deploy.with_what_stays({"StandsBy": "false"}, {})), ({}, {}))

    def test_a_second_region_has_zones_of_its_own(self):
        """The first one's are none there, and a network that is there stays in its own."""
        zones = lambda changes, now: [one for one in region.changed(changes, "t", "s", now) if one.startswith("Zones=")]
        for now, given in (({}, '""'), ({"Zones": ""}, '""'), ({"Zones": "eu-west-1a,eu-west-1b"}, "eu-west-1a,eu-west-1b")):
            self.assertEqual(zones([], now), [f"Zones={given}"])
        self.assertEqual(zones(["Zones=a,b"], {"Zones": "c,d"}), ["Zones=a,b"])

    def test_what_a_person_pastes_arrives_as_it_stands(self):
        """Recipes hand their arguments on: a second shell would take the quotes off an empty value, and cut an address at its `&`."""
        text = (HERE.parent / "justfile").read_text()
        for name in ("preflight", "deploy", "roll-out", "region"):
            self.assertRegex(text, rf"(?m)^\[positional-arguments\]\n{name} environment .*\n    deploy/\w+\.py \"\$@\"$", name)


class Recovery(unittest.TestCase):
    def test_a_new_tables_backups_are_waited_for(self):
        """DynamoDB enables them for a while after it has made a table."""
        unavailable = type("ContinuousBackupsUnavailableException", (Exception,), {})
        for refusals in (0, 3):
            table = unittest.mock.Mock()
            table.exceptions.ContinuousBackupsUnavailableException = unavailable
            table.update_continuous_backups.side_effect = [unavailable()] * refusals + ["on"]
            with unittest.mock.patch.object(tables.time, "sleep"):
                self.assertEqual(tables.switch_recovery_on("restored", table), "on")
            self.assertEqual(table.update_continuous_backups.call_count, refusals + 1)

    def test_it_gives_as_many_units_as_its_stack_says(self):
        """A restore may leave that out, and then a stranger's worst day has no bound."""
        of = lambda units: {"MaxReadRequestUnits": units, "MaxWriteRequestUnits": units}
        for there, units, given in ((None, "30000", [of(30_000)]), (of(5_000), "30000", [of(30_000)]), (of(30_000), "30000", []), (None, None, [])):
            found = {"TableStatus": "ACTIVE", "LatestStreamLabel": "label", "DeletionProtectionEnabled": True,
                     "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}} | ({"OnDemandThroughput": there} if there else {})
            table = unittest.mock.Mock(**{"describe_table.return_value": {"Table": found},
                                          "describe_time_to_live.return_value": {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED"}}})
            table.exceptions.ContinuousBackupsUnavailableException = type("Unavailable", (Exception,), {})
            self.assertEqual(tables.finish("restored", table, units), "label")
            self.assertEqual([one.kwargs["OnDemandThroughput"] for one in table.update_table.call_args_list], given)


class Restored(unittest.TestCase):
    """After one restore, what was before it is in the table before: the damage may have begun earlier than it seemed."""
    MADE = datetime.datetime(2026, 11, 29, 3, tzinfo=datetime.timezone.utc)

    def restored(self, *words, summary={"SourceTableArn": "arn:aws:dynamodb:us-east-1:0:table/first"}):
        """What is asked of DynamoDB where the stack's table was restored at three, and what is said."""
        table = unittest.mock.Mock(**{
            "describe_continuous_backups.side_effect": lambda TableName: {"ContinuousBackupsDescription": {"PointInTimeRecoveryDescription": {
                "EarliestRestorableDateTime": self.MADE if TableName == "second" else self.MADE - datetime.timedelta(days=35)}}},
            "describe_table.return_value": {"Table": {"RestoreSummary": summary} if summary else {}}})
        there = unittest.mock.Mock(**{"outputs.return_value": {"TableName": "second"}, "parameters.return_value": {"TableUnitsPerSecond": "5000"}})
        with unittest.mock.patch.object(stack, "Stack", lambda _: there), unittest.mock.patch.object(stack, "client", lambda _: table), \
                unittest.mock.patch.object(tables, "finish", return_value="label") as finish, \
                unittest.mock.patch.object(sys, "argv", ["restore.py", "dev", *words]), contextlib.redirect_stdout(io.StringIO()) as said:
            try:
                restore.main()
            except SystemExit as ended:
                self.assertFalse(table.restore_table_to_point_in_time.called or finish.called)
                return None, str(ended)
        self.assertEqual(finish.call_args.kwargs, {"units": "5000"})
        return table.restore_table_to_point_in_time.call_args.kwargs, said.getvalue()

    def test_the_table_before_is_named_and_can_be_restored(self):
        _, said = self.restored("2026-11-29T00:20:00Z")
        for words in ("the recovery of second begins at 2026-11-29T03:00:00Z", "--of first"):
            self.assertIn(words, said)
        self.assertNotIn("--of", self.restored("2026-11-29T00:20:00Z", summary=None)[1])
        asked, said = self.restored("2026-11-29T00:20:00Z", "--of", "first")
        self.assertEqual((asked["SourceTableName"], asked["RestoreDateTime"].hour), ("first", 0))
        self.assertRegex(asked["TargetTableName"], r"^first-restored-\w+$")
        self.assertIn("the table of before, second.", said, "which is the stack's now")
        self.assertEqual(self.restored("2026-11-29T04:00:00Z")[0]["SourceTableName"], "second")
        self.assertEqual(self.restored("latest")[0]["UseLatestRestorableTime"], True)


class Mail(unittest.TestCase):
    """CloudFormation makes no identity that SES has, and leaves the one of before there when a stack has another or none."""

    def test_an_identity_that_is_there_is_not_made(self):
        objects = lambda current, identity, there: deploy.mail_objection(current, {"MailIdentity": identity}, there.__contains__)
        for current in ({}, {"MailIdentity": ""}, {"MailIdentity": "b.example"}):
            self.assertIn("leave MailIdentity out", objects(current, "a.example", {"a.example"})[0])
            self.assertEqual(objects(current, "a.example", {"b.example"}), [])
        for current, identity in (({"MailIdentity": "a.example"}, "a.example"), ({"MailIdentity": "a.example"}, ""), ({}, "")):
            self.assertEqual(objects(current, identity, {"a.example", ""}), [], "the stack's own, and none")

    def test_ses_is_asked(self):
        error = stack.ClientError({"Error": {"Code": "NotFoundException"}}, "GetEmailIdentity")
        ses = unittest.mock.Mock(**{"get_email_identity.side_effect": [{}, error]})
        with unittest.mock.patch.object(stack, "client", lambda service: {"sesv2": ses}[service]):
            self.assertEqual([stack.has_identity("a.example") for _ in range(2)], [True, False])

    def test_who_mails_are_from_is_not_gone_back_on_once_it_is_another_domain(self):
        of = lambda domain, bounces="": {"MailIdentity": domain, "MailFrom": f"us@{domain}", "MailFromDomain": bounces}
        first, second = of("a.example", "bounces.a.example"), of("b.example")
        for then, now in ((first, second), ({"MailFrom": "us@a.example"}, second), (of(""), second), (first, of(""))):
            self.assertEqual(back.parameters(then, now), then | now)
        self.assertEqual(back.parameters(first, of("a.example")), first, "a domain that stays is no hindrance")
        self.assertEqual(back.parameters(first, {}), first)


class Forgotten(unittest.TestCase):
    """A release that was not deployed is none to go back to."""

    def ended(self, status, release, kept=(), error=SystemExit("no")):
        there = unittest.mock.Mock(name="stack", has=lambda given: stack.Stack.has(there, given))
        there.parameters.return_value, there.described.return_value = {"Release": release}, {"StackStatus": status}
        with unittest.mock.patch.object(deploy, "update", side_effect=error), unittest.mock.patch.object(releases, "forget") as forget:
            with self.assertRaises(type(error)):
                deploy.update_or_forget("dev", there, TEMPLATE, {}, {"Release": "b"}, kept)
        return forget.called

    def test_it_is_forgotten_unless_the_stack_has_it_or_had_it_before(self):
        failed = subprocess.CalledProcessError(1, "sam")
        self.assertTrue(self.ended("UPDATE_ROLLBACK_COMPLETE", "a", error=failed))
        self.assertTrue(self.ended("UPDATE_COMPLETE", "a"), "somebody said no")
        self.assertTrue(self.ended("ROLLBACK_COMPLETE", "b", error=failed), "a creation that failed")
        self.assertFalse(self.ended("UPDATE_COMPLETE", "b"), "the second update was refused")
        self.assertFalse(self.ended("UPDATE_IN_PROGRESS", "b", error=failed), "it may succeed yet")
        self.assertFalse(self.ended("UPDATE_COMPLETE", "a", kept=["b"]), "it was deployed before")
        self.assertFalse(self.ended("UPDATE_COMPLETE", "a", error=KeyboardInterrupt()), "CloudFormation goes on")


class TakingDown(unittest.TestCase):
    def test_cloudformation_does_it_alone_and_is_waited_for(self):
        """SAM CLI would delete the code of the kept releases."""
        cloudformation = unittest.mock.Mock()
        with unittest.mock.patch.object(stack, "client", lambda service: {"cloudformation": cloudformation}[service]):
            take_down.take_down(stack.Stack("dev"))
            cloudformation.delete_stack.assert_called_once_with(StackName="citizen-dev")
            cloudformation.get_waiter.assert_called_once_with("stack_delete_complete")
            from botocore.exceptions import WaiterError
            cloudformation.get_waiter.return_value.wait.side_effect = WaiterError("StackDeleteComplete", "DELETE_FAILED", {})
            with self.assertRaisesRegex(SystemExit, "citizen-dev is not deleted"):
                take_down.take_down(stack.Stack("dev"))
            from botocore.exceptions import ClientError
            cloudformation.delete_stack.side_effect = ClientError({"Error": {"Code": "ValidationError", "Message": "TerminationProtection"}}, "DeleteStack")
            with self.assertRaisesRegex(SystemExit, "citizen-dev is not deleted.*TerminationProtection"):
                take_down.take_down(stack.Stack("dev"))

    def test_nobody_is_told_to_have_sam_do_it(self):
        for file in (HERE.parent / "README.md", *sorted((HERE.parent / "docs").glob("*.md")), *sorted(HERE.glob("[!t]*.py"))):
            self.assertIsNone(re.search(r"sam delete --|\.sam\(\"delete\"", file.read_text()), file.name)


class Back(unittest.TestCase):
    KEPT = {"dev": ["00aa-c1", "11bb-c2"], "prod": ["22cc-c1"]}

    def test_a_release_is_found_by_a_part_of_its_name(self):
        self.assertEqual(back.found("11", self.KEPT), ("dev", "11bb-c2"))
        self.assertEqual(back.found("22cc-c1", self.KEPT), ("prod", "22cc-c1"))

    def test_which_region_runs_the_jobs_is_not_gone_back_on(self):
        for then, now in (({"StandsBy": "true"}, "false"), ({}, "true")):
            self.assertEqual(back.parameters(then, {"StandsBy": now})["StandsBy"], now)

    def test_none_and_several_are_said(self):
        self.assertIn("no release is kept", back.found("99", self.KEPT))
        said = back.found("c1", self.KEPT)
        self.assertIn("00aa-c1  dev", said)
        self.assertIn("22cc-c1  prod", said)


class Push(unittest.TestCase):
    def test_only_dev_is_pushed_to(self):
        self.assertIsNone(push.objection("citizen-dev", {"Environment": "dev"}))
        for other in ("prod", "staging"):
            self.assertIn(other, push.objection("citizen-dev", {"Environment": other}))
        self.assertIn("is not there", push.objection("citizen-dev", {}))

    def test_nothing_names_another_environment(self):
        said = subprocess.run([sys.executable, HERE / "push.py", "get-user", "prod"], capture_output=True, text=True, timeout=60)
        self.assertEqual(said.returncode, 2, said.stderr)


class Walk(unittest.TestCase):
    """Where nobody may register, a walk that does would take every good release back."""

    def test_closed_registration_wants_an_account(self):
        opened = environments.defaults()
        self.assertIsNone(roll_out.closed(opened, None))
        self.assertIn("closes log-ins", roll_out.closed(opened | {"FailedLogInsPerMinute": "0"}, {"email": "a@a.example", "password": "…"}))
        for name in ("RegistrationsPerMinute", "RegistrationsPerDay"):
            self.assertIn(f"{name}=0", roll_out.closed(opened | {name: "0"}, None))
            self.assertIsNone(roll_out.closed(opened | {name: "0"}, {"email": "a@a.example", "password": "…"}))

    def test_a_rate_of_nothing_closes_too(self):
        """Whoever shuts the door in an incident would have it opened again by the walk."""
        opened, account = environments.defaults(), {"email": "a@a.example", "password": "…"}
        for given in (None, account):
            self.assertIn("SessionRequestsPerSecond=0 closes", roll_out.closed(opened | {"SessionRequestsPerSecond": "0"}, given))
            self.assertIn("OrgRequestsPerSecond=0,0,0 closes", roll_out.closed(opened | {"OrgRequestsPerSecond": "0,0,0"}, given))
        free = opened | {"OrgRequestsPerSecond": "0,50,100"}
        self.assertIn("OrgRequestsPerSecond", roll_out.closed(free, None), "a new organization's plan is the free one")
        self.assertIsNone(roll_out.closed(free, account))
        self.assertIsNone(roll_out.closed(opened | {"OrgRequestsPerSecond": "10,0,0", "SessionRequestsPerSecond": "5"}, None))

    def test_a_rate_is_waited_out_and_a_limit_is_not(self):
        """With a rate of 5 a second the walk asks more often than it may."""
        def refusal(after):
            headers = email.message.Message()
            headers["Retry-After"] = after
            return urllib.error.HTTPError("", 429, "", headers, io.BytesIO(b'{"code":"rate_limited"}'))

        reply = unittest.mock.MagicMock(status=200, headers={})
        reply.__enter__.return_value, reply.read.return_value = reply, b"{}"
        for answers, waited in (([refusal("1"), refusal("2"), reply], [1, 2]), ([reply], [])):
            with unittest.mock.patch.object(smoke.urllib.request, "urlopen", side_effect=answers), \
                    unittest.mock.patch.object(smoke.time, "sleep") as sleep:
                smoke.Walk("http://a.example").read("GET", "/me", 200)
                self.assertEqual([one.args[0] for one in sleep.call_args_list], waited)
        # A minute's and a day's; and who is never let in.
        for after, most, kind in (("10", 0, smoke.Limited), ("", 0, smoke.Broken), ("1", 61, smoke.Broken)):
            clock = iter(range(100))
            with unittest.mock.patch.object(smoke.urllib.request, "urlopen", side_effect=lambda *_, **__: (_ for _ in ()).throw(refusal(after))), \
                    unittest.mock.patch.object(smoke.time, "monotonic", lambda: next(clock)), unittest.mock.patch.object(smoke.time, "sleep") as sleep:
                with self.assertRaisesRegex(kind, "429 instead of 200"):
                    smoke.Walk("http://a.example").read("GET", "/me", 200)
                self.assertLessEqual(sleep.call_count, most)

    def test_nothing_is_deployed_before_that_is_known(self):
        said = subprocess.run([sys.executable, HERE / "roll_out.py", "dev", "RegistrationsPerDay=0"], capture_output=True, text=True, timeout=120,
                              env=os.environ | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
        self.assertNotEqual(said.returncode, 0)
        self.assertIn("RegistrationsPerDay=0 closes registration", said.stderr)

    def test_an_account_is_an_address_and_a_password(self):
        with tempfile.NamedTemporaryFile("w") as file:
            for text in ('{"email": "a@a.example"}', "[]", "not JSON"):
                file.seek(0)
                file.truncate()
                file.write(text)
                file.flush()
                with self.assertRaises((SystemExit, ValueError), msg=text):
                    smoke.account_in(file.name)


class Operator(unittest.TestCase):
    """The operator's commands know the environment's variables alone; a person has credentials wherever AWS's tools keep them."""

    def test_a_cursor_key_is_rotated_with_them_too(self):
        import operate
        there = unittest.mock.Mock(**{"outputs.return_value": {"TableName": "table"}})
        with unittest.mock.patch.object(operate, "variables", lambda *_: {"AWS_ACCESS_KEY_ID": "key"}), unittest.mock.patch.object(rotate.subprocess, "run") as run:
            with contextlib.redirect_stdout(io.StringIO()):
                rotate.cursor_key(there, "org_1")
        self.assertEqual(run.call_args.kwargs["env"], {"AWS_ACCESS_KEY_ID": "key"})

    def test_a_profile_will_do(self):
        import boto3, operate
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "aws")
            there = {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_CONFIG_FILE": str(file), "AWS_PROFILE": "citizen", "AWS_SESSION_TOKEN": "of before"}
            keys = "aws_access_key_id = key\naws_secret_access_key = secret\nregion = eu-west-1\n"
            for more, token in (("", None), ("aws_session_token = token\n", "token")):
                file.write_text("".join(f"[{name}]\n{keys}{more}" for name in ("citizen", "profile citizen")))
                with unittest.mock.patch.dict(os.environ, there, clear=True):
                    given = operate.variables(boto3.Session(), dict(os.environ))
                found = [given.get(f"AWS_{name}") for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "REGION", "PROFILE")]
                self.assertEqual(found, ["key", "secret", token, "eu-west-1", "citizen"])

    def test_without_credentials_it_says_so(self):
        import boto3, operate
        nowhere = {"AWS_SHARED_CREDENTIALS_FILE": "/nonexistent", "AWS_CONFIG_FILE": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true"}
        with unittest.mock.patch.dict(os.environ, nowhere, clear=True), self.assertRaisesRegex(SystemExit, "no credentials"):
            operate.variables(boto3.Session(), dict(os.environ))


class Address(unittest.TestCase):
    def test_it_is_the_stacks_own_or_an_emulators(self):
        outputs = {"ApiUrl": "https://abc.execute-api.us-east-1.amazonaws.com/v1"}
        self.assertEqual(roll_out.address(outputs, None), outputs["ApiUrl"])
        self.assertEqual(roll_out.address(outputs, "http://127.0.0.1:1"), "http://127.0.0.1:1/restapis/abc/v1/_user_request_")


# mender A
LIVE = "0123456789abcdef-c1"
OF_NOW = (HERE.parent / "template.yaml").read_text()


@functools.cache
def translated(template, **parameters):
    return canaries.translated(template, {"GradualDeployment": "true"} | parameters)


class Gradual(unittest.TestCase):
    """What a canary leaves callers on runs for ten minutes with the role of the release that comes."""
    BUSY = ["CreateItem", "GetOrgPlan", "GetUser", "ListItems"]
    ALL = sorted([*BUSY, "AnalysisWorker", "EmailWorker"])

    def losing(self, before, after, template=OF_NOW):
        return canaries.losing(translated(OF_NOW, **before), translated(template, **after))

    def test_a_parameter_that_takes_what_the_versions_before_need_is_known(self):
        own = {"CacheUrl": "serverless:"}
        for before, after, names in (({}, {"ExistingTable": "restored"}, self.ALL), ({}, {"MailFrom": "us@b.example"}, ["EmailWorker"]),
                                     ({"AnalysisProvider": "anthropic"}, {}, ["AnalysisWorker"]), (own, {}, self.BUSY),
                                     (own, own | {"Environment": "other"}, self.BUSY)):
            self.assertEqual(self.losing(before, after), names, f"{before} {after}")
        for before, after in (({}, {"AnalysisProvider": "anthropic"}), ({}, own), ({}, {"LogLevel": "debug", "ReservedConcurrency": "true"})):
            self.assertEqual(self.losing(before, after), [], f"{before} {after}")

    def test_so_is_a_release_that_takes_a_grant(self):
        start = OF_NOW.index("\n  ListItemsFunction:")
        other = lambda actions: OF_NOW[:start] + OF_NOW[start:].replace("Action: [dynamodb:BatchGetItem, dynamodb:Query]", f"Action: [{actions}]", 1)
        self.assertEqual(self.losing({}, {}, other("dynamodb:BatchGetItem")), ["ListItems"])
        self.assertEqual(self.losing({}, {}, other("dynamodb:BatchGetItem, dynamodb:GetItem, dynamodb:Query")), [])

    def test_who_runs_the_jobs_is_switched_at_once(self):
        self.assertIn("StandsBy", canaries.objection(OF_NOW, {"StandsBy": "true"}, OF_NOW, {"StandsBy": "false"}))

    def test_a_deployment_that_would_fail_its_canaries_has_none(self):
        now = environments.defaults() | {"GradualDeployment": "true", "Release": LIVE}
        for changes, gradual in ((["ExistingTable=restored", "ExistingTableStream=1"], "false"), (["LogLevel=debug"], "true")):
            _, given, said = deployed("GradualDeployment=true", *changes, current=now)
            self.assertEqual((given["GradualDeployment"], "not gradual" in said), (gradual, gradual == "false"), changes)
        _, given, _ = deployed("GradualDeployment=true", current={})
        self.assertEqual(given["GradualDeployment"], "true", "a first deployment has no version of before")


def deployed(*words, current, kept=(LIVE,), built=lambda folder: {"health": b"built"}):
    """What `just deploy dev` deploys where the stack has these parameters: the template, the parameters, and what was printed."""
    there, done = unittest.mock.Mock(**{"parameters.side_effect": lambda: dict(current)}), []
    there.name = "citizen-dev"
    live = OF_NOW.replace("CodeUri: target/lambda/", "CodeUri: s3://b/").replace("\n  Release:\n", f"\n  Release:\n    Default: {LIVE}\n")

    def update(environment, stack, template, current, given, kept, *options):
        done.append((template, given))
        return [], 0

    fakes = ((stack, "Stack", lambda _: there), (stack, "has_identity", lambda _: False), (releases, "kept", lambda _: list(kept)),
             (releases, "read", lambda *_: (live, {})), (releases, "package", lambda *_: "what was built"), (releases, "prune", lambda *_: 1),
             (releases, "keep", lambda stack, release, given, template: template), (deploy.release, "built", built),
             (deploy, "update_or_forget", update), (sys, "argv", ["deploy.py", "dev", *(() if "--functions" in words else ("--functions", "/nowhere")), *words]))
    with contextlib.ExitStack() as patched, contextlib.redirect_stdout(io.StringIO()) as said:
        for module, name, value in fakes:
            patched.enter_context(unittest.mock.patch.object(module, name, value))
        deploy.main()
    return *done[0], said.getvalue()


class OfLive(unittest.TestCase):
    """Where another machine has built what is live, or nobody any more, another parameter needs no build."""
    NOW = environments.defaults() | {"Release": LIVE, "RegistrationsPerDay": "7", "GradualDeployment": "true", "NetworkStays": "true"}

    def live(self, *words, **beside):
        return deployed("--live", *words, current=self.NOW, built=unittest.mock.Mock(side_effect=AssertionError("built")), **beside)

    def test_it_has_the_template_the_functions_and_the_parameters_of_what_is_live(self):
        template, given, _ = self.live("LogLevel=debug")
        self.assertIn(f"Default: {LIVE}\n", template)
        self.assertRegex(given["Release"], r"^[0-9a-f]{16}-c1$")
        self.assertNotEqual(given["Release"], LIVE)
        changed = {"LogLevel": "debug", "GradualDeployment": "false", "Release": given["Release"]}
        self.assertEqual(given, {name: value for name, value in (self.NOW | changed).items() if name != "NetworkStays"})

    def test_a_canary_is_there_where_somebody_says_so(self):
        self.assertEqual(self.live("GradualDeployment=true")[1]["GradualDeployment"], "true")

    def test_the_same_parameters_are_the_same_release(self):
        template, given, _ = self.live("LogLevel=debug")
        unnamed = {name: value for name, value in given.items() if name != "Release"}
        self.assertEqual(release.renamed(given["Release"], template.replace(LIVE, given["Release"]), unnamed), given["Release"])
        self.assertNotEqual(self.live("LogLevel=debug", "--again")[1]["Release"], given["Release"])

    def test_what_the_stack_has_is_not_objected_to(self):
        """A door has to be closed from a machine without a build, and where what was deployed would be refused today."""
        for there in ({"CacheUrl": "rediss://u@?iam=prod&name=prod"}, {"MailFrom": "No-Reply@A.example"}):
            _, given, _ = deployed("--live", "RegistrationsPerMinute=0", current=self.NOW | there)
            self.assertLessEqual((there | {"RegistrationsPerMinute": "0"}).items(), given.items())
            for name, value in there.items():
                with self.assertRaisesRegex(SystemExit, f"{name}: "):
                    self.live(f"{name}={value}")

    def test_what_it_cannot_be_is_said(self):
        with self.assertRaisesRegex(SystemExit, "no release that is kept"):
            self.live(kept=())
        with self.assertRaisesRegex(SystemExit, "Colour: is no parameter"):
            self.live("Colour=red")


class Architecture(unittest.TestCase):
    """Lambda takes a program for another machine, and each start of it fails."""

    def folder(self, machine, within):
        """One in which a function is built, whose header names this machine."""
        program = pathlib.Path(within, "health/bootstrap")
        program.parent.mkdir()
        program.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(11) + machine.to_bytes(2, "little") + bytes(44))
        return within

    def test_what_is_built_for_another_machine_is_not_deployed(self):
        for machine, built_for in ((0x3E, "x86_64"), (0xB7, "arm64")):
            for said in ("x86_64", "arm64"):
                with tempfile.TemporaryDirectory() as within, \
                        contextlib.nullcontext() if said == built_for else self.assertRaisesRegex(SystemExit, f"Architecture={said}.* built for {built_for} .health"):
                    deployed("--functions", self.folder(machine, within), f"Architecture={said}", current={})

    def test_another_machine_wants_a_build(self):
        now = environments.defaults() | {"Release": LIVE}
        with self.assertRaisesRegex(SystemExit, "Architecture: what is live is built for x86_64; arm64 wants a build .`just build --arm64`., without --live"):
            deployed("--live", "Architecture=arm64", current=now)
        # Whatever is built on this machine.
        with tempfile.TemporaryDirectory() as within:
            deployed("--live", "LogLevel=debug", "--functions", self.folder(0xB7, within), current=now)

    def test_what_is_not_built_stops_nothing(self):
        """Where GitHub builds, no laptop has what would be deployed."""
        self.assertEqual(deploy.architecture_objection({}, {"Architecture": "arm64"}, pathlib.Path("/nowhere")), [])

    def test_an_emulator_runs_what_this_machine_runs(self):
        with tempfile.TemporaryDirectory() as within, unittest.mock.patch.dict(os.environ, {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}):
            deployed("--functions", self.folder(0xB7, within), current={})

    def test_what_is_pushed_is_built_for_the_stacks(self):
        for architecture, of_arm in (("arm64", True), ("x86_64", False), (None, False)):
            with tempfile.TemporaryDirectory() as within, unittest.mock.patch.object(push, "ROOT", pathlib.Path(within)), \
                    unittest.mock.patch.object(push.subprocess, "run") as run:
                program = pathlib.Path(within, "target/lambda/health/bootstrap")
                program.parent.mkdir(parents=True)
                program.write_bytes(b"built")
                self.assertEqual(push.built("health", architecture), b"built")
                self.assertEqual("--arm64" in run.call_args.args[0], of_arm)


class RegionOfLive(unittest.TestCase):
    NOW = environments.defaults() | {"Environment": "prod", "Release": LIVE, "MailFrom": "us@mail.a.example", "ReservedConcurrency": "true"}

    def begun(self, *words, replies=None, kept=(LIVE,)):
        """What adding a region asks of the first one's database, the command that it runs, and what it says; there AWS answers so."""
        here, there = unittest.mock.Mock(), unittest.mock.Mock()
        here.meta.region_name = "us-east-1"
        here.describe_table.return_value = {"Table": {"Replicas": [{"RegionName": "eu-west-1", "ReplicaStatus": "ACTIVE"}]}}
        there.describe_stacks.return_value = {"Stacks": [{"Outputs": [{"OutputKey": "ApiUrl", "OutputValue": "https://a.example"}]}]}
        there.exceptions.ClientError = type("ClientError", (Exception,), {})
        first = unittest.mock.Mock(**{"outputs.return_value": {"TableName": "table"}, "parameters.return_value": dict(self.NOW)})
        first.name = "citizen-prod"
        replies = test_preflight.GOOD | (replies or {})
        ask = lambda service, operation, **arguments: test_preflight.made(service, operation, replies[service, operation])(arguments)
        fakes = ((stack, "client", lambda _: here), (stack, "Stack", lambda _: first), (tables, "finish", lambda *_: "label"),
                 (tables, "waited", lambda *_: None), (boto3, "client", lambda service, region_name: there), (preflight, "asks_aws", lambda _: ask),
                 (releases, "kept", lambda _: list(kept)), (releases, "read", lambda *_: (OF_NOW, {})),
                 (sys, "argv", ["region.py", "dev", "eu-west-1", "--yes", *words]))
        with contextlib.ExitStack() as patched, contextlib.redirect_stdout(io.StringIO()) as said:
            for module, name, value in fakes:
                patched.enter_context(unittest.mock.patch.object(module, name, value))
            run = patched.enter_context(unittest.mock.patch.object(region.subprocess, "run"))
            try:
                region.main()
            except SystemExit as ended:
                return here, None, str(ended)
        return here, run, said.getvalue()

    def test_what_stops_it_there_is_said_before_a_replica_is_made(self):
        """Lambda's quota is each region's own, and what the first one reserves another may not have."""
        new = {("lambda", "get_account_settings"): test_preflight.lambdas(10)}
        here, run, said = self.begun(replies=new)
        self.assertIsNone(run)
        for words in ("nothing is made in eu-west-1", "environments are to be reserved, and 0 of the account's 10", "ReservedConcurrency=false"):
            self.assertIn(words, said)
        self.assertFalse(here.update_table.called or here.describe_table.called)
        self.assertIsNotNone(self.begun("ReservedConcurrency=false", replies=new)[1])
        there = {("sesv2", "get_email_identity"): {"VerifiedForSendingStatus": True}}
        self.assertIn("leave MailIdentity out", self.begun("MailIdentity=mail.a.example", replies=there)[2])
        self.assertIn("no release in us-east-1 that is kept", self.begun(kept=())[2])

    def test_a_region_that_stands_by_needs_no_sender_yet(self):
        for replies in ({("sesv2", "get_email_identity"): preflight.Absent}, {("sesv2", "get_account"): preflight.Unanswered}):
            self.assertIsNotNone(self.begun(replies=replies)[1])

    def test_another_region_gets_what_is_live_in_the_first(self):
        _, run, said = self.begun("LogLevel=debug")
        command = run.call_args.args[0]
        self.assertEqual(command[2:6], ["dev", "--live-in", "us-east-1", "--yes"])
        self.assertLessEqual({"LogLevel=debug", "StandsBy=true", "ExistingTable=table", "ExistingTableStream=label"}, set(command))
        self.assertEqual(run.call_args.kwargs["env"]["AWS_REGION"], "eu-west-1")
        self.assertIn("AWS_REGION=eu-west-1 just deploy dev --live StandsBy=false\n", said)


class PushedCode(unittest.TestCase):
    """A function that still has what was pushed would have it published as the next release's: CloudFormation changes nothing there."""
    OF_STACK = {"FunctionName": "health", "S3Bucket": "b", "S3Key": "code/aa"}

    def push(self, *words, functions, releases_kept=(LIVE,)):
        there = unittest.mock.Mock(**{"parameters.return_value": {"Environment": "dev", "Release": LIVE}, "published.return_value": {"health": "3"},
                                      "resources.return_value": {"HealthFunction": ("health", "AWS::Lambda::Function")}})
        there.name = "citizen-dev"
        kept = "Resources:\n  HealthFunction:\n    Properties:\n      CodeUri: s3://b/code/aa\n"
        fakes = ((stack, "Stack", lambda _: there), (stack, "client", lambda _: functions), (releases, "read", lambda *_: (kept, {})),
                 (releases, "kept", lambda _: list(releases_kept)),
                 (push, "built", lambda *_: b"pushed"), (sys, "argv", ["push.py", "health", *words]))
        with contextlib.ExitStack() as patched, contextlib.redirect_stdout(io.StringIO()):
            for module, name, value in fakes:
                patched.enter_context(unittest.mock.patch.object(module, name, value))
            push.main()

    def given(self, functions):
        return [one.kwargs for one in functions.update_function_code.call_args_list]

    def test_the_stacks_is_put_back_also_where_somebody_stops_it(self):
        for ended in (None, KeyboardInterrupt()):
            functions = unittest.mock.MagicMock(**{"update_alias.side_effect": ended})
            with self.assertRaises(KeyboardInterrupt) if ended else contextlib.nullcontext():
                self.push(functions=functions)
            pushed, put_back = self.given(functions)
            self.assertIn("ZipFile", pushed)
            self.assertEqual(put_back, self.OF_STACK)

    def test_what_is_pushed_still_is_waited_for(self):
        functions = unittest.mock.MagicMock()
        waited = functions.get_waiter.return_value.wait
        waited.side_effect = [KeyboardInterrupt(), failed_update(), None]
        with self.assertRaises(KeyboardInterrupt):
            self.push(functions=functions)
        self.assertEqual((self.given(functions)[-1], waited.call_count), (self.OF_STACK, 3))

    def test_without_the_stacks_nothing_is_begun(self):
        for words in ([], ["--undo"]):
            functions = unittest.mock.MagicMock()
            with self.assertRaisesRegex(SystemExit, "citizen-dev has no release that is kept: just deploy dev"):
                self.push(*words, functions=functions, releases_kept=())
            self.assertEqual(functions.mock_calls, [])

    def test_undo_puts_it_back_too(self):
        functions = unittest.mock.MagicMock()
        self.push("--undo", functions=functions)
        self.assertEqual(functions.update_alias.call_args.kwargs["FunctionVersion"], "3")
        self.assertEqual(self.given(functions), [self.OF_STACK])


def failed_update():
    from botocore.exceptions import WaiterError
    return WaiterError("FunctionUpdatedV2", "it failed", {})


class Stage(unittest.TestCase):
    def test_its_name_is_one_that_api_gateway_takes(self):
        """It takes no other character, and would say so in the middle of an update."""
        said = lambda name: [one for one in environments.malformed({"StageName": name}) if one.startswith("StageName:")]
        for name in ("v1", "v1_0", "a-b"):
            self.assertEqual(said(name), [])
        for name in ("v1.0", "", "a/b", "v" * 129):
            self.assertEqual(len(said(name)), 1, name)


# mender B

class RollingOut(unittest.TestCase):
    """A good release stays, whatever the walk met that is no fault of the release."""
    ACCOUNT = {"email": "a@a.example", "password": "…"}

    def ended(self, *walks, current={"Release": "a"}, changes=()):
        """How a roll-out with these walks ends, and whether it deployed and went back."""
        there = unittest.mock.Mock(**{"parameters.return_value": dict(current), "outputs.return_value": {"ApiUrl": "https://a.example/v1"}})
        with unittest.mock.patch.object(stack, "Stack", lambda _: there), unittest.mock.patch.object(smoke, "walk", side_effect=walks), \
                unittest.mock.patch.object(roll_out.subprocess, "run") as run, unittest.mock.patch.object(back, "back") as gone, \
                unittest.mock.patch.object(sys, "argv", ["roll_out.py", "dev", *changes]), contextlib.redirect_stdout(io.StringIO()):
            try:
                roll_out.main()
                said = None
            except SystemExit as end:
                said = str(end)
        return said, run.called, gone.called

    def test_a_limit_takes_no_release_back(self):
        said, *done = self.ended(smoke.Limited("register: 429 instead of 201"))
        self.assertEqual(done, [True, False])
        for words in ("NOT WALKED", "register: 429", "dev has release a", "just smoke https://a.example/v1"):
            self.assertIn(words, said)
        self.assertEqual(self.ended(None), (None, True, False))
        said, *done = self.ended("items: 500", None)
        self.assertEqual(done, [True, True])
        self.assertIn("went back to release a, and all is well there", said)
        said, *done = self.ended("items: 500", smoke.Limited("log_in: 429"))
        self.assertEqual(done, [True, True], "the second walk is ended by a limit")
        for words in ("NOT WALKED", "went back to release a, and there log_in: 429", "dev has release a"):
            self.assertIn(words, said)

    def test_a_limit_names_its_step(self):
        headers = email.message.Message()
        headers["Retry-After"] = "3600"
        refusal = urllib.error.HTTPError("", 429, "", headers, io.BytesIO(b'{"code":"rate_limited"}'))
        with unittest.mock.patch.object(smoke.urllib.request, "urlopen", side_effect=refusal), \
                self.assertRaisesRegex(smoke.Limited, r"health \(.*429 instead of 200.*rate_limited"):
            smoke.walk("http://a.example", self.ACCOUNT)

    def refused(self, step, code, account, after="86400", status=429):
        """How a step of the walk ends that is refused so."""
        headers = email.message.Message()
        headers["Retry-After"] = after
        refusal = lambda *_, **__: (_ for _ in ()).throw(urllib.error.HTTPError("", status, "", headers, io.BytesIO(b'{"code":"%s"}' % code.encode())))
        one = smoke.Walk("http://a.example", account)
        with unittest.mock.patch.object(smoke.urllib.request, "urlopen", side_effect=refusal), \
                unittest.mock.patch.object(one, "get", lambda _: {"email_verified": True}):
            try:
                return getattr(one, step)()
            except (smoke.Limited, smoke.Broken) as ended:
                self.assertIn(code, str(ended))
                return type(ended)

    def test_a_new_account_has_used_up_nothing_of_its_own(self):
        """A release that counts wrongly must not pass for one that others have kept from being walked through."""
        for step, code in (("analysis", "quota_exceeded"), ("mail", "quota_exceeded"), ("log_in", "too_many_attempts")):
            self.assertIs(self.refused(step, code, None), smoke.Broken, step)
            self.assertIs(self.refused(step, code, self.ACCOUNT), smoke.Limited, step)
        for step in ("analysis", "mail", "log_in"):
            self.assertIs(self.refused(step, "rate_limited", None), smoke.Limited, step)
        self.assertIs(self.refused("analysis", "operator_cap_reached", None), smoke.Limited)

    def test_an_e_mail_beyond_a_limit_takes_no_release_back(self):
        for code in ("quota_exceeded", "rate_limited"):
            self.assertIs(self.refused("mail", code, self.ACCOUNT), smoke.Limited, code)
        self.assertIs(self.refused("mail", "rate_limited", self.ACCOUNT, after=""), smoke.Broken)
        self.assertIs(self.refused("mail", "forbidden_role", self.ACCOUNT, after="", status=403), smoke.Broken)
        self.assertIn("NOT TRIED", self.refused("mail", "operator_cap_reached", self.ACCOUNT))

    def test_one_failed_log_in_is_the_walks_own(self):
        opened = environments.defaults()
        for given in (None, self.ACCOUNT):
            self.assertIn("FailedLogInsPerMinute=1", roll_out.closed(opened | {"FailedLogInsPerMinute": "1"}, given))
            for several in ("2", "10", "11"):
                self.assertIsNone(roll_out.closed(opened | {"FailedLogInsPerMinute": several}, given), several)

    def test_a_region_that_stands_by_is_not_walked_through(self):
        """Its jobs wait for the other region longer than the walk does; a stack keeps it that nobody says otherwise of."""
        for current, changes in (({"StandsBy": "true", "Release": "a"}, []), ({"Release": "a"}, ["StandsBy=true"]), ({}, ["StandsBy=true"])):
            said, *done = self.ended(current=current, changes=changes)
            self.assertEqual(done, [False, False])
            self.assertIn("StandsBy=true", said)
        self.assertEqual(self.ended(None, current={"StandsBy": "true", "Release": "a"}, changes=["StandsBy=false"]), (None, True, False))


    def test_a_domain_that_leads_nowhere_yet_is_deployed_by_hand(self):
        """Its target is made with it and would go with it, so that nobody could ever put it into the DNS."""
        domain, certificate = "DomainName=api.a.example", "CertificateArn=arn:aws:acm:us-east-1:000000000000:certificate/0"
        for current in ({}, {"Release": "a"}, {"Release": "a", "DomainName": "old.a.example"}):
            said, *done = self.ended(current=current, changes=[domain, certificate])
            self.assertEqual(done, [False, False])
            live = " --live" if current else ""
            for words in ("dev is not rolled out: DomainName=api.a.example", "DomainTarget", f"just deploy …{live} DomainName=api.a.example"):
                self.assertIn(words, said)
        there = {"Release": "a", "DomainName": "api.a.example"}
        for current, changes in (({"Release": "a"}, [domain, certificate, "HostedZoneId=Z1"]), (there, [domain, certificate]), (there, [])):
            self.assertEqual(self.ended(None, current=current, changes=changes), (None, True, False), changes)


class SecurityLogKey(unittest.TestCase):
    """The old key is needed to look through lines of before: it is in the file before it is gone from the table."""

    class Gone(Exception):
        pass

    def table(self, key, replies_lost=0, denied=()):
        """DynamoDB with this key. The SDK asks again where a reply to a deletion is lost."""
        item = {"key": {"S": key}} if key else {}

        def get_item(ConsistentRead, **_):
            if "get" in denied:
                raise PermissionError
            return {"Item": dict(item)} if item and ConsistentRead else {}

        def delete_item(ConditionExpression, ExpressionAttributeNames, ExpressionAttributeValues, **_):
            if "delete" in denied:
                raise PermissionError
            self.assertEqual((ConditionExpression, ExpressionAttributeNames), ("#key = :old", {"#key": "key"}))
            for _ in range(1 + replies_lost):
                if item.get("key") != ExpressionAttributeValues[":old"]:
                    raise self.Gone
                item.clear()
            return {}

        there = unittest.mock.Mock(**{"get_item.side_effect": get_item, "delete_item.side_effect": delete_item})
        there.exceptions.ConditionalCheckFailedException = self.Gone
        return there, item

    def rotated(self, file, table):
        there = unittest.mock.Mock(environment="dev", **{"outputs.return_value": {"TableName": "table"}})
        with unittest.mock.patch.object(stack, "client", lambda _: table), contextlib.redirect_stdout(io.StringIO()) as said:
            rotate.security_log_key(there, file)
        return said.getvalue()

    def test_a_lost_reply_loses_no_key(self):
        for lost in (0, 1):
            with tempfile.TemporaryDirectory() as folder:
                file, (table, item) = pathlib.Path(folder, "old"), self.table("one", lost)
                self.assertIn("the old key is in", self.rotated(file, table))
                self.assertEqual((file.read_text(), file.stat().st_mode & 0o777, item), ("one", 0o600, {}))

    def test_it_goes_on_after_an_attempt_that_failed(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "old")
            with self.assertRaises(PermissionError):
                self.rotated(file, self.table("one", denied=["get"])[0])
            self.assertFalse(file.exists())
            with self.assertRaises(PermissionError):
                self.rotated(file, self.table("one", denied=["delete"])[0])
            self.assertEqual(file.read_text(), "one", "before anything is gone")
            self.rotated(file, self.table("one")[0])
            self.assertEqual(file.read_text(), "one")
            # An empty file, as it was left by an attempt that the disk had no room for.
            file.write_text("")
            file.chmod(0o644)
            self.rotated(file, self.table("two")[0])
            self.assertEqual((file.read_text(), file.stat().st_mode & 0o777), ("two", 0o600))

    def test_it_goes_on_after_the_record_is_gone(self):
        """The attempt before was cut off after it had removed it; a log-in may have made another by now."""
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "old")
            file.write_text("one")
            said = self.rotated(file, self.table(None)[0])
            self.assertEqual(file.read_text(), "one")
            for words in ("the old key is in", "just deploy dev --live --again"):
                self.assertIn(words, said)
            with self.assertRaisesRegex(SystemExit, "it is rotated"):
                self.rotated(file, self.table("two")[0])
            file.write_text("")
            with self.assertRaisesRegex(SystemExit, "no key yet"):
                self.rotated(file, self.table(None)[0])

    def test_no_other_key_is_written_over(self):
        with tempfile.TemporaryDirectory() as folder:
            file, (table, item) = pathlib.Path(folder, "old"), self.table("two")
            file.write_text("one")
            with self.assertRaisesRegex(SystemExit, "has something else"):
                self.rotated(file, table)
            self.assertEqual((file.read_text(), item), ("one", {"key": {"S": "two"}}))
            with self.assertRaisesRegex(SystemExit, "no key yet"):
                self.rotated(pathlib.Path(folder, "new"), self.table(None)[0])
            self.assertEqual([one.name for one in pathlib.Path(folder).iterdir()], ["old"])


if __name__ == "__main__":
    unittest.main()
