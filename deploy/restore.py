#!/usr/bin/env python3
"""Makes a table of what the stack's table was at a point in time, beside it, and says how the stack takes it over.

Usage: just restore ENVIRONMENT TIME|latest [--of TABLE]     a time of the last 35 days, as 2026-11-29T01:00:00Z; of another table than the
                                                             stack's: recovery of a restored one begins when that was made
       just restore ENVIRONMENT --finish TABLE               for a table that was restored otherwise, as from a deleted table's backup

Nothing of the stack changes: look into the new table first. docs/procedures.md has the whole way, and what it costs.
"""
import argparse, datetime, re, sys
from tools import in_sams_environment


def moment(text):
    """A point in time in UTC, or None for the latest."""
    if text == "latest":
        return None
    found = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=datetime.timezone.utc)


def unreached(dynamodb, table, time):
    """Why this table cannot be what it was then, where its recovery does not reach as far back, and which one may; else None."""
    found = dynamodb.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    earliest = found.get("EarliestRestorableDateTime")
    if earliest is None or earliest <= time:
        return None
    before = dynamodb.describe_table(TableName=table)["Table"].get("RestoreSummary", {}).get("SourceTableArn", "").rpartition("/")[2]
    return f"the recovery of {table} begins at {earliest.astimezone(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}" + (
        f"; {before}, which it was restored from, may reach further back: the same command with --of {before}" if before else "")


def main():
    import tables
    from environments import environments
    from stack import Stack, client

    parser = argparse.ArgumentParser(prog="just restore", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", choices=environments())
    parser.add_argument("time", nargs="?", type=moment, metavar="TIME|latest", default="latest")
    parser.add_argument("--of", metavar="TABLE", help="the table to restore, in place of the stack's")
    parser.add_argument("--finish", metavar="TABLE", help="a restored table")
    options = parser.parse_args()
    stack = Stack(options.environment)
    present = stack.outputs()["TableName"]
    source = options.of or present
    target, dynamodb = options.finish, client("dynamodb")
    if not target:
        if "latest" not in sys.argv and options.time is None:
            parser.error("say a time, or latest")
        if options.time and (said := unreached(dynamodb, source, options.time)):
            sys.exit(said)
        stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%S")
        target = re.sub(r"-restored-\w+$", "", source)[:230] + f"-restored-{stamp}"
        at = {"UseLatestRestorableTime": True} if options.time is None else {"RestoreDateTime": options.time}
        dynamodb.restore_table_to_point_in_time(SourceTableName=source, TargetTableName=target, **at)
        print(f"{source} is restored to {target}; that takes from minutes to hours. If this ends before it is whole: just restore "
              f"{options.environment} --finish {target}", flush=True)
    stream = tables.finish(target, units=stack.parameters().get("TableUnitsPerSecond"))
    print(f"""{target} is whole: time to live, recovery, stream and protection are on. Look into it, and then:

  just deploy {options.environment} --live ExistingTable={target} ExistingTableStream={stream}

and write both into samconfig.toml. For a minute or two callers get 5xx. Back again: the same with the table of before, {present}.""")


if __name__ == "__main__":
    in_sams_environment()
    main()
