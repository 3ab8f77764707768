"""What is cleared away after a deployment, over a bucket and functions that are none."""
import datetime, io, json, re, unittest, unittest.mock, zipfile
from samcli.cli.types import CfnParameterOverridesType
import boto3, environments, region, releases, stack

TEMPLATE = (releases.ROOT / "template.yaml").read_text()
STACK, BUCKET = "citizen-dev", "the-bucket"
START = datetime.datetime(2026, 11, 29, tzinfo=datetime.timezone.utc)


class Bucket:
    """What of S3 `releases` uses: keys with versions, the newest last."""

    def __init__(self):
        self.versions, self.clock = {}, 0  # key: [(version, body or None for a marker, when)]

    def put(self, key, body):
        self.clock += 1
        self.versions.setdefault(key, []).append((f"v{self.clock}", body, START + datetime.timedelta(minutes=self.clock)))

    def put_object(self, Bucket, Key, Body):
        self.put(Key, Body)

    def keys(self):
        return {key for key, versions in self.versions.items() if versions and versions[-1][1] is not None}

    def get_paginator(self, operation):
        return unittest.mock.Mock(paginate=getattr(self, operation))

    def list_objects_v2(self, Bucket, Prefix):
        found = [{"Key": key, "LastModified": self.versions[key][-1][2]} for key in self.keys() if key.startswith(Prefix)]
        return [{"Contents": found[at:at + 7]} for at in range(0, len(found), 7)] or [{}]

    def list_object_versions(self, Bucket, Prefix):
        found = [{"Key": key, "VersionId": version, "IsLatest": at == len(versions) - 1, "LastModified": when}
                 for key, versions in self.versions.items() if key.startswith(Prefix) for at, (version, _, when) in enumerate(versions)]
        return [{"Versions": found[at:at + 7]} for at in range(0, len(found), 7)] or [{}]

    def get_object(self, Bucket, Key):
        body = self.versions[Key][-1][1]
        return {"Body": io.BytesIO(body if isinstance(body, bytes) else body.encode())}

    def delete_object(self, Bucket, Key, VersionId=None):
        if VersionId is None:
            return self.put(Key, None)
        self.versions[Key] = [one for one in self.versions[Key] if one[0] != VersionId]


class Prune(unittest.TestCase):
    def setUp(self):
        self.bucket = Bucket()
        for module, name, value in ((releases, "client", lambda service: self.bucket), (releases, "bucket", lambda: BUCKET)):
            patch = unittest.mock.patch.object(module, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def release(self, name, *code, of=STACK):
        root = f"{releases.PREFIX}/{of}"
        for one in code:
            self.bucket.put(f"{root}/code/{one}", "a program")
        self.bucket.put(f"{root}/templates/{name}.template", "what CloudFormation got")
        self.bucket.put(f"{root}/{name}/template.yaml", "".join(f"  CodeUri: s3://{BUCKET}/{root}/code/{one}\n" for one in code))
        self.bucket.put(f"{root}/{name}/parameters.json", json.dumps({"Release": name}))

    def there(self, of=STACK):
        return {key.removeprefix(f"{releases.PREFIX}/{of}/") for key in self.bucket.keys() if key.startswith(f"{releases.PREFIX}/{of}/")}

    def test_the_newest_and_the_live_one_stay_with_all_that_they_name(self):
        for number in range(22):
            # One function is in all, one in each two, one in this alone.
            self.release(f"r{number:02}", "aa", f"b{number // 2:02}", f"c{number:02}")
        self.release("theirs", "aa", "dd", of="citizen-prod")
        self.assertEqual(releases.prune(STACK, {"r00"}), releases.KEPT + 1)
        left = {0, *range(22 - releases.KEPT, 22)}
        wanted = {"code/aa", "templates/r21.template", *(f"code/b{number // 2:02}" for number in left), *(f"code/c{number:02}" for number in left),
                  *(f"r{number:02}/{file}" for number in left for file in ("template.yaml", "parameters.json"))}
        self.assertEqual(self.there(), wanted)
        for number in left:
            template, given = releases.read(STACK, f"r{number:02}")
            self.assertTrue(all(f"{releases.PREFIX}/{STACK}/code/{one.split('/code/')[1]}" in self.bucket.keys() for one in template.split()[1::2]))
            self.assertEqual(given, {"Release": f"r{number:02}"})
        self.assertEqual(self.there("citizen-prod"), {"code/aa", "code/dd", "templates/theirs.template", "theirs/template.yaml", "theirs/parameters.json"})

    def test_what_is_forgotten_is_not_kept_and_goes_with_the_next_one(self):
        """Nor does it take the place of one that was deployed."""
        self.release("one", "aa")
        self.release("two", "aa", "bb")
        releases.forget(STACK, "two")
        self.assertEqual(releases.kept(STACK), ["one"])
        self.release("three", "aa")
        self.assertEqual(releases.prune(STACK, {"three", "one"}), 2)
        self.assertEqual(self.there(), {"code/aa", "templates/three.template", *(f"{one}/{file}" for one in ("one", "three") for file in ("template.yaml", "parameters.json"))})

    def test_older_versions_of_what_stays_go(self):
        self.release("one", "aa")
        self.release("one", "aa")
        releases.prune(STACK, {"one", None})
        self.assertEqual({len(versions) for versions in self.bucket.versions.values() if versions}, {1})
        self.assertEqual(self.there(), {"code/aa", "templates/one.template", "one/template.yaml", "one/parameters.json"})

    def test_a_live_release_that_is_not_kept_is_not_missed(self):
        """One of before releases were kept."""
        self.release("one", "aa")
        self.assertEqual(releases.prune(STACK, {"another"}), 1)
        self.assertIn("one/template.yaml", self.there())


class Upload(unittest.TestCase):
    """Code is kept by its content: what an earlier release has brought is not packed and sent again."""

    def setUp(self):
        self.bucket = Bucket()
        for name, value in (("client", lambda service: self.bucket), ("bucket", lambda: BUCKET)):
            patch = unittest.mock.patch.object(releases, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def test_a_release_says_where_each_function_is_and_what_it_is_called(self):
        functions = {manifest.parent.name: manifest.parent.name.encode() for manifest in releases.ROOT.glob("functions/*/Cargo.toml")}
        template = releases.package(STACK, "0123456789abcdef-c1", {"LogLevel": "info"}, functions)
        found = re.findall(r"CodeUri: (\S+)", template)
        where = {f"s3://{BUCKET}/{key}" for key in self.bucket.keys()}
        self.assertEqual(len(found), len(functions))
        self.assertLess(set(found), where)
        self.assertIn("  Release:\n    Default: 0123456789abcdef-c1\n", template)
        given = releases.PREFIX + f"/{STACK}/0123456789abcdef-c1/"
        self.assertEqual(self.bucket.versions[given + "template.yaml"][0][1].decode(), template)
        self.assertEqual(json.loads(self.bucket.versions[given + "parameters.json"][0][1]), {"LogLevel": "info"})

    def test_only_what_is_not_there_is_uploaded(self):
        first = releases.upload(BUCKET, STACK, {"a": b"one", "b": b"two"})
        second = releases.upload(BUCKET, STACK, {"a": b"one", "b": b"three"})
        self.assertEqual(first["a"], second["a"])
        self.assertEqual(len({*first.values(), *second.values()}), 3)
        self.assertEqual({key: len(versions) for key, versions in self.bucket.versions.items()}, dict.fromkeys({*first.values(), *second.values()}, 1))
        for key, program in ((first["a"], b"one"), (first["b"], b"two"), (second["b"], b"three")):
            with zipfile.ZipFile(io.BytesIO(self.bucket.versions[key][0][1])) as package:
                (entry,) = package.infolist()
                self.assertEqual((entry.filename, entry.external_attr >> 16, package.read(entry)), ("bootstrap", 0o755, program))

    def test_releases_of_the_same_code_find_it_and_stacks_have_their_own(self):
        self.assertRegex(releases.upload(BUCKET, STACK, {"a": b"one"})["a"], rf"^{releases.PREFIX}/{STACK}/code/[0-9a-f]+$")
        self.assertNotEqual(*(releases.upload(BUCKET, stack, {"a": b"one"})["a"] for stack in (STACK, "citizen-prod")))

    def test_a_program_always_has_the_same_package(self):
        with unittest.mock.patch("time.time", lambda: 2e9):
            later = releases.zipped(b"a program")
        self.assertEqual(releases.zipped(b"a program"), later)


class Kept(unittest.TestCase):
    """A release with other parameters, or in another region, has the functions of the one that it comes from."""
    FIRST, OTHER = "0123456789abcdef-c1", "fedcba9876543210-c1"
    FUNCTIONS = {manifest.parent.name: manifest.parent.name.encode() for manifest in releases.ROOT.glob("functions/*/Cargo.toml")}

    def within(self, where, own):
        """This region's bucket, and that of every other region."""
        for name, value in (("client", lambda service: where), ("bucket", lambda region=None: "theirs" if region else own)):
            patch = unittest.mock.patch.object(releases, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def test_it_names_itself_in_the_template_of_then(self):
        where = Bucket()
        self.within(where, BUCKET)
        template = releases.package(STACK, self.FIRST, {"LogLevel": "info"}, self.FUNCTIONS)
        before = where.keys()
        other = releases.keep(STACK, self.OTHER, {"LogLevel": "debug"}, template)
        self.assertEqual(other, template.replace(self.FIRST, self.OTHER))
        self.assertEqual(releases.read(STACK, self.OTHER), (other, {"LogLevel": "debug"}))
        self.assertEqual({key.split("/")[2] for key in where.keys() - before}, {self.OTHER}, "no code is uploaded")

    def brought(self, release):
        """What is live in another region, as this one gets it."""
        theirs, ours = Bucket(), Bucket()
        theirs.exceptions = unittest.mock.Mock(NoSuchKey=KeyError)
        self.within(theirs, "theirs")
        releases.package(STACK, self.FIRST, {}, self.FUNCTIONS)
        self.within(ours, BUCKET)
        ours.put(next(key for key in theirs.keys() if "/code/" in key), "is there")
        now = [{"ParameterKey": "Release", "ParameterValue": release}, {"ParameterKey": "LogLevel", "ParameterValue": "warn"}]
        cloudformation = unittest.mock.Mock(**{"describe_stacks.return_value": {"Stacks": [{"Parameters": now}]}})
        with unittest.mock.patch.object(boto3, "client", lambda service, region_name: {"s3": theirs, "cloudformation": cloudformation}[service]):
            return region.brought(STACK, "us-east-1"), theirs, ours

    def test_another_regions_code_comes_into_this_ones_bucket(self):
        """Lambda takes code from its own region alone."""
        (template, given), theirs, ours = self.brought(self.FIRST)
        self.assertEqual(given, {"Release": self.FIRST, "LogLevel": "warn"})
        self.assertNotIn("s3://theirs/", template)
        found = set(re.findall(rf"CodeUri: s3://{BUCKET}/(\S+)", template))
        self.assertEqual((len(found), found), (len(self.FUNCTIONS), ours.keys()))
        bodies = [{key: body[0][1] for key, body in where.versions.items() if "/code/" in key} for where in (theirs, ours)]
        self.assertEqual({key for key in found if bodies[0][key] != bodies[1][key]}, {key for key in found if bodies[1][key] == "is there"})
        self.assertEqual({len(ours.versions[key]) for key in found}, {1}, "what is there is not sent again")

    def test_a_release_that_is_not_kept_is_none_to_bring(self):
        with self.assertRaisesRegex(SystemExit, "no release in us-east-1 that is kept"):
            self.brought(self.OTHER)


class Said(unittest.TestCase):
    """What an update does not name, CloudFormation leaves as the stack has it: so each parameter is named, with what it is in this release."""

    def said(self, given, template=TEMPLATE):
        with unittest.mock.patch.object(releases, "sam") as sam:
            releases.deploy("dev", STACK, template, given)
        words = list(sam.call_args.args)
        return CfnParameterOverridesType().convert(words[words.index("--parameter-overrides") + 1:], None, None)

    def test_what_is_not_given_has_its_templates_default(self):
        given = {"Release": "0123456789abcdef-c1", "LogLevel": "debug", "Zones": "one,two"}
        self.assertEqual(self.said(given), environments.defaults() | given)
        self.assertEqual(self.said({"Release": "0123456789abcdef-c1"})["DeletionProtection"], "true")

    def test_an_earlier_release_has_the_defaults_of_then(self):
        then = "Parameters:\n  LogLevel: { Type: String, Default: warn }\n  Colour: { Type: String, Default: '' }\n  Release: { Type: String }\n"
        self.assertEqual(self.said({"Release": "r"}, then), {"LogLevel": "warn", "Colour": "", "Release": "r"})


class Functions:
    """What of Lambda `settle` uses: versions and the alias of each function."""

    def __init__(self, versions, live):
        self.versions, self.live = versions, live

    def get_paginator(self, operation):
        assert operation == "list_versions_by_function"
        pages = lambda FunctionName: [{"Versions": [{"Version": "$LATEST"}]}, {"Versions": [{"Version": str(one)} for one in self.versions[FunctionName]]}]
        return unittest.mock.Mock(paginate=pages)

    def get_alias(self, FunctionName, Name):
        return {"FunctionVersion": self.live[FunctionName]}

    def update_alias(self, FunctionName, Name, FunctionVersion):
        self.live[FunctionName] = FunctionVersion

    def delete_function(self, FunctionName, Qualifier):
        # As Lambda does.
        assert self.live[FunctionName] != Qualifier, f"{FunctionName}: its alias names version {Qualifier}"
        self.versions[FunctionName].remove(int(Qualifier))


class Settle(unittest.TestCase):
    def settled(self, versions, live, published, **keep):
        functions = Functions({name: list(of) for name, of in versions.items()}, dict(live))
        resources = {name: (name, "AWS::Lambda::Function") for name in versions}
        resources |= {f"{name}Version": (f"arn:aws:lambda:r:0:function:{name}:{one}", "AWS::Lambda::Version") for name, one in published.items()}
        with unittest.mock.patch.object(stack, "client", lambda service: functions), \
                unittest.mock.patch.object(stack.Stack, "resources", lambda self: resources):
            return stack.Stack("dev").settle(**keep), functions

    def test_the_published_one_is_live_and_three_before_it_stay(self):
        (moved, deleted), functions = self.settled({"a": range(1, 9), "b": [1]}, {"a": "8", "b": "1"}, {"a": "8", "b": "1"})
        self.assertEqual((moved, deleted, functions.versions), ([], 4, {"a": [5, 6, 7, 8], "b": [1]}))

    def test_none_but_the_live_one_stays_where_they_would_hold_on_to_a_network(self):
        (_, deleted), functions = self.settled({"a": range(1, 9), "b": [1]}, {"a": "8", "b": "1"}, {"a": "8", "b": "1"}, keep=0)
        self.assertEqual((deleted, functions.versions), (7, {"a": [8], "b": [1]}))

    def test_what_was_pushed_or_gone_back_on_is_told_by_what_the_stack_has_published(self):
        (moved, deleted), functions = self.settled({"a": range(1, 9)}, {"a": "8"}, {"a": "2"})
        self.assertEqual((moved, functions.live, functions.versions), (["a"], {"a": "2"}, {"a": [2, 6, 7, 8]}))
        self.assertEqual(deleted, 4)

    def test_what_callers_run_on_stays_where_the_stack_has_published_nothing(self):
        (moved, _), functions = self.settled({"a": range(1, 9)}, {"a": "1"}, {})
        self.assertEqual((moved, functions.live, functions.versions), ([], {"a": "1"}, {"a": [1, 6, 7, 8]}))


if __name__ == "__main__":
    unittest.main()
