#!/usr/bin/env python3
"""Runs an operator's command on a deployed table, with the credentials and the region that AWS's own tools would take: those of a profile,
of `aws configure` or of a sign-in too. The command itself knows the environment's variables alone.

Usage: just operate COMMAND --table TABLE …       as just operate seed --table "$(just output dev TableName)"
"""
import os, sys
from tools import in_sams_environment


def variables(session, environment):
    """The environment of a command of `local`: this one, with what AWS's SDK finds."""
    credentials = session.get_credentials()
    if credentials is None:
        sys.exit("no credentials: set AWS_PROFILE, or run `aws configure`")
    if not session.region_name:
        sys.exit("no region: set AWS_REGION, for example to us-east-1")
    frozen = credentials.get_frozen_credentials()
    found = {"AWS_REGION": session.region_name, "AWS_ACCESS_KEY_ID": frozen.access_key, "AWS_SECRET_ACCESS_KEY": frozen.secret_key,
             "AWS_SESSION_TOKEN": frozen.token}
    # Where there is no token, one of before would make the rest invalid.
    return {name: value for name, value in (environment | found).items() if value is not None}


def main():
    import boto3
    command = sys.argv[1:]
    if not any(word == "--table" or word.startswith("--table=") for word in command):
        sys.exit("name the deployed --table; on the system on this machine a command works with `cargo run -- COMMAND …`")
    os.execvpe("cargo", ["cargo", "run", "--", *command], variables(boto3.Session(), dict(os.environ)))


if __name__ == "__main__":
    in_sams_environment()
    main()
