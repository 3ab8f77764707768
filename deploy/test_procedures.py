"""What the recipes decide before they ask AWS."""
import os, pathlib, subprocess, sys, tempfile, unittest, unittest.mock
import back, deploy, environments, push, releases, roll_out, smoke, stack, tables

HERE = pathlib.Path(deploy.__file__).parent


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
        for current in (self.INSIDE, {"CacheUrl": "off:", "NetworkStays": "true"}):  # the second is one that was cut off
            for given in ({}, {"CacheUrl": "off:"}, {"CacheUrl": "redis://a.example:6379"}):
                self.assertEqual(deploy.in_turn(current, given), [given | {"NetworkStays": "true"}, given])
        for current, given in ((self.INSIDE, self.INSIDE), ({"CacheUrl": "off:"}, {"CacheUrl": "off:"}), ({"CacheUrl": "off:"}, self.INSIDE)):
            self.assertEqual(deploy.in_turn(current, given), [given])

    def test_between_both_updates_no_version_is_left_inside(self):
        done, there = [], unittest.mock.Mock()
        there.settle.side_effect = lambda keep: done.append(f"keeps {keep}")
        there.leave_network.side_effect = lambda: done.append("waits")
        with unittest.mock.patch.object(releases, "deploy", lambda *given: done.append(given[3].get("NetworkStays"))):
            given, there.parameters.return_value = {"CacheUrl": "off:", "Release": "b"}, {"Release": "b"}
            deploy.update("dev", there, "Parameters:\n  NetworkStays:\n", self.INSIDE, given)
            self.assertEqual(done, ["true", "keeps 0", "waits", None, "keeps 3"])
            done.clear()
            deploy.update("dev", there, "Parameters:\n  Release:\n", self.INSIDE, given)
            self.assertEqual(done, [None, "keeps 3"], "a release from before the parameter")
            done.clear()
            there.parameters.return_value = {"Release": "a"}
            with self.assertRaisesRegex(SystemExit, "is as it was"):
                deploy.update("dev", there, "Parameters:\n  NetworkStays:\n", self.INSIDE, given)
            self.assertEqual(done, ["true"], "somebody said no to the change set")

    def test_it_goes_when_lambda_has_given_back_its_interfaces(self):
        replies = [{"NetworkInterfaces": [{}]}, {"NetworkInterfaces": [{}]}, {"NetworkInterfaces": []}]
        network = unittest.mock.Mock(**{"describe_network_interfaces.side_effect": replies})
        resources = {"SubnetA": ("subnet-a", "AWS::EC2::Subnet"), "Network": ("vpc", "AWS::EC2::VPC")}
        with unittest.mock.patch.object(stack, "client", lambda service: network), unittest.mock.patch.object(stack.time, "sleep") as sleep, \
                unittest.mock.patch.object(stack.Stack, "resources", lambda self: resources):
            stack.Stack("dev").leave_network()
        self.assertEqual(sleep.call_count, 2)
        self.assertIn({"Name": "subnet-id", "Values": ["subnet-a"]}, network.describe_network_interfaces.call_args.kwargs["Filters"])

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


class Region(unittest.TestCase):
    def test_which_region_runs_the_jobs_stays_unless_it_is_said(self):
        now = {"StandsBy": "true", "LogLevel": "debug"}
        self.assertEqual(deploy.with_what_stays(now, {}), {"StandsBy": "true"})
        self.assertEqual(deploy.with_what_stays(now, {"StandsBy": "false"}), {"StandsBy": "false"})
        # Nor is one that runs them another release for it.
        self.assertEqual((deploy.with_what_stays({}, {}), deploy.with_what_stays({"StandsBy": "false"}, {})), ({}, {}))

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
        opened = {"RegistrationsPerMinute": "5", "RegistrationsPerDay": "20", "FailedLogInsPerMinute": "10"}
        self.assertIsNone(roll_out.closed(opened, None))
        self.assertIn("closes log-ins", roll_out.closed(opened | {"FailedLogInsPerMinute": "0"}, {"email": "a@a.example", "password": "…"}))
        for name in ("RegistrationsPerMinute", "RegistrationsPerDay"):
            self.assertIn(f"{name}=0", roll_out.closed(opened | {name: "0"}, None))
            self.assertIsNone(roll_out.closed(opened | {name: "0"}, {"email": "a@a.example", "password": "…"}))

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


class Address(unittest.TestCase):
    def test_it_is_the_stacks_own_or_an_emulators(self):
        outputs = {"ApiUrl": "https://abc.execute-api.us-east-1.amazonaws.com/v1"}
        self.assertEqual(roll_out.address(outputs, None), outputs["ApiUrl"])
        self.assertEqual(roll_out.address(outputs, "http://127.0.0.1:1"), "http://127.0.0.1:1/restapis/abc/v1/_user_request_")


if __name__ == "__main__":
    unittest.main()
