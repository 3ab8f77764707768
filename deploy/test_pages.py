"""What the pages about the deployment tell a person to type: functions and parameters that there are, and deployments that are not refused
before AWS is asked. docs/first-deployment.md is for AWS alone, so nothing else would notice."""
import re, unittest
from samtranslator.yaml_helper import yaml_parse
from environments import environments, malformed, objections, parameters, template_of
from tools import ROOT

PAGES = {page: (ROOT / page).read_text() for page in ("README.md", *(f"docs/{name}.md" for name in (
    "first-deployment", "procedures", "deployment", "operations", "configuration")))}
# What stands for a value of the reader's own.
OPEN = re.compile(r"[<…]|\$\(")


def code(text):
    """The code spans and blocks of a page, each on one line."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    spans = re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))
    return [line for block in blocks for line in re.sub(r"\\\n\s*", " ", block).splitlines()] + [" ".join(one.split()) for one in spans]


class Pages(unittest.TestCase):
    TEMPLATE = template_of()

    def test_functions_that_are_named_are_there(self):
        named = [(page, name) for page, text in PAGES.items() for name in re.findall(r"\$\(f (\w+)\)", text)]
        self.assertGreaterEqual(len(named), 2)
        self.assertEqual([one for one in named if f"{one[1]}Function" not in self.TEMPLATE["Resources"]], [])

    def test_a_worker_rests_by_its_mapping(self):
        """Without environments, its queue would be polled all the same, and its messages would be dead letters after a while."""
        told = [(page, line) for page, text in PAGES.items() for line in code(text)]
        self.assertEqual([one for one in told if "put-function-concurrency" in one[1] and "Worker" in one[1]], [])
        for page in ("docs/procedures.md", "docs/first-deployment.md"):
            self.assertTrue([line for where, line in told if where == page and "update-event-source-mapping" in line and "--no-enabled" in line], page)

    def test_a_deployment_that_is_written_out_would_be_begun(self):
        tried = 0
        for page, text in PAGES.items():
            for line in code(text):
                found = re.search(r"\bjust (?:deploy|roll-out|preflight) (dev|staging|prod|<environment>)((?: [A-Z]\w+=\S*)+)", line)
                if found is None or OPEN.search(found[2]):
                    continue
                tried += 1
                environment = "dev" if found[1] == "<environment>" else found[1]
                self.assertEqual(objections(parameters(environments()[environment], found[2].split())), [], f"{page}: {line}")
        self.assertGreater(tried, 7)

    def test_a_value_that_is_named_is_a_parameters(self):
        known, tried, roles = self.TEMPLATE["Parameters"], 0, yaml_parse((ROOT / "deploy/github-role.yaml").read_text())["Parameters"]
        for page, text in PAGES.items():
            for line in code(text):
                for name, value in re.findall(r"(?:^|(?<= ))([A-Z][a-z][A-Za-z]*)=(\S*)", line):
                    if name not in known and (name in roles or "aws " in line):
                        continue  # AWS's own, or the roles'
                    self.assertTrue(name in known, f"{page}: {line}")
                    if value and not OPEN.search(value):
                        tried += 1
                        self.assertEqual(malformed({name: value.strip('"')}), [], f"{page}: {line}")
        self.assertGreater(tried, 20)


if __name__ == "__main__":
    unittest.main()
