"""Tables beside the stack's own: what a restored one, or a replica in another region, lacks and is given."""
import functools, time
from samtranslator.yaml_helper import yaml_parse
from stack import client
from tools import ROOT


@functools.cache
def wanted():
    """What template.yaml says of its table."""
    return yaml_parse((ROOT / "template.yaml").read_text())["Resources"]["Table"]["Properties"]


def waited(table, ready, dynamodb=None, seconds=6 * 3600):
    """Waits until a table is as `ready` wants its description; that."""
    end, dynamodb = time.monotonic() + seconds, dynamodb or client("dynamodb")
    while True:
        found = dynamodb.describe_table(TableName=table)["Table"]
        if ready(found):
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"{table} is {found['TableStatus']} after {seconds} s")
        time.sleep(2)


def is_active(found):
    return found["TableStatus"] == "ACTIVE"


def switch_recovery_on(table, dynamodb, seconds=600):
    """For a while after a table is made, DynamoDB says that its backups are being enabled."""
    end, wanted_now = time.monotonic() + seconds, wanted()["PointInTimeRecoverySpecification"]
    while True:
        try:
            return dynamodb.update_continuous_backups(TableName=table, PointInTimeRecoverySpecification=wanted_now)
        except dynamodb.exceptions.ContinuousBackupsUnavailableException:
            if time.monotonic() > end:
                raise
        time.sleep(2)


def finish(table, dynamodb=None, units=None):
    """Gives a table what neither a restore nor a replica brings along: time to live, recovery, the stream and protection; and where its stack
    says how many units it gives in a second, that. The label of its stream."""
    dynamodb = dynamodb or client("dynamodb")
    found, ttl = waited(table, is_active, dynamodb), wanted()["TimeToLiveSpecification"]
    now = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]["TimeToLiveStatus"]
    if now in ("DISABLED", "DISABLING"):
        dynamodb.update_time_to_live(TableName=table, TimeToLiveSpecification=ttl)
    switch_recovery_on(table, dynamodb)
    stream = found.get("StreamSpecification") or {}
    if not stream.get("StreamEnabled"):
        dynamodb.update_table(TableName=table, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"})
    elif stream["StreamViewType"] != "NEW_AND_OLD_IMAGES":
        raise ValueError(f"{table} has a stream of {stream['StreamViewType']}: switch it off first")
    found = waited(table, lambda one: is_active(one) and one.get("LatestStreamLabel"), dynamodb)
    if not found.get("DeletionProtectionEnabled"):
        dynamodb.update_table(TableName=table, DeletionProtectionEnabled=True)
        waited(table, is_active, dynamodb)
    bounds = {name: int(units) for name in ("MaxReadRequestUnits", "MaxWriteRequestUnits")} if units else None
    if bounds and found.get("OnDemandThroughput") != bounds:
        dynamodb.update_table(TableName=table, OnDemandThroughput=bounds)
        waited(table, is_active, dynamodb)
    return found["LatestStreamLabel"]
