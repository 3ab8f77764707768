"""`just deploy` reads samconfig.toml as SAM CLI does, and stops where its owner has not said what is his to say."""
import os, pathlib, re, subprocess, sys, tempfile, unittest
from samcli.cli.types import CfnTags
import deploy, release
from tools import ROOT, copied
from environments import as_sender, as_sent, defaults, environments, in_variables, new_objections, objections, parameters, template_of

SAID = ["AllowedOrigins=https://app.a.example", "AppUrl=https://app.a.example", "MailFrom=no-reply@a.example", "AlarmEmail=ops@a.example"]
# All that samconfig.toml leaves to its owner.
FILLED_IN = dict(one.split("=", 1) for one in SAID) | {
    "MailIdentity": "b.example", "DomainName": "api.b.example", "CertificateArn": "arn:aws:acm:us-east-1:000000000000:certificate/0",
    "HostedZoneId": "Z1", "RequestsPerAddress": "2000", "MonthlyBudgetUsd": "500", "ReservedConcurrency": "true"}
# As where nobody has said it.
UNSAID = [f'{one.split("=")[0]}="{defaults()[one.split("=")[0]]}"' for one in SAID]


class Environments(unittest.TestCase):
    def test_each_parses_and_fits_the_template_once_its_owner_has_spoken(self):
        self.assertEqual(set(environments()), {"dev", "staging", "prod"})
        for name, environment in environments().items():
            self.assertEqual(objections(parameters(environment, [] if name == "dev" else SAID)), [], name)
            self.assertEqual(parameters(environment)["Environment"], name)

    def test_a_stack_is_called_after_its_environment(self):
        """As the roles' permissions have it (deploy/github-role.yaml)."""
        for name, environment in environments().items():
            self.assertEqual(environment["stack_name"], f"citizen-{name}")

    def test_what_the_owner_has_not_said_stops_the_deployment_with_its_name(self):
        self.assertEqual(objections(parameters(environments()["dev"])), [])
        for name in ("staging", "prod"):
            for missing in SAID:
                said = [one if one != missing else silent for one, silent in zip(SAID, UNSAID)]
                stopped = objections(parameters(environments()[name], said))
                self.assertEqual({one.split(":")[0] for one in stopped}, {missing.split("=")[0]})

    def test_a_cache_for_each_environment_is_for_dev_alone(self):
        memory = "CacheUrl=memory:"
        self.assertEqual(objections(parameters(environments()["dev"], [memory])), [])
        for name in ("staging", "prod"):
            stopped = objections(parameters(environments()[name], [*SAID, memory]))
            self.assertEqual([one.split(":")[0] for one in stopped], ["CacheUrl"])

    def test_a_caches_address_is_one_that_functions_read_and_reach(self):
        """shared/platform/src/cache/url.rs reads more: functions of a stack with a server are in no network, and may neither log in by IAM nor
        look a name up. (test_template.Caches)"""
        dev = environments()["dev"]
        lines = [one.split(" ") for one in (ROOT / "deploy/caches.txt").read_text().splitlines() if not one.startswith("# ")]
        self.assertGreater(len(lines), 40)
        # A kept release's template may take more.
        wider = template_of() | {"Parameters": template_of()["Parameters"] | {"CacheUrl": {"Type": "String", "Default": "off:"}}}
        for given, *says in lines:
            for template in (None, wider):
                stopped = objections(parameters(dev, [f'CacheUrl="{given}"']), template)
                self.assertEqual([one.split(":")[0] for one in stopped], ["CacheUrl"] * ("deployed" not in says), given)
        for given in ("serverless:", "memory:", "off:"):
            self.assertEqual(objections(parameters(dev, [f"CacheUrl={given}"])), [], given)

    def test_a_caches_password_is_not_shown(self):
        """Who deploys from a workflow shows everybody what is said."""
        for given in ("rediss://user:hush@cache.example:99999", "rediss://user:hush@cache.example/one", "rediss://user:hush@?iam=c&name=c", "https://user:hush@a"):
            stopped = objections(parameters(environments()["dev"], [f"CacheUrl={given}"]))
            self.assertEqual([one.split(":")[0] for one in stopped], ["CacheUrl"], given)
            self.assertNotIn("hush", stopped[0])

    def test_a_stack_keeps_what_it_has_and_gets_no_other_such(self):
        now = defaults() | {"CacheUrl": "rediss://u@?iam=prod&name=prod"}
        self.assertEqual(new_objections(now | {"LogLevel": "debug"}, now), [])
        other = new_objections(now | {"CacheUrl": "rediss://u@?iam=dev&name=dev"}, now)
        self.assertEqual([one.split(":")[0] for one in other], ["CacheUrl"])

    def test_what_the_template_does_not_take_is_named(self):
        dev = environments()["dev"]
        for change, word in (("LogLevel=loud", "LogLevel: loud is none of"), ("Colour=red", "Colour: is no parameter"),
                             ("AllowedOrigins=https://a.example/", "AllowedOrigins: https://a.example/ is not https://host")):
            stopped = objections(parameters(dev, [change]))
            self.assertEqual(len(stopped), 1, stopped)
            self.assertIn(word, stopped[0])

    def test_a_number_is_one_within_its_bounds_and_whole_where_a_function_reads_it(self):
        """Of the template: what CloudFormation refuses is named before it is asked, and what functions refuse before they start."""
        dev, template = environments()["dev"], template_of()
        numbers = {name: one for name, one in template["Parameters"].items() if one["Type"] == "Number"}
        whole = in_variables(template) & set(numbers)
        self.assertLessEqual({"AccountMailsPerDay", "AccountMailBouncePercent", "FailedLogInsPerMinute", "RegistrationsPerMinute",
                              "RegistrationsPerDay"}, whole)
        for name, one in numbers.items():
            wrong = ["many", "1,000", "0x10", "--1"]
            wrong += [str(one["MinValue"] - 1)] if "MinValue" in one else []
            wrong += [str(one["MaxValue"] + 1)] if "MaxValue" in one else []
            wrong += ["1.5", "1e3", "+1", "9" * 20] if name in whole else []
            for value in wrong:
                stopped = objections(parameters(dev, [f'{name}="{value}"']))
                self.assertIn(name, {one.split(":")[0] for one in stopped}, f"{name}={value}")
            self.assertEqual(objections(parameters(dev, [f"{name}={one['Default']}"])), [], name)
        self.assertEqual(objections(parameters(dev, ["DailySpendingAlarmUsd=12.5"])), [])

    def test_no_number_is_larger_than_functions_take(self):
        """shared/src/config/tests.rs has the same list for functions."""
        dev, template = environments()["dev"], template_of()
        whole = in_variables(template) & {name for name, one in template["Parameters"].items() if one["Type"] == "Number"}
        variable = lambda name: re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper()
        lines = [one for one in (ROOT / "deploy/numbers.txt").read_text().splitlines() if not one.startswith("# ")]
        self.assertEqual([one.split(" ")[0] for one in lines], sorted(map(variable, whole)))
        most = dict(one.split(" ") for one in lines)
        for name in whole:
            refused = lambda value: [one.split(":")[0] for one in objections(parameters(dev, [f"{name}={value}"]))]
            self.assertEqual((refused(most[variable(name)]), refused(int(most[variable(name)]) + 1)), ([], [name]))

    def test_the_alarm_on_spending_comes_before_the_cap(self):
        """The operator's cap ends a day's analyses: an alarm at that sum or above would never go off."""
        for name, environment in environments().items():
            given = defaults() | parameters(environment)
            self.assertLess(float(given["DailySpendingAlarmUsd"]), float(given["DollarsPerDay"]), name)

    def test_the_apps_page_is_one_of_those_that_may_call(self):
        for name, changes in (("staging", [*SAID, "AppUrl=https://other.example"]), ("dev", ["AllowedOrigins=https://a.example"])):
            changes = list({one.split("=")[0]: one for one in changes}.values())
            self.assertEqual([one.split(":")[0] for one in objections(parameters(environments()[name], changes))], ["AppUrl"], name)
        dev = environments()["dev"]
        both = lambda origins, app: objections(parameters(dev, [f"AllowedOrigins={origins}", f"AppUrl={app}"]))
        self.assertEqual(both("https://a.example,https://b.example:8443", "https://b.example:8443"), [])
        self.assertEqual(both("https://a.example,http://[::1]:3000", "https://A.example:443"), [], "the function reads it so")

    def test_origins_are_as_browsers_send_them(self):
        """As preflights compare them; shared/src/config.rs has the same list for functions."""
        for given, sent in (("https://app.example.com:443", "https://app.example.com"), ("https://App.Example.com", "https://app.example.com"),
                            ("https://münchen.de", "https://xn--mnchen-3ya.de")):
            self.assertEqual(as_sent(given), sent)
            stopped = objections(parameters(environments()["dev"], [f"AllowedOrigins={given}", f"AppUrl={sent}"]))
            self.assertIn(sent, " ".join(stopped), given)
        for good in ("https://app.example.com:8443", "http://localhost:5173", "http://[::1]:3000"):
            self.assertEqual(as_sent(good), good)
        for wrong in ("", "*", "https://", "https://a/", "https://*.a.example", "a.example", "null", "https:a", "file://a", "https://u@a",
                      "https://a?", "https://a#", "https://a\\b", "https://a:", "https://a:99999", "https://a b", "https://[::1", "https://%61"):
            self.assertIsNone(as_sent(wrong), wrong)

    def test_e_mails_are_from_the_address_that_the_policies_have(self):
        """SES compares it as text with what the workers send, which shared/worker/src/mail/sender.rs has the same list for."""
        lines = [one.split(" ") for one in (ROOT / "deploy/senders.txt").read_text().splitlines() if not one.startswith("# ")]
        self.assertGreater(len(lines), 20)
        for given, *sent in lines:
            self.assertEqual([as_sender(given)], sent or [None])
            stopped = objections(parameters(environments()["dev"], [f"MailFrom='{given}'"]))
            self.assertEqual([one.split(":")[0] for one in stopped], ["MailFrom"] * (sent != [given]), given)
            self.assertIn(sent[0] if sent and stopped else "", " ".join(stopped))

    def test_half_a_door_is_none(self):
        dev, certificate = environments()["dev"], "arn:aws:acm:us-east-1:000000000000:certificate/0"
        for changes, missing in ((["DomainName=api.a.example"], "CertificateArn"), ([f"CertificateArn={certificate}"], "DomainName"),
                                 (["HostedZoneId=Z1"], "DomainName"), (["MailFromDomain=bounces.a.example"], "MailIdentity"), (["BasePath=v1"], "DomainName"), (["MonthlyBudgetUsd=100"], "AlarmEmail")):
            self.assertEqual([one.split(":")[0] for one in objections(parameters(dev, changes))], [missing], changes)
        whole = ["DomainName=api.a.example", f"CertificateArn={certificate}", "HostedZoneId=Z1", "MonthlyBudgetUsd=100", "AlarmEmail=ops@a.example"]
        self.assertEqual(objections(parameters(dev, whole)), [])
        for change in ("RequestsPerAddress=9", "DomainName=https://api.a.example", "TlsPolicy=TLS_1_0"):
            self.assertEqual(len(objections(parameters(dev, [change]))), 1 + change.startswith("DomainName"), change)

    def test_what_a_deployment_makes_is_tagged_with_its_environment(self):
        for name, environment in environments().items():
            tags = CfnTags().convert(environment["tags"], None, None)
            self.assertEqual((tags["service"], tags["environment"]), ("citizen", name))

    def test_an_existing_table_wants_its_stream(self):
        dev, table = environments()["dev"], "ExistingTable=other"
        self.assertEqual([one.split(":")[0] for one in objections(parameters(dev, [table]))], ["ExistingTableStream"])
        self.assertEqual(objections(parameters(dev, [table, "ExistingTableStream=2026-11-29T00:00:00.000"])), [])

    def test_nothing_is_reserved_unless_asked(self):
        self.assertEqual(defaults()["ReservedConcurrency"], "false")
        self.assertNotIn("ReservedConcurrency", parameters(environments()["dev"]))

    def test_the_checks_pass_once_an_owner_has_filled_it_in(self):
        """The release workflow runs them before it deploys, and takes what the owner has to say from samconfig.toml alone."""
        if "CITIZEN_FILLED_IN" in os.environ:
            return
        for origins in (["https://app.b.example"], ["https://app.b.example", "https://other.example:8443"]):
            values = FILLED_IN | {"AllowedOrigins": ",".join(origins), "AppUrl": origins[-1]}
            with tempfile.TemporaryDirectory() as folder:
                checkout = copied(folder)
                filled = lambda line: re.sub(r'# "(\w+)=[^"]*"', lambda found: f'"{found[1]}={values[found[1]]}"', line)
                text = (ROOT / "samconfig.toml").read_text()
                (checkout / "samconfig.toml").write_text(filled(text))
                self.assertEqual(set(re.findall(r'# "(\w+)=', text)), set(values))
                done = subprocess.run([sys.executable, "-m", "unittest", "--quiet", "test_environments"], cwd=checkout / "deploy", text=True,
                                      capture_output=True, timeout=300, env=os.environ | {"CITIZEN_FILLED_IN": "1"})
                self.assertEqual(done.returncode, 0, done.stderr)


class Release(unittest.TestCase):
    def test_it_is_another_with_each_parameter_and_each_function(self):
        given = {"LogLevel": "info"}
        first = release.name(given, {"get-user": b"one"})
        self.assertEqual(first, release.name(dict(given), {"get-user": b"one"}))
        others = {release.name({"LogLevel": "warn"}, {"get-user": b"one"}), release.name(given, {"get-user": b"two"}),
                  release.name(given, {"get-user": b"one", "get-me": b"one"})}
        # As far as SAM reads it.
        self.assertEqual(len({one[:10] for one in others | {first}}), 4)

    def test_the_command_says_what_is_missing_and_deploys_nothing(self):
        script = pathlib.Path(deploy.__file__)
        said = subprocess.run([sys.executable, script, "prod", *UNSAID], capture_output=True, text=True, timeout=120,
                              env=os.environ | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
        self.assertNotEqual(said.returncode, 0)
        for name in ("AllowedOrigins", "AppUrl", "MailFrom", "AlarmEmail"):
            self.assertIn(name, said.stderr)


if __name__ == "__main__":
    unittest.main()
