"""What CloudFormation makes of template.yaml with given parameters."""
import re, unittest.mock
from transform_template import NOTHING, translated

# With everything on, so that all resources are there.
ALL_ON = {"CacheUrl": "serverless:", "AnalysisProvider": "anthropic", "MailIdentity": "a.example", "AlarmEmail": "us@a.example",
          "ReservedConcurrency": "true", "GradualDeployment": "true", "DomainName": "api.a.example", "CertificateArn": "arn", "HostedZoneId": "Z1",
          "RequestsPerAddress": "2000", "MonthlyBudgetUsd": "100"}


class Stack:
    """What CloudFormation makes of the template with these parameters."""

    def __init__(self, template, parameters, at=0):
        with unittest.mock.patch("time.time", return_value=at):  # of which SAM makes a deployment's name
            self.template = translated(template, parameters)
        if unknown := set(parameters) - set(self.template["Parameters"]):
            raise ValueError(f"no parameters of the template: {', '.join(sorted(unknown))}")
        self.values = {name: one.get("Default", "") for name, one in self.template["Parameters"].items()} | parameters
        self.resources = {name: self.resolved(one) for name, one in self.template["Resources"].items()
                          if "Condition" not in one or self.holds(self.template["Conditions"][one["Condition"]])}

    def holds(self, condition):
        if "Condition" in condition:
            return self.holds(self.template["Conditions"][condition["Condition"]])
        (kind, operands), = condition.items()
        if kind == "Fn::Equals":
            return len({str(self.resolved(one)) for one in operands}) == 1
        combined = {"Fn::Not": lambda all_of: not all_of[0], "Fn::And": all, "Fn::Or": any}[kind]
        return combined([self.holds(one) for one in operands])

    def resolved(self, value):
        """With parameters and conditions put in; what names another resource stays."""
        if isinstance(value, list):
            return [one for one in map(self.resolved, value) if one != NOTHING]
        if not isinstance(value, dict):
            return value
        if "Fn::If" in value:
            condition, yes, no = value["Fn::If"]
            return self.resolved(yes if self.holds(self.template["Conditions"][condition]) else no)
        if value.get("Ref") in self.values:
            return self.values[value["Ref"]]
        if "Fn::Sub" in value:
            text, beside = value["Fn::Sub"] if isinstance(value["Fn::Sub"], list) else (value["Fn::Sub"], {})
            known = self.values | {key: one for key, one in self.resolved(beside).items() if isinstance(one, str)}
            return re.sub(r"\$\{(\w+)\}", lambda name: str(known.get(name[1], name[0])), text)
        kept = {key: self.resolved(one) for key, one in value.items()}
        return {key: one for key, one in kept.items() if one != NOTHING}

    def of(self, *kinds):
        return {name: one for name, one in self.resources.items() if one["Type"] in kinds}

    def versions(self):
        """The name of each function's published version."""
        return {one["Properties"]["FunctionName"]["Ref"]: name for name, one in self.of("AWS::Lambda::Version").items()}
