"""The releases of a stack: what was deployed is kept in SAM CLI's bucket, so that going back needs no build.

    citizen-releases/<stack>/code/<digest>                 functions, each by its content
    citizen-releases/<stack>/<release>/template.yaml       the template, which names them
    citizen-releases/<stack>/<release>/parameters.json     what it was deployed with
    citizen-releases/<stack>/templates/…                   what SAM CLI hands to CloudFormation

The newest KEPT releases of each stack stay, the live one and the one before it, with the functions that they name.
"""
import concurrent.futures, hashlib, io, json, os, pathlib, re, subprocess, tempfile, zipfile
from samtranslator.yaml_helper import yaml_parse
from stack import client
from tools import ROOT, SAM

KEPT = 20
PREFIX = "citizen-releases"


def sam(*arguments):
    environment = os.environ | {"SAM_CLI_TELEMETRY": "0"}
    subprocess.run([str(SAM), *map(str, arguments)], cwd=ROOT, check=True, env=environment)


def bucket(region=None):
    """SAM CLI's bucket for this account and a region, or this one, which it makes where it is not."""
    from samcli.lib.bootstrap.bootstrap import manage_stack
    return manage_stack(profile=os.environ.get("AWS_PROFILE"), region=region or client("s3").meta.region_name)


def zipped(program):
    """A function's package: the same bytes for the same program. Quickly packed: the last tenth of its size would take four times as long."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        entry = zipfile.ZipInfo("bootstrap")  # of 1980, whenever it was packed
        entry.external_attr = 0o755 << 16
        archive.writestr(entry, program, zipfile.ZIP_DEFLATED, compresslevel=1)
    return file.getvalue()


def upload(where, stack, functions):
    """Uploads what code is not there yet. The key of each function's, by its name."""
    prefix = f"{PREFIX}/{stack}/code/"
    keys = {name: prefix + hashlib.sha256(code).hexdigest() for name, code in functions.items()}
    there, s3 = {one["Key"] for one in objects(where, prefix)}, client("s3")
    new = {keys[name]: code for name, code in functions.items() if keys[name] not in there}
    with concurrent.futures.ThreadPoolExecutor(4) as threads:  # packing and waiting need no interpreter
        list(threads.map(lambda key: s3.put_object(Bucket=where, Key=key, Body=zipped(new[key])), new))
    return keys


def package(stack, release, parameters, functions):
    """Uploads the functions' code, and keeps the release. Returns its template's text, which says where the code is; `sam deploy` makes
    of it what CloudFormation reads."""
    where = bucket()
    keys = upload(where, stack, functions)
    template = re.sub(r"(CodeUri: )target/lambda/([^/\s]+)/?", lambda found: f"{found[1]}s3://{where}/{keys[found[2]]}",
                      (ROOT / "template.yaml").read_text())
    return keep(stack, release, parameters, template)


def keep(stack, release, parameters, template):
    """Keeps a release, whose template says where its code is. Returns its template's text, which names it, so that it can be deployed by
    itself."""
    where = bucket()
    named = re.sub(r"(?m)^  Release:\n(    Default: .*\n)?", f"  Release:\n    Default: {release}\n", template)
    put = lambda file, body: client("s3").put_object(Bucket=where, Key=f"{PREFIX}/{stack}/{release}/{file}", Body=body.encode())
    put("template.yaml", named)
    put("parameters.json", json.dumps(parameters, indent=1, sort_keys=True))
    return named


def valued(template, parameters):
    """The parameters of a release, each with its value: what is not given has its template's default."""
    return {name: str(one["Default"]) for name, one in yaml_parse(template)["Parameters"].items() if "Default" in one} | parameters


def overrides(template, parameters):
    """The parameters of a release for SAM CLI, each with its value. Of what is not named, SAM CLI has CloudFormation keep the value that
    the stack has (https://github.com/aws/aws-sam-cli/issues/4180)."""
    # An empty value stands in quotes, or SAM CLI takes it for no value at all.
    return [f'{one}="{value}"' if value == "" else f"{one}={value}" for one, value in valued(template, parameters).items()]


def deploy(environment, stack, template, parameters, *options):
    """Deploys a release's template."""
    role = os.environ.get("CLOUDFORMATION_ROLE")  # which CloudFormation takes on; without it, it is who deploys
    with tempfile.TemporaryDirectory() as work:
        file = pathlib.Path(work, "template.yaml")
        file.write_text(template)
        sam("deploy", "--config-file", ROOT / "samconfig.toml", "--config-env", environment, "--template", file,
            "--s3-prefix", f"{PREFIX}/{stack}/templates", *options, *(["--role-arn", role] if role else []), "--parameter-overrides", *overrides(template, parameters))


def objects(where, prefix):
    pages = client("s3").get_paginator("list_objects_v2").paginate(Bucket=where, Prefix=prefix)
    return [one for page in pages for one in page.get("Contents", [])]


def kept(stack):
    """The names of the releases that are kept of a stack, the newest first."""
    found = [one for one in objects(bucket(), f"{PREFIX}/{stack}/") if one["Key"].endswith("/parameters.json")]
    return [one["Key"].split("/")[2] for one in sorted(found, key=lambda one: one["LastModified"], reverse=True)]


def read(stack, release, s3=None, where=None):
    """The template of a kept release, and its parameters; of another region with its client and bucket."""
    s3, where = s3 or client("s3"), where or bucket()
    get = lambda file: s3.get_object(Bucket=where, Key=f"{PREFIX}/{stack}/{release}/{file}")["Body"].read().decode()
    return get("template.yaml"), json.loads(get("parameters.json"))


def forget(stack, release):
    """A release that was not deployed is not kept. What only it names goes when releases are pruned."""
    client("s3").delete_object(Bucket=bucket(), Key=f"{PREFIX}/{stack}/{release}/parameters.json")


def prune(stack, stay):
    """Removes what neither a release of the newest KEPT nor one of `stay` needs, with its older versions. Returns how many releases are left."""
    where, start = bucket(), f"{PREFIX}/{stack}/"
    there = kept(stack)
    left = [one for at, one in enumerate(there) if at < KEPT or one in stay]
    code = set().union(*(re.findall(rf"{re.escape(start)}code/[0-9a-f]+", read(stack, one)[0]) for one in left))
    newest = max((one["LastModified"] for one in objects(where, start + "templates/")), default=None)
    def needed(key, modified):
        part = key.removeprefix(start).split("/")[0]
        return part in left or key in code or (part == "templates" and modified == newest)
    pages = client("s3").get_paginator("list_object_versions").paginate(Bucket=where, Prefix=start)
    for page in pages:
        for one in page.get("Versions", []) + page.get("DeleteMarkers", []):
            if not (one["IsLatest"] and needed(one["Key"], one["LastModified"])):
                client("s3").delete_object(Bucket=where, Key=one["Key"], VersionId=one["VersionId"])
    return len(left)
