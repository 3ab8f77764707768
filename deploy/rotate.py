#!/usr/bin/env python3
"""Puts a new secret in the place of an old one.

Usage: just rotate ENVIRONMENT provider-key FILE        the key of the model provider, which stands in FILE
       just rotate ENVIRONMENT security-log-key FILE    the key that the security log hashes addresses with; the old one goes to FILE
       just rotate ENVIRONMENT cursor-key ORG           the key that seals the cursors of an organization's lists, by its id

There are no others: sessions are random, and deployments get a role by OpenID Connect.
"""
import argparse, os, pathlib, subprocess, sys
from tools import ROOT, in_sams_environment


def provider_key(stack, what):
    from stack import client
    file = pathlib.Path(what)
    secret = stack.resources().get("AnthropicApiKey")
    if secret is None:
        sys.exit(f"{stack.name} has no secret: AnalysisProvider=anthropic makes it")
    key = file.read_text().strip()
    if not key or "\n" in key:
        sys.exit(f"{file} has no key, or more than one line")
    version = client("secretsmanager").put_secret_value(SecretId=secret[0], SecretString=key)["VersionId"]
    print(f"the worker takes version {version} at its next start, and when the provider refuses the old one: revoke that with the "
          "provider now. The file is not needed any more")


def keep(file, secret):
    """Writes a secret into a file for its owner alone, where it lasts. A file of another secret stays as it is."""
    if file.exists() and file.read_text() not in ("", secret):
        sys.exit(f"{file} has something else: if an attempt before put the old key there, it is rotated; else name another file")
    with os.fdopen(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as out:
        os.fchmod(out.fileno(), 0o600)
        out.write(secret)
        out.flush()
        os.fsync(out.fileno())


def remove(database, record, key):
    """Removes the record of this key."""
    try:
        database.delete_item(**record, ConditionExpression="#key = :old", ExpressionAttributeNames={"#key": "key"},
                             ExpressionAttributeValues={":old": key})
    except database.exceptions.ConditionalCheckFailedException:
        # The SDK repeats what it has no reply to: the first request removed it, or somebody else did.
        pass


def security_log_key(stack, what):
    """Removes the record, once its key is in the file; the next log-in of a new environment makes another
    (shared/src/store/security_log.rs)."""
    from stack import client
    file, database = pathlib.Path(what), client("dynamodb")
    record = {"TableName": stack.outputs()["TableName"], "Key": {"pk": {"S": "SECURITY_LOG"}, "sk": {"S": "KEY"}}}
    found = database.get_item(**record, ConsistentRead=True).get("Item")
    if found is not None:
        keep(file, found["key"]["S"])
        remove(database, record, found["key"])
    elif not file.exists() or not file.read_text():  # else an attempt that failed after that has removed it
        sys.exit("there is no key yet: the first log-in makes it")
    print(f"the old key is in {file}: with it, lines of before are looked through. Environments that have read it keep it until they end; "
          f"`just deploy {stack.environment} --live --again` ends them all, in each region")


def cursor_key(stack, what):
    """By the operator's command, which knows the record's copies (docs/decisions/0087-copies-of-a-busy-organization.md)."""
    import boto3, operate
    command = ["cargo", "run", "--quiet", "--", "rotate-cursor-key", "--table", stack.outputs()["TableName"], "--org", what]
    subprocess.run(command, cwd=ROOT, check=True, env=operate.variables(boto3.Session(), dict(os.environ)))
    print(f"cursors of {what} that callers hold are refused now; pages in the cache have old ones until they end, half a minute at most")


SECRETS = {"provider-key": provider_key, "security-log-key": security_log_key, "cursor-key": cursor_key}


def main():
    from environments import environments
    from stack import Stack
    parser = argparse.ArgumentParser(prog="just rotate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", choices=environments())
    parser.add_argument("secret", choices=SECRETS)
    parser.add_argument("what", metavar="FILE|ORG")
    options = parser.parse_args()
    SECRETS[options.secret](Stack(options.environment), options.what)


if __name__ == "__main__":
    in_sams_environment()
    main()
