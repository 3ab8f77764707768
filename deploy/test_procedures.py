"""What the recipes decide before they ask AWS."""
import os, pathlib, subprocess, sys, tempfile, unittest
import back, deploy, push, roll_out, smoke

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
            first, second = deploy.in_turn(None, given)
            self.assertEqual((first["DeletionProtection"], second), ("false", given))

    def test_no_other_deployment_takes_protection_off(self):
        there = {"StackStatus": "UPDATE_COMPLETE"}
        for stack, given in ((there, {}), (there, {"DeletionProtection": "true"}), (None, {"DeletionProtection": "false"}), (None, {"ExistingTable": "kept"})):
            self.assertEqual(deploy.in_turn(stack, given), [given])


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
