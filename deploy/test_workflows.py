"""The workflows: no key is stored, no action is another than the one that was looked at, and only one environment's job becomes its role."""
import re, subprocess, unittest
from samtranslator.yaml_helper import yaml_parse
from environments import defaults, environments, parameters
from tools import ROOT, TOOLS

FILES = {file.name: file.read_text() for file in sorted((ROOT / ".github/workflows").glob("*.yml"))}
WORKFLOWS = {name: yaml_parse(text) for name, text in FILES.items()}
JOBS = [(f"{file}: {name}", job) for file, workflow in WORKFLOWS.items() for name, job in workflow["jobs"].items()]


class Workflows(unittest.TestCase):
    def test_actions_are_pinned_by_commit_and_say_their_version(self):
        for file, text in FILES.items():
            for used in re.findall(r"uses: *(.*)", text):
                self.assertRegex(used, r"^(\./\.github/workflows/\w[\w-]*\.yml|[\w-]+/[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*)$", file)

    def test_no_secret_is_read(self):
        for file, text in FILES.items():
            self.assertNotRegex(text, r"secrets\b|aws-access-key-id|AWS_SECRET", file)

    def test_only_a_job_of_an_environment_may_become_a_role(self):
        becoming = []
        for name, job in JOBS:
            permissions = job.get("permissions", {})
            self.assertLessEqual(set(permissions.items()), {("contents", "read"), ("id-token", "write")}, name)
            if "id-token" in permissions:
                becoming.append(name)
                self.assertTrue("environment" in job or job.get("uses") == "./.github/workflows/roll-out.yml", name)
        self.assertEqual(len(becoming), 4, becoming)
        for file, workflow in WORKFLOWS.items():
            self.assertIn(workflow.get("permissions"), ({}, {"contents": "read"}), file)

    def test_environments_follow_one_another_and_what_is_under_way_is_not_cut_off(self):
        jobs = WORKFLOWS["release.yml"]["jobs"]
        self.assertEqual({name: jobs[name].get("needs") for name in ("dev", "staging", "prod")},
                         {"dev": ["checks", "build"], "staging": "dev", "prod": "staging"})
        self.assertEqual([jobs[name]["with"]["environment"] for name in ("dev", "staging", "prod")], ["dev", "staging", "prod"])
        for concurrency in (WORKFLOWS["release.yml"]["concurrency"], WORKFLOWS["roll-out.yml"]["jobs"]["roll-out"]["concurrency"]):
            self.assertIs(concurrency["cancel-in-progress"], False)
        self.assertEqual(WORKFLOWS["roll-out.yml"]["jobs"]["roll-out"]["environment"], "${{ inputs.environment }}")

    def test_what_is_built_lasts_as_long_as_an_approval_may_take(self):
        """"Reviewing deployments", GitHub Docs: a job that nobody approves in 30 days fails. It is not the artifact's first day by then."""
        kept = [step["with"]["retention-days"] for _, job in JOBS for step in job.get("steps", []) if "upload-artifact" in step.get("uses", "")]
        self.assertEqual(len(kept), 1)
        self.assertGreater(kept[0], 30)

    def test_what_root_has_written_the_runner_writes_to(self):
        """Root installs tools with the runner's HOME: crates, toolchains and caches are root's then."""
        steps = [step["run"] for step in WORKFLOWS["release.yml"]["jobs"]["build"]["steps"] if "run" in step]
        as_root = next(at for at, step in enumerate(steps) if step.startswith("sudo --preserve-env"))
        self.assertEqual(set(re.findall(r"\$HOME/(\S+?)\"", steps[as_root + 1])), {".cache", ".cargo", ".rustup"})
        self.assertTrue(steps[as_root + 1].startswith('sudo chown -R "$USER" '), steps)

    def test_what_is_built_is_for_the_machine_that_all_environments_say(self):
        """The same functions go to each; `just deploy` would stop at the first that says another."""
        (build,) = (step["run"] for step in WORKFLOWS["release.yml"]["jobs"]["build"]["steps"] if "build-functions.py" in step.get("run", ""))
        said = {name: (defaults() | parameters(one))["Architecture"] for name, one in environments().items()}
        self.assertEqual(set(said.values()), {"arm64" if "--arm64" in build else "x86_64"}, f"{said}, and release.yml runs: {build}")

    def test_an_older_commit_follows_no_newer_one(self):
        """One run is in its group until its approval is given or refused, and the page says so."""
        self.assertEqual(WORKFLOWS["release.yml"]["concurrency"]["group"], "release")
        page = (ROOT / "docs/deployment.md").read_text()
        self.assertIn("reject", page[page.index("## From GitHub"):page.index("## On this machine")])

    def test_each_step_is_a_script_that_runs_here(self):
        for name, job in JOBS:
            for command in (step["run"] for step in job.get("steps", []) if "run" in step):
                scripts = re.findall(r"(?:^|\s)((?:deploy|\.ci)/[\w./-]+)", command)
                for script in scripts:
                    self.assertTrue((ROOT / script).stat().st_mode & 0o100, f"{name}: {script}")
                self.assertTrue(scripts or re.search(r"\b(tar|chown)\b", command), f"{name}: {command}")
                self.assertNotIn("${{", command, f"{name}: what others wrote is no part of a command")

    def test_the_linter_finds_nothing_here_and_something_in_a_wrong_one(self):
        lint = lambda text: subprocess.run([TOOLS / "venv/bin/actionlint", "-no-color", "-"], input=text, capture_output=True, text=True).stdout
        for file, text in FILES.items():
            self.assertEqual(lint(text), "", file)
        self.assertIn("undefined", lint(FILES["roll-out.yml"].replace("github.run_id", "github.run_idd").replace("inputs.options", "input.options")))


class Role(unittest.TestCase):
    ROLE = yaml_parse((ROOT / "deploy/github-role.yaml").read_text())["Resources"]
    TEMPLATE = yaml_parse((ROOT / "template.yaml").read_text())

    def cloudformation_may(self, action, resource):
        """Whether the role that CloudFormation takes is allowed it, without a condition."""
        statements = [one for name, policy in self.ROLE.items() if name.startswith("CloudFormationPermissions")
                      for one in policy["Properties"]["PolicyDocument"]["Statement"]]
        return any(action in one["Action"] and resource in one["Resource"] and "Condition" not in one for one in statements)

    def test_one_environment_of_one_repository_is_trusted(self):
        statement, = self.ROLE["DeployRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        self.assertEqual(statement["Action"], "sts:AssumeRoleWithWebIdentity")
        self.assertEqual(statement["Condition"], {"StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": {"Fn::Sub": "repo:${Repository}:environment:${Environment}"}}})

    def test_no_action_is_a_wildcard_and_few_are_for_any_resource(self):
        for name, one in self.ROLE.items():
            properties = one["Properties"]
            documents = [properties["PolicyDocument"]] if "PolicyDocument" in properties else \
                [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
            for statement in (statement for document in documents for statement in document["Statement"]):
                actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
                self.assertNotIn("*", "".join(actions), name)
                if "*" in (statement["Resource"], *([] if isinstance(statement["Resource"], (str, dict)) else statement["Resource"])):
                    # Nothing that gives or takes data or permissions.
                    self.assertEqual([one for one in actions if re.match(r"(iam:(?!List)|s3|dynamodb:(?!List)|lambda:(?!Create|List)|sqs:(?!List))", one)], [])

    def test_who_deploys_may_do_what_the_deployment_does_beside_cloudformation(self):
        text = (ROOT / "deploy/stack.py").read_text().replace("functions.", 'client("lambda").')
        called = {(service, page or one) for service, page, one in
                  re.findall(r'client\("(\w+)"\)\.(?:get_paginator\("(\w+)"\)|(\w+))', text)}
        self.assertGreaterEqual(len(called), 6)
        statements = [one for policy in self.ROLE["DeployRole"]["Properties"]["Policies"] for one in policy["PolicyDocument"]["Statement"]]
        may = {action for one in statements for action in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])}
        of_iam = {"sesv2": "ses"}
        named = {f"{of_iam.get(service, service)}:{''.join(word.title() for word in operation.split('_'))}" for service, operation in called}
        self.assertLessEqual(named, may)

    def test_cloudformation_may_run_the_templates_transform(self):
        """Without it no change set is made: with a role, CloudFormation asks for the macro as that role."""
        macro = self.TEMPLATE["Transform"].removeprefix("AWS::")
        arn = {"Fn::Sub": "arn:${AWS::Partition}:cloudformation:${AWS::Region}:aws:transform/" + macro}
        self.assertTrue(self.cloudformation_may("cloudformation:CreateChangeSet", arn), macro)

    def test_cloudformation_may_go_back_to_a_release_of_before(self):
        """Whose workers' roles have the policy of SQS events: an update detached it, and its rollback attaches it."""
        statements = [one for name, policy in self.ROLE.items() if name.startswith("CloudFormationPermissions")
                      for one in policy["Properties"]["PolicyDocument"]["Statement"]]
        (attach,) = (one for one in statements if one["Action"] == ["iam:AttachRolePolicy"])
        self.assertIn("AWSLambdaSQSQueueExecutionRole", str(attach["Condition"]))

    def test_cloudformation_may_look_up_the_zones_that_the_template_leaves_to_it(self):
        """"Fn::GetAZs", IAM permissions: CloudFormation asks EC2 as its role."""
        self.assertIn("Fn::GetAZs", str(self.TEMPLATE["Resources"]["SubnetA"]))
        for action in ("DescribeAccountAttributes", "DescribeAvailabilityZones", "DescribeSubnets"):
            self.assertTrue(self.cloudformation_may(f"ec2:{action}", "*"), action)


if __name__ == "__main__":
    unittest.main()
