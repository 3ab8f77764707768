#!/usr/bin/env python3
"""Carries out each procedure of docs/procedures.md on MiniStack: a release that does not work, going back, another parameter of what is
live, pushing one function, restoring the table, rotating secrets, resting functions, raising limits, another region.

Usage: just procedures-local      after `just build --quick`; some minutes
"""
import pathlib, re, shutil, signal, sys, tempfile, time, urllib.request
import release
from tools import ROOT, copied, in_sams_environment


def origin(deployment, url=None):
    """Which origin a reply of the API allows of two; each release here allows another."""
    if url is None:
        deployment.look()  # MiniStack's API has another id after an update
    for one in ("https://a.example", "https://b.example"):
        with urllib.request.urlopen(urllib.request.Request((url or deployment.url) + "/health", headers={"Origin": one})) as reply:
            if reply.headers["Access-Control-Allow-Origin"]:
                return one


def parameters(deployment):
    stack, = deployment.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    return {one["ParameterKey"]: one["ParameterValue"] for one in stack["Parameters"]}


def programs(functions):
    """A digest of each function's code, by the function's name."""
    return {one["FunctionName"]: one["CodeSha256"] for page in functions.get_paginator("list_functions").paginate() for one in page["Functions"]}


def live(deployment):
    return parameters(deployment)["Release"]


def well(deployment):
    deployment.run("smoke.py", deployment.url)


def first_release(deployment):
    deployment.deploy("AllowedOrigins=https://a.example", "AppUrl=https://a.example")
    deployment.seed()
    well(deployment)
    return live(deployment)


def one_that_does_not_work(deployment, folder, first):
    """A release whose creations do not create: the walk finds it, and the one before is there again."""
    broken = folder / "broken"
    shutil.copytree(ROOT / "target/lambda", broken)
    shutil.copy(broken / "get-item/bootstrap", broken / "create-item/bootstrap")
    done = deployment.run("roll_out.py", "dev", "--functions", broken, *deployment.parameters, "AllowedOrigins=https://b.example", "AppUrl=https://b.example", check=False)
    assert done.returncode, done.stdout[-2000:]
    assert "NOT WELL: items" in done.stdout and f"went back to release {first}, and all is well there" in done.stdout, done.stdout[-2000:]
    assert live(deployment) == first and origin(deployment) == "https://a.example"


def back(deployment, folder, first):
    """A, B, back to A: by its name, and again by B's commit and name."""
    other = folder / "other"
    shutil.copytree(ROOT / "target/lambda", other)
    for bootstrap in other.glob("*/bootstrap"):
        with bootstrap.open("ab") as file:
            file.write(b"\nanother\n")
    code = lambda: programs(deployment.client("lambda"))
    of_first = code()
    deployment.deploy("AllowedOrigins=https://b.example", "AppUrl=https://b.example", built=other)
    second, of_second = live(deployment), code()
    assert second != first and origin(deployment) == "https://b.example"
    assert not set(of_first.items()) & set(of_second.items())
    said = deployment.run("back.py")
    assert re.search(rf"{second}  dev  live\n", said) and first in said, said
    deployment.run("back.py", first, "--yes")
    assert live(deployment) == first and origin(deployment) == "https://a.example" and code() == of_first
    well(deployment)
    deployment.run("back.py", second.split("-")[0], "--yes")
    assert live(deployment) == second and origin(deployment) == "https://b.example" and code() == of_second
    deployment.run("back.py", first, "--yes")
    deployment.look()


def unsaid(deployment, first):
    """What was said of one deployment holds until the next, which does not say it; and going back brings all parameters of then."""
    of_first = parameters(deployment)
    both = ("AllowedOrigins=https://a.example", "AppUrl=https://a.example")
    deployment.deploy(*both, "LogLevel=debug", "RequestsPerSecond=50")
    assert (parameters(deployment)["LogLevel"], parameters(deployment)["RequestsPerSecond"]) == ("debug", "50")
    deployment.deploy(*both)
    after = parameters(deployment)
    assert {name: value for name, value in after.items() if value != of_first[name]}.keys() <= {"Release"}, after
    deployment.deploy(*both, "LogLevel=debug")
    deployment.run("back.py", first, "--yes")
    assert parameters(deployment) == of_first
    deployment.look()


def of_live(deployment, folder, first):
    """What is live gets another parameter without a build, and is as it was but for that."""
    before, of_first, versions = programs(deployment.client("lambda")), parameters(deployment), deployment.versions()
    deployment.run("deploy.py", "dev", "--yes", "--live", "--functions", folder / "nothing", "RegistrationsPerMinute=0")
    deployment.look()
    after = parameters(deployment)
    assert {name: after[name] for name in after if after[name] != of_first[name]} == {"RegistrationsPerMinute": "0", "Release": live(deployment)}, after
    assert programs(deployment.client("lambda")) == before and not set(versions.items()) & set(deployment.versions().items())
    status, _ = deployment.call("POST", "/auth/register", {"email": "late@example.com", "name": "L", "org_name": "L", "password": "correct horse battery"})
    assert status == 429, status
    deployment.run("back.py", first, "--yes")
    deployment.look()


def function(deployment, name):
    """A function's name in AWS."""
    return next(one for one in deployment.versions() if f"-{name}Function" in one)


def push(deployment):
    """What is pushed is live, and the next deployment takes it back, or --undo."""
    name = function(deployment, "Health")
    before = deployment.versions()
    deployment.run("push.py", "health")  # compiles what it depends on, where nothing has yet
    after = deployment.versions()
    assert {one for one in after if after[one] != before[one]} == {name}, after
    well(deployment)
    deployment.run("push.py", "health", "--undo")
    assert deployment.versions() == before
    # As after an edit: the function is compiled and linked again.
    (ROOT / "functions/health/src/lib.rs").touch()
    said = deployment.run("push.py", "health")
    print("  " + said.strip())
    whole, build = map(float, re.search(r"after ([\d.]+) s, ([\d.]+) of them", said).groups())
    assert 0 < build < whole, said
    again = deployment.run("deploy.py", "dev", "--yes", *deployment.parameters, "AllowedOrigins=https://a.example", "AppUrl=https://a.example")
    assert f"{name}: its alias named another version" in again and deployment.versions() == before, again[-2000:]
    deployment.look()


def restore(deployment, first):
    """The table as it was takes the place of the present one, and no later deployment loses it."""
    _, session = deployment.call("POST", "/auth/register", {"email": "kept@example.com", "name": "Kept", "org_name": "Kept",
                                                            "password": "correct horse battery"})
    _, item = deployment.call("POST", "/items", {"name": "kept"}, session["token"])
    kept = lambda: deployment.call("GET", f"/items/{item['id']}", token=session["token"])[1]
    said = deployment.run("restore.py", "dev", "latest")
    table, stream = re.search(r"ExistingTable=(\S+) ExistingTableStream=(\S+)", said).groups()
    database = deployment.client("dynamodb")
    described = database.describe_table(TableName=table)["Table"]
    assert described["DeletionProtectionEnabled"] and described["StreamSpecification"]["StreamViewType"] == "NEW_AND_OLD_IMAGES"
    assert database.describe_time_to_live(TableName=table)["TimeToLiveDescription"]["AttributeName"] == "ttl"
    recovery = database.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    assert recovery["PointInTimeRecoveryStatus"] == "ENABLED", recovery
    old = deployment.outputs["TableName"]
    said = [f"ExistingTable={table}", f"ExistingTableStream={stream}"]
    deployment.run("deploy.py", "dev", "--yes", "--live", *said)
    deployment.look()
    assert deployment.outputs["TableName"] == table and kept()["name"] == "kept" and origin(deployment) == "https://a.example"
    deployment.deploy("AllowedOrigins=https://b.example", "AppUrl=https://b.example", *said)
    assert deployment.outputs["TableName"] == table and old in database.list_tables()["TableNames"]
    assert kept()["name"] == "kept"
    # What was before the restored table was made, the table before has.
    again = re.search(r"ExistingTable=(\S+) ", deployment.run("restore.py", "dev", "latest", "--of", old))[1]
    assert again not in (old, table) and again in database.list_tables()["TableNames"]
    deployment.call("PATCH", f"/items/{item['id']}", {"name": "changed"}, session["token"])
    well(deployment)
    # Whoever forgets to name the table would give the stack an empty one.
    stopped = deployment.run("deploy.py", "dev", "--yes", *deployment.parameters, check=False)
    assert stopped.returncode and f"ExistingTable: the stack's table is {table}" in stopped.stdout, stopped.stdout[-2000:]
    deployment.run("back.py", first, "--yes")
    deployment.look()
    assert deployment.outputs["TableName"] == table and kept()["name"] == "changed" and origin(deployment) == "https://a.example"
    deployment.parameters += said


def rotate(deployment, folder):
    """Each secret is another; what must go on goes on."""
    deployment.deploy("AllowedOrigins=https://a.example", "AppUrl=https://a.example", "AnalysisProvider=anthropic")
    secrets = deployment.client("secretsmanager")
    name = secrets.list_secrets()["SecretList"][0]["ARN"]
    for key in ("sk-one", "sk-two"):
        (folder / "key").write_text(key + "\n")
        deployment.run("rotate.py", "dev", "provider-key", folder / "key")
        assert secrets.get_secret_value(SecretId=name)["SecretString"] == key
    assert secrets.get_secret_value(SecretId=name, VersionStage="AWSPREVIOUS")["SecretString"] == "sk-one"
    record = {"TableName": deployment.outputs["TableName"], "Key": {"pk": {"S": "SECURITY_LOG"}, "sk": {"S": "KEY"}}}
    database = deployment.client("dynamodb")
    old = database.get_item(**record)["Item"]["key"]["S"]
    deployment.run("rotate.py", "dev", "security-log-key", folder / "old")
    assert (folder / "old").read_text() == old and (folder / "old").stat().st_mode & 0o777 == 0o600
    before = deployment.versions()
    deployment.run("deploy.py", "dev", "--yes", "--again", *deployment.parameters, "AllowedOrigins=https://a.example", "AppUrl=https://a.example", "AnalysisProvider=builtin")
    assert not set(before.items()) & set(deployment.versions().items())
    deployment.look()
    well(deployment)
    assert database.get_item(**record)["Item"]["key"]["S"] != old
    _, session = deployment.call("POST", "/auth/register", {"email": "pages@example.com", "name": "P", "org_name": "P",
                                                            "password": "correct horse battery"})
    token = session["token"]
    deployment.call("POST", "/items", {"items": [{"name": str(number)} for number in range(5)]}, token)
    page = lambda cursor="": deployment.call("GET", f"/items?limit=2{cursor and '&cursor=' + cursor}", token=token)
    cursor = page()[1]["next_cursor"]
    # A busy organization's record has copies, and requests read any of them.
    deployment.operate("spread", "--org", session["org"]["id"])
    assert [page(cursor)[0] for _ in range(5)] == [200] * 5
    deployment.run("rotate.py", "dev", "cursor-key", session["org"]["id"])
    deployment.redis("flushall")  # in place of half a minute
    assert {page(cursor)[0] for _ in range(50)} == {422} and page(page()[1]["next_cursor"])[0] == 200, page(cursor)


def rest(deployment):
    """A function that rests answers nobody, a worker that rests takes no job, and both go on; with the jobs that waited."""
    functions, (health, worker) = deployment.client("lambda"), (function(deployment, one) for one in ("Health", "AnalysisWorker"))
    _, session = deployment.call("POST", "/auth/register", {"email": "waits@example.com", "name": "W", "org_name": "W",
                                                            "password": "correct horse battery"})
    functions.put_function_concurrency(FunctionName=health, ReservedConcurrentExecutions=0)
    # By its queue's mapping: what polls a queue does so without environments too, until its messages are dead letters.
    (mapping,) = functions.list_event_source_mappings(FunctionName=f"{worker}:live")["EventSourceMappings"]
    polls = lambda enabled: functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=enabled)
    polls(False)
    status, job = deployment.call("POST", "/analyze", {"text": "A short text."}, session["token"])
    assert status == 202, job
    time.sleep(5)
    state = lambda: deployment.call("GET", f"/jobs/{job['id']}", token=session["token"])[1]["state"]
    # API Gateway makes a 5xx of it, MiniStack shows Lambda's own.
    assert state() == "queued" and deployment.call("GET", "/health")[0] in (429, 500, 502)
    taken = deployment.client("sqs").get_queue_attributes(QueueUrl=deployment.outputs["AnalysesQueueUrl"],
                                                          AttributeNames=["ApproximateNumberOfMessagesNotVisible"])["Attributes"]
    assert taken["ApproximateNumberOfMessagesNotVisible"] == "0", "somebody takes messages of a worker that rests"
    functions.delete_function_concurrency(FunctionName=health)
    polls(True)
    wait_for("the job that waited", lambda: state() == "succeeded")
    well(deployment)


def limits(deployment, folder):
    """With reservations, a function's number in the template is raised and arrives, with the same code; more than the account has is
    refused, and the stack as it was before."""
    checkout = copied(folder)
    given = [*deployment.parameters, "AllowedOrigins=https://a.example", "AppUrl=https://a.example", "ReservedConcurrency=true"]
    name = function(deployment, "Health")
    reserved = lambda: deployment.client("lambda").get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions")
    assert reserved() is None
    deployment.run("deploy.py", "dev", "--yes", *given)
    before = reserved()
    template = (checkout / "template.yaml").read_text()
    found = re.search(r"  HealthFunction:.*?ReservesConcurrency, (\d+),", template, re.DOTALL)
    assert before == int(found[1]), before

    def raised(by, check=True):
        (checkout / "template.yaml").write_text(template[:found.start(1)] + str(before + by) + template[found.end(1):])
        return deployment.run(checkout / "deploy/deploy.py", "dev", "--yes", "--functions", ROOT / "target/lambda", *given, check=check)

    raised(7)
    assert reserved() == before + 7
    refused = raised(900, check=False)
    stack = deployment.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"]
    events = deployment.client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=STACK)
    why = [one for page in events for one in page["StackEvents"] if "below its minimum value" in one.get("ResourceStatusReason", "")]
    assert refused.returncode and stack == "UPDATE_ROLLBACK_COMPLETE" and why, refused.stdout[-2000:]
    assert reserved() == before + 7
    deployment.look()
    well(deployment)


def region(deployment):
    """Another region stands by over a replica of the table: what is written here is read there."""
    there = lambda service: boto3.client(service, endpoint_url=deployment.endpoint, region_name="eu-west-1", aws_access_key_id="test",
                                         aws_secret_access_key="test")
    there("sesv2").create_email_identity(EmailIdentity="example.com")  # each region has its own
    made = {"email": "traveller@example.com", "name": "T", "org_name": "T", "password": "correct horse battery"}
    _, session = deployment.call("POST", "/auth/register", made)

    def answers():
        """Where the other region answers. MiniStack's API has another id after an update."""
        (api,) = (one["id"] for one in there("apigateway").get_rest_apis()["items"] if one["name"] == STACK)
        return f"{deployment.endpoint}/restapis/{api}/v1/_user_request_"

    said = deployment.run("region.py", "dev", "eu-west-1", "--yes", "CacheUrl=off:", "ReservedConcurrency=false",
                          "AllowedOrigins=https://b.example", "AppUrl=https://b.example")
    assert re.search(r"answers at https://[^.]+\.execute-api\.eu-west-1", said), said
    here, deployment.url = deployment.url, answers()
    assert deployment.call("GET", "/me", token=session["token"])[1]["email"] == made["email"]
    assert origin(deployment, deployment.url) == "https://b.example" and origin(deployment, here) == "https://a.example"
    # Without a cache it has no function that follows the table's stream.
    theirs, ours = (set(programs(functions).values()) for functions in (there("lambda"), deployment.client("lambda")))
    assert len(theirs) == len(ours) - 1 and theirs < ours, theirs ^ ours
    rule = there("cloudformation").describe_stack_resource(StackName=STACK, LogicalResourceId="SweeperFunctionEveryMinute")
    state = lambda: there("events").describe_rule(Name=rule["StackResourceDetail"]["PhysicalResourceId"])["State"]
    assert state() == "DISABLED"
    queue = next(one["OutputValue"] for one in there("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]["Outputs"]
                 if one["OutputKey"] == "AnalysesQueueUrl")
    waiting = lambda: int(there("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
                          ["ApproximateNumberOfMessages"])
    # What is handed in there is run here, and nobody takes its message.
    job = deployment.call("POST", "/analyze", {"text": "A short text."}, token=session["token"])[1]["id"]
    wait_for("the first region's sweeper", lambda: deployment.call("GET", f"/jobs/{job}", token=session["token"])[1]["state"] == "succeeded", 180)
    assert waiting() == 1
    deployment.url = here
    well(deployment)
    deployment.run("deploy.py", "dev", "--yes", "--live", "StandsBy=true")
    missing = deployment.run("preflight.py", "dev", "--live", check=False, AWS_REGION="eu-west-1").stdout
    assert re.search("nothing would stop|not ready", missing) and "table:" not in missing, missing
    deployment.run("deploy.py", "dev", "--yes", "--live", "StandsBy=false", AWS_REGION="eu-west-1")
    deployment.url = answers()
    assert state() == "ENABLED"
    well(deployment)
    wait_for("the message of what was run long ago", lambda: waiting() == 0, 60)


def main():
    release.built()  # or it ends here
    folder = pathlib.Path(tempfile.mkdtemp(prefix="procedures-local-"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    deployment = Deployment(folder)
    try:
        with Part("a first release"):
            deployment.begin(environments=1000)
            first = first_release(deployment)
        with Part("a release that does not work goes back by itself"):
            one_that_does_not_work(deployment, folder, first)
        with Part("back"):
            back(deployment, folder, first)
        with Part("what is not said"):
            unsaid(deployment, first)
        with Part("another parameter of what is live"):
            of_live(deployment, folder, first)
        with Part("push"):
            push(deployment)
        with Part("restore"):
            restore(deployment, first)
        with Part("rotate"):
            rotate(deployment, folder)
        with Part("rest"):
            rest(deployment)
        with Part("limits"):
            limits(deployment, folder)
        with Part("region"):
            region(deployment)
    except BaseException:
        for log in folder.glob("*.log"):
            print(f"--- {log.name}\n{log.read_text()[-3000:]}", file=sys.stderr)
        raise
    finally:
        deployment.stop()
        shutil.rmtree(folder, ignore_errors=True)


in_sams_environment()
import boto3
from ministack import STACK, Deployment, Part, wait_for

main()
