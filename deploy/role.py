#!/usr/bin/env python3
"""The permissions of the role with which CloudFormation makes the stack (deploy/github-role.yaml): what the handlers of the stack's
resource types say they need, in the schemas that cfn-lint brings along, service by service and on this stack's resources.

Usage, with SAM CLI's Python:
  role.py           fails where the role lacks what a resource of template.yaml needs, or has what none does
  role.py --write   writes the role's statements
"""
import collections, json, pathlib, re, sys
import cfnlint
from samtranslator.yaml_helper import yaml_parse
from stack_of import ALL_ON, Stack

HERE = pathlib.Path(__file__).resolve().parent
TEMPLATE, ROLE = HERE.parent / "template.yaml", HERE / "github-role.yaml"
BEGIN, END = "  # made by deploy/role.py\n", "  # until here\n"

# What handlers name for uses of a type that this stack makes none of: whole services, and single actions.
NO_USE = {"amplify", "apprunner", "appsync", "bedrock-agentcore", "billing", "cognito-idp", "elasticloadbalancing", "payments",
          "dax", "ecr", "elasticfilesystem", "firehose", "kinesis", "kms", "s3files", "signer", "ssm", "vpc-lattice", "vpce"}
NO_USE_OF = re.compile(
    r"dynamodb:(\w*Item|Query|Scan|\w*Import\w*|\w*Kinesis\w*|\w*Replica\w*|\w*ResourcePolicy)|s3:(ListBucket|GetObjectMetadata|REST\..*)"
    r"|iam:(\w*PermissionsBoundary|PassRole|AttachRolePolicy)|ec2:(\w*VerifiedAccess\w*|\w*CidrBlock|\w*Encryption\w*|ModifyVpcTenancy|DescribeInstances)"
    r"|lambda:(PassCapacityProvider|GetLayerVersion|\w*CodeSigning\w*|\w*Provisioned\w*|\w*Scaling\w*|\w*RuntimeAlias)"
    r"|logs:(\w*KmsKey|\w*DataProtection\w*|\w*IndexPolic\w*|\w*Bearer\w*|PutLogEvents|CreateLogStream|DescribeLogStreams)"
    r"|secretsmanager:(\w*Regions|\w*Replicat\w*|GetSecretValue)|codedeploy:RegisterOnPremisesInstance|elasticache:ModifyReplicationGroup")
# What CloudFormation asks for itself when it works out a function of the template ("Fn::GetAZs", IAM permissions).
OF_FUNCTIONS = {"Fn::GetAZs": ["ec2:DescribeAccountAttributes", "ec2:DescribeAvailabilityZones", "ec2:DescribeSubnets"]}
HERE_ONLY = "arn:${AWS::Partition}:%s:${AWS::Region}:${AWS::AccountId}:"
# Which resources a service's actions are for: this stack's, by the names that CloudFormation gives them.
ON = {
    "apigateway": ["arn:${AWS::Partition}:apigateway:${AWS::Region}::/" + path for path in
                   ("account", "restapis", "restapis/*", "domainnames", "domainnames/*", "tags/*")],
    "budgets": ["arn:${AWS::Partition}:budgets::${AWS::AccountId}:budget/citizen-${Environment}*"],
    "cloudwatch": [HERE_ONLY % "cloudwatch" + "alarm:citizen-${Environment}-*", "arn:${AWS::Partition}:cloudwatch::${AWS::AccountId}:dashboard/citizen-${Environment}-*"],
    "codedeploy": [HERE_ONLY % "codedeploy" + kind for kind in ("application:citizen-${Environment}-*", "deploymentgroup:citizen-${Environment}-*/*", "deploymentconfig:*")],
    "dynamodb": [HERE_ONLY % "dynamodb" + "table/citizen-${Environment}-*"],
    "ec2": ["*"],  # a network's parts have no names
    "elasticache": [HERE_ONLY % "elasticache" + kind for kind in ("serverlesscache:citizen-${Environment}", "user:citizen-${Environment}", "usergroup:citizen-${Environment}")],
    "events": [HERE_ONLY % "events" + "rule/citizen-${Environment}-*"],
    "iam": ["arn:${AWS::Partition}:iam::${AWS::AccountId}:role/citizen-${Environment}-*"],
    "lambda": [HERE_ONLY % "lambda" + kind for kind in ("function:citizen-${Environment}-*", "event-source-mapping:*")],
    "logs": [HERE_ONLY % "logs" + "log-group:citizen-${Environment}-*"],
    "route53": ["arn:${AWS::Partition}:route53:::hostedzone/${HostedZoneId}", "arn:${AWS::Partition}:route53:::change/*"],
    "s3": ["arn:${AWS::Partition}:s3:::aws-sam-cli-managed-default-*/citizen-releases/citizen-${Environment}/*"],
    "secretsmanager": [HERE_ONLY % "secretsmanager" + "secret:AnthropicApiKey-*"],
    "ses": [HERE_ONLY % "ses" + kind for kind in ("identity/*", "configuration-set/*")],
    "sns": [HERE_ONLY % "sns" + "citizen-${Environment}-*"],
    "sqs": [HERE_ONLY % "sqs" + "citizen-${Environment}-*"],
    "wafv2": [HERE_ONLY % "wafv2" + "regional/*", "arn:${AWS::Partition}:apigateway:${AWS::Region}::/restapis/*"],
}
# Of these, IAM knows no resource ("Service Authorization Reference").
ON_ALL = re.compile(r"lambda:(Create|List)EventSourceMappings?|logs:(DescribeLogGroups|\w*ResourcePolic\w*|\w*LogDelivery)"
                    r"|secretsmanager:GetRandomPassword|cloudwatch:DescribeAlarms|elasticache:Describe\w+|sns:Unsubscribe|\w+:List\w*")

# What the roles of kept releases have, and going back attaches again. (That of queues until 2026-11-30.)
ATTACHED_BEFORE = {"arn:${AWS::Partition}:iam::aws:policy/service-role/AWSLambdaSQSQueueExecutionRole"}


def handlers():
    """The actions that making, reading, changing and removing a resource of a type needs, by type."""
    found = {}
    for file in (pathlib.Path(cfnlint.__file__).parent / "data/schemas/resources").glob("*.json"):
        schema = json.loads(file.read_text())
        found[schema["typeName"]] = {action for name, one in schema.get("handlers", {}).items() if name != "list"
                                     for action in one.get("permissions", [])}
    return found


def statements(stack, source):
    """The statements that the stack's resources need, and CloudFormation itself for the template as it is written; what this script
    has no answer for."""
    known, needed, unknown = handlers(), set(), []
    for kind in sorted({one["Type"] for one in stack.resources.values()}):
        if not known.get(kind):
            unknown.append(f"deploy/role.py: nothing says what {kind} needs")
        needed |= {one for one in known.get(kind, ()) if one.split(":")[0] not in NO_USE and not NO_USE_OF.fullmatch(one)}
    needed |= {one for function, actions in OF_FUNCTIONS.items() if f"'{function}'" in str(source) for one in actions}
    by_place = collections.defaultdict(set)
    for action in needed:
        service = action.split(":")[0]
        if action == "iam:CreateServiceLinkedRole":
            continue
        if service not in ON:
            unknown.append(f"deploy/role.py: ON has no resources for {service}, which {action} is of")
        by_place[("*",) if ON_ALL.fullmatch(action) else tuple(ON.get(service, ()))].add(action)
    found = [{"Effect": "Allow", "Resource": list(place), "Action": sorted(actions)} for place, actions in sorted(by_place.items())]
    attached = {one for role in stack.of("AWS::IAM::Role").values() for one in role["Properties"].get("ManagedPolicyArns", [])}
    policies = sorted({re.sub(r"^arn:aws:", "arn:${AWS::Partition}:", one) for one in attached} | ATTACHED_BEFORE)
    found.append({"Effect": "Allow", "Resource": ON["iam"], "Action": ["iam:AttachRolePolicy"],
                  "Condition": {"ArnEquals": {"iam:PolicyARN": policies}}})
    trusted = sorted({service for role in stack.of("AWS::IAM::Role").values() for one in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
                      for service in [one["Principal"]["Service"]] for service in (service if isinstance(service, list) else [service])})
    found.append({"Effect": "Allow", "Resource": ON["iam"], "Action": ["iam:PassRole"],
                  "Condition": {"StringEquals": {"iam:PassedToService": trusted}}})
    found.append({"Effect": "Allow", "Resource": ["arn:${AWS::Partition}:iam::${AWS::AccountId}:role/aws-service-role/*"],
                  "Action": ["iam:CreateServiceLinkedRole"],
                  "Condition": {"StringEquals": {"iam:AWSServiceName": ["elasticache.amazonaws.com", "ops.apigateway.amazonaws.com"]}}})
    # With a role, it is the role that has to be allowed to run a macro ("Control CloudFormation access with IAM").
    macro = source["Transform"].removeprefix("AWS::")
    found.append({"Effect": "Allow", "Resource": ["arn:${AWS::Partition}:cloudformation:${AWS::Region}:aws:transform/" + macro],
                  "Action": ["cloudformation:CreateChangeSet"]})
    return found, unknown


def policies(found):
    """The statements in as many managed policies as their size asks for: 6,144 characters each ("IAM and AWS STS quotas")."""
    name = lambda value: re.sub(r"\$\{\w+(::\w+)?\}", "x" * 20, json.dumps(value, separators=(",", ":")))
    parts = [[]]
    for one in found:
        if parts[-1] and len(name([*parts[-1], one])) > 6000:
            parts.append([])
        parts[-1].append(one)
    return parts


def listed(values, place, word=lambda value: value):
    return "".join(f"{place}- {word(value)}\n" for value in values)


def written(found):
    """The policies as YAML."""
    named = lambda value: f'!Sub "{value}"' if "${" in value else json.dumps(value)
    text, place = "", " " * 14
    for number, part in enumerate(policies(found), 1):
        text += f"""  CloudFormationPermissions{number}:
    Type: AWS::IAM::ManagedPolicy
    Properties:
      Roles: [!Ref CloudFormationRole]
      PolicyDocument:
        Version: "2012-10-17"
        Statement:
"""
        for one in part:
            text += f"          - Effect: Allow\n            Resource:\n{listed(one['Resource'], place, named)}            Action:\n"
            text += listed(one["Action"], place)
            for operator, keys in one.get("Condition", {}).items():
                (key, values), = keys.items()
                text += f"            Condition:\n              {operator}:\n                {key}:\n{listed(values, ' ' * 18, named)}"
    return text


def main():
    found, wrong = statements(Stack(TEMPLATE, ALL_ON), yaml_parse(TEMPLATE.read_text()))
    text, made = ROLE.read_text(), BEGIN + written(found) + END
    there = re.search(re.escape(BEGIN) + ".*?" + re.escape(END), text, re.DOTALL)
    if "--write" in sys.argv:
        ROLE.write_text(text.replace(there[0], made))
    elif there[0] != made:
        wrong.append("deploy/github-role.yaml: the role is another than the stack needs: deploy/role.py --write (`just role`)")
    print("\n".join(wrong) or f"CloudFormation's role has what {len(found)} statements say, and the stack's resources need")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
