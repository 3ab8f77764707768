"""The order in which CloudFormation makes what the template names. cfn-lint looks for circles before SAM's transform, where an API
and its stage are one; so it is told to leave two resources alone, and this looks after the transform."""
import pathlib, re, unittest
from graphlib import TopologicalSorter
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


if __name__ == "__main__":
    unittest.main()
