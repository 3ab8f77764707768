"""A deployed stack, as AWS tells of it. Credentials and region come from the environment (AWS_PROFILE, AWS_REGION)."""
import functools, sys, time
import boto3
from botocore.exceptions import ClientError
from environments import environments

ALIAS = "live"
# What a stack is whose creation failed.
NOT_MADE = ("CREATE_FAILED", "ROLLBACK_IN_PROGRESS", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED")


@functools.cache
def client(service):
    session = boto3.Session()
    if not session.region_name:
        sys.exit("no region: set AWS_REGION, for example to us-east-1")
    return session.client(service)


def has_identity(name):
    """Whether SES has this identity. Where AWS lets nobody ask, CloudFormation will say it."""
    try:
        client("sesv2").get_email_identity(EmailIdentity=name)
        return True
    except ClientError:
        return False


class Stack:
    """The stack of an environment of samconfig.toml."""

    def __init__(self, environment):
        self.environment, self.name = environment, environments()[environment]["stack_name"]

    def described(self):
        """What CloudFormation says of it; None where it is not."""
        try:
            found = client("cloudformation").describe_stacks(StackName=self.name)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        return None if found["StackStatus"] in ("DELETE_COMPLETE", "REVIEW_IN_PROGRESS") else found

    def parameters(self):
        found = self.described() or {}
        return {one["ParameterKey"]: one["ParameterValue"] for one in found.get("Parameters", [])}

    def has(self, release):
        """Whether it has this release, or may have it yet. A stack whose creation failed says still what it was to have."""
        return self.parameters().get("Release") == release and self.described()["StackStatus"] not in NOT_MADE

    def outputs(self):
        found = self.described()
        if found is None:
            sys.exit(f"there is no stack {self.name}: just deploy {self.environment}")
        return {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", [])}

    def resources(self):
        """The physical ids of its resources by logical ones, and their types."""
        pages = client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=self.name)
        return {one["LogicalResourceId"]: (one["PhysicalResourceId"], one["ResourceType"])
                for page in pages for one in page["StackResourceSummaries"] if one.get("PhysicalResourceId")}

    def published(self):
        """The version of each function that the stack has published, by the function's name."""
        arns = [physical for physical, kind in self.resources().values() if kind == "AWS::Lambda::Version"]
        return dict(arn.split(":")[-2:] for arn in arns)

    def live(self):
        """The version that each function's alias names, by the function's name."""
        names = [physical for physical, kind in self.resources().values() if kind == "AWS::Lambda::Function"]
        return {name: client("lambda").get_alias(FunctionName=name, Name=ALIAS)["FunctionVersion"] for name in names}

    def leave_network(self, seconds=3600):
        """Waits until Lambda has given back its interfaces in the stack's subnets, which takes 20 to 45 minutes."""
        subnets = [physical for physical, kind in self.resources().values() if kind == "AWS::EC2::Subnet"]
        filters, end = [{"Name": "subnet-id", "Values": subnets}, {"Name": "interface-type", "Values": ["lambda"]}], time.monotonic() + seconds
        while subnets and client("ec2").describe_network_interfaces(Filters=filters)["NetworkInterfaces"]:
            if time.monotonic() > end:
                sys.exit(f"functions of {self.name} still have interfaces in {', '.join(subnets)}: once they are gone, the same command again")
            print("waiting until Lambda has given back its network interfaces", flush=True)
            time.sleep(30)

    def settle(self, keep=3):
        """Points each alias at the version that the stack has published, and deletes all but the newest few of the others.
        Returns the functions whose alias named another one, and how many versions were deleted."""
        functions, published, live = client("lambda"), self.published(), self.live()
        moved = [name for name, version in published.items() if live.get(name) not in (None, version)]
        for name in moved:
            functions.update_alias(FunctionName=name, Name=ALIAS, FunctionVersion=published[name])
        deleted = 0
        for name in live:
            pages = functions.get_paginator("list_versions_by_function").paginate(FunctionName=name)
            there = sorted(int(one["Version"]) for page in pages for one in page["Versions"] if one["Version"] != "$LATEST")
            in_use = {published.get(name, live[name])}  # the alias names it now
            others = [one for one in there if str(one) not in in_use]
            for version in others[:max(0, len(others) - keep)]:
                functions.delete_function(FunctionName=name, Qualifier=str(version))
                deleted += 1
        return moved, deleted
