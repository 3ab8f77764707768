#!/usr/bin/env python3
"""Deploys template.yaml with the parameters of `dev` to MiniStack and a real Redis on 127.0.0.1, as one deploys it to AWS, and
tries it: the integration suite over the deployed REST API, an update in place under load, a changed parameter, the deletion, and
all of it once more from the start.

Usage: just deploy-local [--keep]     after `just build --quick`; --keep leaves it running until Ctrl-C
Each part's seconds are printed. Ends what it starts. Where MiniStack differs from AWS stands in deploy/ministack-differences.txt.
"""
import argparse, json, pathlib, re, shutil, signal, subprocess, sys, tempfile, threading, time, urllib.request
import release
from tools import ROOT, copied, in_sams_environment

# The parts of the suite that call the system under test; the others start systems of their own.
SUITE = ("accounts::", "bad_input::", "conventions::", "coverage::", "identity::", "items::", "jobs::analyses::",
         "matrix::", "members::", "orgs::", "outside::", "prices::", "sessions::")
# Those that call it too and were never tried there, with what they need of it. tests/suite/documents.rs names what is in neither list.
NOT_HERE = {
    "bodies::": "bodies of megabytes, and bytes that are no text",
    "conditional::": "headers that are empty or no ASCII",
    "documented::": "jobs and mail of each example of the document",
    "parity::": "a gateway beside the functions of the same process",
    "problems::": "what API Gateway refuses before any function",
}


def differences():
    lines = (ROOT / "deploy/ministack-differences.txt").read_text().splitlines()
    return [line.split()[0] for line in lines if line.strip() and not line.startswith(("#", " "))]


def run_suite(deployment):
    environment = deployment.environment | {"CITIZEN_URL": deployment.url, "CITIZEN_SEEDED": "1"}
    aws = ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    # The operator is in the cache's network here.
    environment["CITIZEN_OPERATOR"] = json.dumps({name: environment.pop(name) for name in aws} | {
        "TABLE_NAME": deployment.outputs["TableName"], "CACHE_URL": deployment.cache_url})
    command = ["cargo", "test", "--workspace", "--test", "suite", "--", "--test-threads", "4", *SUITE]
    for name in differences():
        command += ["--skip", name]
    said = subprocess.run(command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE)
    print(said.stdout[-6000:] if said.returncode else said.stdout.strip().splitlines()[-1])
    if said.returncode:
        sys.exit("the suite failed on the deployed stack")
    hits = int(re.search(r"keyspace_hits:(\d+)", deployment.redis("info", "stats"))[1])
    print(f"the cache had {hits} hits")
    assert hits > 0, "the deployed functions do not use the cache"


def preflight(deployment, *changes):
    """What `just preflight` finds, and how it ended."""
    said = deployment.run("preflight.py", "dev", "MailFrom=us@example.com", *changes, check=False)
    return said.returncode, said.stdout


def ready(deployment):
    """Nothing would stop this deployment, and what would stop another is named."""
    ended, said = preflight(deployment)
    assert ended == 0 and "nothing would stop" in said, said
    ended, said = preflight(deployment, "MailIdentity=example.com", "ReservedConcurrency=true")
    assert ended == 1 and "stops  mail: SES has the identity example.com already" in said and "stops  environments:" in said, said
    print("preflight asked for all there is to ask, and named an identity that is there and environments that are not")


def creation_that_fails(deployment):
    """A first creation that fails at its last leaves nothing behind that holds a name or data, so that it can be repeated; also where the
    table is to be protected. (The cause is MiniStack's: its identities have no DKIM records, which are outputs.)"""
    done = deployment.run("deploy.py", "dev", "--yes", *deployment.parameters, "MailIdentity=b.example", "MailFrom=us@b.example",
                          "DeletionProtection=true", check=False)
    stack = deployment.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
    assert done.returncode and stack["StackStatus"] == "ROLLBACK_COMPLETE", (stack["StackStatus"], stack.get("StackStatusReason"), done.stdout[-2000:])
    ended, said = preflight(deployment)
    assert ended == 1 and "the stack is ROLLBACK_COMPLETE" in said, said
    left = {
        "tables": deployment.client("dynamodb").list_tables()["TableNames"],
        "queues": deployment.client("sqs").list_queues().get("QueueUrls", []),
        "identities": [one["IdentityName"] for one in deployment.client("sesv2").list_email_identities()["EmailIdentities"] if one["IdentityName"] != "example.com"],
        "functions": deployment.client("lambda").list_functions()["Functions"],
        "roles": [one["RoleName"] for one in deployment.client("iam").list_roles()["Roles"] if one["RoleName"].startswith(STACK) and "ApiLogsRole" not in one["RoleName"]]}
    assert not any(left.values()), left
    assert "none  dev" in deployment.run("back.py"), "what was not deployed is no release"
    deployment.run("take_down.py", "dev", "--yes")
    # The account's one for logs stays, for other stacks may go by it already.
    role = deployment.client("apigateway").get_account()["cloudwatchRoleArn"].rsplit("/", 1)[1]
    assert role in {one["RoleName"] for one in deployment.client("iam").list_roles()["Roles"]}, role
    print("a creation that failed at its end left no table, queue, identity or function, and no role but the account's for logs")


def protected(deployment):
    """Whether DynamoDB refuses to delete the stack's table."""
    return deployment.client("dynamodb").describe_table(TableName=deployment.outputs["TableName"])["Table"]["DeletionProtectionEnabled"]


def send_email(deployment):
    """An e-mail through the API, the queue and the worker to SES, once however often it is asked for under a key."""
    _, session = deployment.call("POST", "/auth/register", {"email": "e-mail.reader@example.com", "name": "Reader",
                                                            "password": "correct horse battery", "org_name": "Readers"})
    # Its mail is not read here: the operator says that the address is its user's.
    subprocess.run(["cargo", "run", "--quiet", "--", "account", "--verified", "--email", "e-mail.reader@example.com",
                    "--table", deployment.outputs["TableName"]], cwd=ROOT, env=deployment.environment, check=True)
    token, email = session["token"], {"to": "e-mail.reader@example.com", "subject": "It runs", "text": "The engine runs."}
    accepted = [deployment.call("POST", "/send-email", email, token, {"Idempotency-Key": "one"}) for _ in range(3)]
    assert all(status == 202 for status, _ in accepted), accepted
    job_id = {reply["job_id"] for _, reply in accepted}.pop()
    job = lambda: deployment.call("GET", f"/jobs/{job_id}", token=token)[1]
    wait_for("the e-mail's job", lambda: job()["state"] not in ("queued", "running"), 30)
    assert job()["state"] == "succeeded", job()
    def subjects():
        with urllib.request.urlopen(f"{deployment.endpoint}/_ministack/ses/messages") as reply:
            mailboxes = json.load(reply)["messages"].values()
        return sorted(message["Subject"] for mailbox in mailboxes for message in mailbox if "e-mail.reader@example.com" in message["To"])

    # The registration caused another one, by a queue and a worker of its own, which proves the address.
    wait_for("the mail that proves the address", lambda: "Confirm your e-mail address" in subjects(), 30)
    assert subjects() == ["Confirm your e-mail address", "It runs"], subjects()
    print("an e-mail was asked for three times under one key and sent once, beside the mail that proves the address")


class Caller(threading.Thread):
    """Keeps reading and creating until it is told to stop."""

    def __init__(self, deployment, stop):
        super().__init__(daemon=True)
        self.deployment, self.stop, self.calls, self.failed, self.created = deployment, stop, 0, [], set()
        email = f"caller-{id(self)}@example.com"
        status, session = deployment.call("POST", "/auth/register", {"email": email, "password": "correct horse battery", "name": "C", "org_name": "C"})
        assert status == 201, session
        self.token, self.user = session["token"], session["user"]["id"]

    def run(self):
        while not self.stop.is_set():
            for method, path, body, expected in (("GET", f"/users/{self.user}", None, 200), ("GET", "/items", None, 200),
                                                 ("POST", "/items", {"name": "thing"}, 201), ("GET", "/me", None, 200),
                                                 ("POST", "/analyze", {"text": "A short text."}, 202)):
                self.calls += 1
                try:
                    status, reply = self.deployment.call(method, path, body, self.token)
                except OSError as error:
                    status, reply = None, str(error)
                if status == 201:
                    self.created.add(reply["id"])
                # A plan has a limit of analyses; to be told so is no failure.
                if status != expected and not (status == 429 and path == "/analyze"):
                    self.failed.append((method, path, status, reply))


def update_in_place(deployment, folder):
    """A second version of each function's code and configuration, while callers call."""
    second = folder / "second"
    shutil.copytree(ROOT / "target/lambda", second)
    for bootstrap in second.glob("*/bootstrap"):
        with bootstrap.open("ab") as file:
            file.write(b"\nsecond version\n")  # other code to Lambda; the program is the same
    before, stop = deployment.versions(), threading.Event()
    callers = [Caller(deployment, stop) for _ in range(3)]
    for caller in callers:
        caller.start()
    deployment.deploy("LogLevel=warn", built=second)
    time.sleep(2)
    stop.set()
    for caller in callers:
        caller.join()
    after = deployment.versions()
    stale = [name for name in before if int(after[name]) <= int(before[name])]
    assert not stale and len(before) == len(release.built()), f"not updated: {stale}"
    calls, failed = sum(caller.calls for caller in callers), [f for caller in callers for f in caller.failed]
    assert not failed, f"{len(failed)} of {calls} calls failed, the first: {failed[0]}"
    for caller in callers:
        listed, cursor = set(), ""
        while cursor is not None:
            _, page = deployment.call("GET", f"/items?limit=100{'&cursor=' + cursor if cursor else ''}", token=caller.token)
            listed |= {item["id"] for item in page["data"]}
            cursor = page["next_cursor"]
        assert listed == caller.created, f"{len(caller.created)} items were created and {len(listed)} are there"
    print(f"{len(before)} functions updated; {calls} calls meanwhile, none failed; every created item is there")


def one_parameter(deployment):
    """A changed parameter alone, with the same code, is what live functions and preflights go by, and the stage serves another deployment.
    (MiniStack shows a preflight's mapping template. What it answers is held by the local gateway's tests.)"""
    origin, before, served = "https://changed.example", deployment.versions(), deployment.served()
    assert allowed(deployment, origin) is None and origin not in allowed_in_preflights(deployment)
    deployment.deploy(f"AllowedOrigins={origin}", f"AppUrl={origin}")
    assert allowed(deployment, origin) == origin and allowed(deployment, "http://localhost:5173") is None
    assert allowed_in_preflights(deployment) == [origin]
    kept = [name for name, version in deployment.versions().items() if version == before[name]]
    assert not kept, f"the same version as before: {kept}"
    assert deployment.served() != served, "the stage serves the same deployment as before"
    print(f"AllowedOrigins, with AppUrl, was changed alone: a reply, a preflight, {len(before)} versions and the stage's deployment are new")


def allowed(deployment, origin):
    """The origin that a reply allows."""
    with urllib.request.urlopen(urllib.request.Request(deployment.url + "/health", headers={"Origin": origin})) as reply:
        return reply.headers["Access-Control-Allow-Origin"]


def allowed_in_preflights(deployment):
    """The origins that preflights go by."""
    with urllib.request.urlopen(urllib.request.Request(deployment.url + "/items", method="OPTIONS")) as reply:
        return re.search(r'\$allowed = "(.*)"', reply.read().decode())[1].split(",")


def domain(deployment):
    """The parameters of a domain of its own: certificate and zone are there before."""
    certificate = deployment.client("acm").request_certificate(DomainName="api.a.example")["CertificateArn"]
    zone = deployment.client("route53").create_hosted_zone(Name="a.example", CallerReference="one")["HostedZone"]["Id"].split("/")[-1]
    return "DomainName=api.a.example", f"CertificateArn={certificate}", f"HostedZoneId={zone}"


def on_its_domain(deployment):
    """The API is at its domain's root, which points at API Gateway. (MiniStack knows no association of a web ACL and no budget, and
    answers at its own address whatever it is told: docs/first-deployment.md.)"""
    gateway = deployment.client("apigateway")
    assert deployment.outputs["ApiUrl"] == "https://api.a.example", deployment.outputs
    (mapping,) = gateway.get_base_path_mappings(domainName="api.a.example")["items"]
    assert (mapping["basePath"], mapping["restApiId"], mapping["stage"]) == ("(none)", deployment.api, "v1"), mapping
    (zone,) = deployment.client("route53").list_hosted_zones()["HostedZones"]
    records = deployment.client("route53").list_resource_record_sets(HostedZoneId=zone["Id"])["ResourceRecordSets"]
    assert [one["AliasTarget"]["DNSName"].rstrip(".") for one in records if one["Type"] == "A"] == [deployment.outputs["DomainTarget"]], records
    print("the API has a domain, a mapping and a record")


def kept_code(deployment):
    """Which code the kept releases name, and what there is in SAM CLI's bucket."""
    s3 = deployment.client("s3")
    (bucket,) = (one["Name"] for one in s3.list_buckets()["Buckets"] if one["Name"].startswith("aws-sam-cli-managed-default"))
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    there = {one["Key"] for page in pages for one in page.get("Contents", [])}
    templates = [s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode() for key in there if key.endswith("/template.yaml")]
    return {key for text in templates for key in re.findall(rf"s3://{re.escape(bucket)}/(\S+)", text)}, there


def delete(deployment):
    deployment.run("take_down.py", "dev", "--yes")
    named, there = kept_code(deployment)
    assert named and named <= there, f"kept releases lack {len(named - there)} of {len(named)} functions"
    stacks = deployment.client("cloudformation").describe_stacks()["Stacks"]
    assert not any(stack["StackName"] == STACK and stack["StackStatus"] != "DELETE_COMPLETE" for stack in stacks), stacks
    assert not deployment.client("lambda").list_functions()["Functions"]
    assert not deployment.client("apigateway").get_rest_apis()["items"]
    queues = [url.rsplit("/", 1)[1] for url in deployment.client("sqs").list_queues().get("QueueUrls", [])]
    left = {STACK + ending for ending in environments.queues().values()} & set(queues)
    assert not left, f"these would stop the next deployment: {left}"
    tables = deployment.client("dynamodb").list_tables()["TableNames"]
    assert deployment.outputs["TableName"] in tables, "the table is kept: it holds data"
    print(f"deleted; kept with their data: {', '.join(tables + queues)}; and the {len(named)} functions of the kept releases")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--keep", action="store_true")
    keep = arguments.parse_args().keep
    release.built()  # or it ends here
    folder = pathlib.Path(tempfile.mkdtemp(prefix="deploy-local-"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    deployment = Deployment(folder)
    try:
        with Part("MiniStack and Redis"):
            deployment.begin()
        with Part("preflight"):
            ready(deployment)
        with Part("a creation that fails"):
            creation_that_fails(deployment)
        with Part("sam deploy"):
            deployment.deploy()
            assert not protected(deployment), "as samconfig.toml has it for dev"
        with Part("prices"):
            deployment.seed()
        with Part("smoke walk"):
            print(deployment.run("smoke.py", deployment.url).strip())
        if keep:
            print(f"export URL={deployment.url}\nexport AWS_ENDPOINT_URL={deployment.endpoint}", flush=True)
            signal.pause()
        with Part("the suite over the deployed API"):
            run_suite(deployment)
        with Part("an e-mail"):
            send_email(deployment)
        with Part("update in place"):
            update_in_place(deployment, folder)
        with Part("one parameter"):
            one_parameter(deployment)
        with Part("taking it down"):
            delete(deployment)
        with Part("sam deploy again"):
            # Of an environment that says nothing of protection, as staging and prod.
            checkout = copied(folder)
            environment = (checkout / "samconfig.toml").read_text()
            (checkout / "samconfig.toml").write_text(environment.replace('    "DeletionProtection=false",\n', "", 1))
            deployment.deploy(*domain(deployment), checkout=checkout)
            assert protected(deployment)
            assert deployment.call("GET", "/health?deep=1")[0] == 200
            on_its_domain(deployment)
        with Part("taking it down"):
            delete(deployment)
    except KeyboardInterrupt:
        pass
    except BaseException:
        for log in folder.glob("*.log"):
            print(f"--- {log.name}\n{log.read_text()[-3000:]}", file=sys.stderr)
        raise
    finally:
        deployment.stop()
        shutil.rmtree(folder, ignore_errors=True)


in_sams_environment()
import environments
from ministack import STACK, Deployment, Part, wait_for

main()
