"""MiniStack and a real Redis on 127.0.0.1, and this project's stack on them, deployed as one deploys it to AWS."""
import json, os, pathlib, re, signal, socket, subprocess, sys, time
import urllib.error, urllib.request
import boto3
from tools import ROOT, TOOLS

STACK = "citizen-dev"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(what, ready, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if ready():
            return
        time.sleep(0.1)
    sys.exit(f"{what}: not in {seconds} s")


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Part:
    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.start = time.monotonic()
        print(f"::: {self.name}", flush=True)

    def __exit__(self, kind, *_):
        if kind is None:
            print(f"::: {self.name}: {time.monotonic() - self.start:.0f} s", flush=True)


class Deployment:
    """MiniStack, Redis and a stack on them."""

    def __init__(self, folder):
        self.folder, self.children = folder, []
        self.port, redis_port = free_port(), free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        # With all of cargo's: what is built already is not compiled again with another profile.
        kept = ("PATH", "HOME", "LANG", "TMPDIR", "RUSTUP_HOME", "CITIZEN_TOOLS")
        self.environment = {name: value for name, value in os.environ.items() if name in kept or name.startswith("CARGO_")} | {
            "AWS_ENDPOINT_URL": self.endpoint, "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "SAM_CLI_TELEMETRY": "0",
            "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(self.port), "LAMBDA_EXECUTOR": "local", "IOT_MTLS_ENABLED": "0",
        }
        # The cache's user may do what the template lets it do, and nobody else anything.
        access = re.search(r'AccessString: !Sub \["on (.*?)"', (ROOT / "template.yaml").read_text())[1]
        access = access.replace("${Table}", f"{STACK}-Table-*")  # as CloudFormation will name it
        acl = folder / "users.acl"
        acl.write_text(f"user default off\nuser citizen on >citizen {access}\nuser probe on >probe ~* +@all\n")
        self.redis_port = redis_port

    def begin(self, environments=None):
        """Starts both, with this many environments of Lambda in the account, or as many as MiniStack takes this machine for."""
        if environments:
            self.environment["LAMBDA_ACCOUNT_CONCURRENCY"] = str(environments)
        redis_port, acl = self.redis_port, self.folder / "users.acl"
        self.start("redis", ["redis-server", "--bind", "127.0.0.1", "--port", str(redis_port), "--save", "", "--aclfile", str(acl),
                             "--dir", str(self.folder)])
        self.start("ministack", [TOOLS / "ministack/bin/python", "-P", ROOT / "deploy/ministack_with_preflights.py"])
        wait_for("MiniStack and Redis", lambda: listens(self.port) and listens(redis_port))
        self.cache_url = f"redis://citizen:citizen@127.0.0.1:{redis_port}"
        # All calls come from this machine, which is one network.
        limits = ("EmailsPerDay", "DollarsPerDay", "FailedLogInsPerMinute", "RegistrationsPerMinute", "RegistrationsPerDay", "ResetLinksPerDay")
        self.limits = ["CapShares=100,100,100", "SessionRequestsPerSecond=1000000", "OrgRequestsPerSecond=1000000,1000000,1000000", *(f"{limit}=1000000" for limit in limits)]
        self.parameters = [f"CacheUrl={self.cache_url}", *self.limits]
        # Verified by hand: MiniStack's AWS::SES::EmailIdentity gives no DKIM records, which are outputs of the stack.
        self.client("sesv2").create_email_identity(EmailIdentity="example.com")

    def start(self, name, command):
        log = (self.folder / f"{name}.log").open("w")
        child = subprocess.Popen([str(part) for part in command], cwd=self.folder, env=self.environment, stdout=log,
                                 stderr=subprocess.STDOUT, start_new_session=True)
        self.children.append(child)

    def stop(self):
        for child in self.children:
            try:
                os.killpg(child.pid, signal.SIGTERM)
                child.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def run(self, script, *arguments, check=True, **variables):
        """Runs a script of this folder against MiniStack; its output."""
        done = subprocess.run([TOOLS / "venv/bin/python", ROOT / "deploy" / script, *map(str, arguments)], cwd=ROOT, text=True,
                              env=self.environment | variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if check and done.returncode:
            sys.exit(f"{script} {' '.join(map(str, arguments))}:\n{done.stdout[-4000:]}")
        return done if not check else done.stdout

    def deploy(self, *changes, built=ROOT / "target/lambda", checkout=ROOT):
        """`just deploy dev`, with this cache."""
        # A later override of a parameter would be refused as a double one.
        changed = {change.split("=")[0] for change in changes}
        overrides = [p for p in self.parameters if p.split("=")[0] not in changed] + list(changes)
        self.run(checkout / "deploy/deploy.py", "dev", "--yes", "--functions", built, *overrides)
        self.look()

    def look(self):
        """Reads the stack's outputs."""
        stack = self.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        (self.api,) = (api["id"] for api in self.client("apigateway").get_rest_apis()["items"] if api["name"] == STACK)
        self.url = f"{self.endpoint}/restapis/{self.api}/v1/_user_request_"

    def seed(self):
        """Puts the prices into the table."""
        subprocess.run(["cargo", "build", "--quiet", "--workspace", "--bin", "local", "--test", "suite"], cwd=ROOT, check=True)
        self.operate("seed")

    def operate(self, command, *arguments):
        """Runs an operator's command on the stack's table, as `seed` has built it."""
        subprocess.run([ROOT / "target/debug/local", command, "--table", self.outputs["TableName"], *arguments], cwd=ROOT,
                       env=self.environment, check=True)

    def client(self, service):
        return boto3.client(service, endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id="test",
                            aws_secret_access_key="test")

    def redis(self, *command):
        return subprocess.check_output(["redis-cli", "-p", str(self.redis_port), "--user", "probe", "--pass", "probe", "--no-auth-warning",
                                        *command], text=True)

    def call(self, method, path, body=None, token=None, headers=()):
        headers = {"Content-Type": "application/json"} | dict(headers) | ({"Authorization": f"Bearer {token}"} if token else {})
        request = urllib.request.Request(self.url + path, json.dumps(body).encode() if body else None, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, json.loads(reply.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def served(self):
        """The deployment of the API that the stage serves."""
        stages = self.client("apigateway").get_stages(restApiId=self.api)
        return [stage["deploymentId"] for stage in stages["item"]]

    def versions(self):
        """The version that each function's alias names, by function."""
        functions = self.client("lambda")
        names = [f["FunctionName"] for page in functions.get_paginator("list_functions").paginate() for f in page["Functions"]]
        return {name: functions.get_alias(FunctionName=name, Name="live")["FunctionVersion"] for name in names}
