"""What the functions need to run beside a local system (.ci/with-local.sh), and what each answers to its event."""
import json, os, pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARIES = pathlib.Path(os.environ.get("CITIZEN_BINARIES", ROOT / "target/lambda"))
NAMES = sorted(folder.name for folder in (ROOT / "functions").iterdir() if (folder / "Cargo.toml").exists())
# The account of `login` is the one that `register` makes, so that one goes first.
NAMES.remove("register")
NAMES.insert(0, "register")
# No session or other record that an event names exists. All others ask for their session.
STATUS = {"docs": 200, "get-model-pricing": 200, "get-user": 404, "health": 200, "login": 200, "register": 201, "forgot-password": 202,
          "reset-password": 400}
WORKERS = ("analysis-worker", "email-worker", "account-mail-worker", "mail-event-worker")
RESULT = {**{worker: {"batchItemFailures": []} for worker in WORKERS}, "invalidator": {"batchItemFailures": []},
          "sweeper": {"queued": 0, "ended": 0, "left": 0}}


def environment():
    """The variables of a function over the local system's database and queues."""
    return {
        "TABLE_NAME": "citizen-app",
        "ALLOWED_ORIGINS": "http://localhost:5173",
        "CACHE_URL": "memory:",
        "LOG_LEVEL": "info",
        "ANALYSES_QUEUE_URL": os.environ["QUEUES_URL"].rstrip("/") + "/000000000000/AnalysesQueue",
        "EMAILS_QUEUE_URL": os.environ["QUEUES_URL"].rstrip("/") + "/000000000000/EmailsQueue",
        "ACCOUNT_MAIL_QUEUE_URL": os.environ["QUEUES_URL"].rstrip("/") + "/000000000000/AccountMailQueue", "APP_URL": "http://localhost:5173",
        "ACCOUNT_MAILS_PER_DAY": "1000", "ACCOUNT_MAIL_BOUNCE_PERCENT": "4", "INVITATIONS_PER_DAY": "20",
        "FAILED_LOG_INS_PER_MINUTE": "10", "REGISTRATIONS_PER_MINUTE": "5", "REGISTRATIONS_PER_DAY": "20",
        "RESET_LINKS_PER_DAY": "20",
        "SESSION_REQUESTS_PER_SECOND": "50", "ORG_REQUESTS_PER_SECOND": "50,500,10000",
        "EMAILS_PER_DAY": "1000", "DOLLARS_PER_DAY": "20", "CAP_SHARES": "5,25,100",
        "ANALYSIS_PROVIDER": "builtin", "ANALYSES_PER_MINUTE": "50", "EMAILS_PER_SECOND": "14", "WAITING_PLACES": "4",
        "MAIL_FROM": "no-reply@citizen.example",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_ENDPOINT_URL_DYNAMODB": os.environ["DATABASE_URL"],
        "AWS_ENDPOINT_URL_SQS": os.environ["QUEUES_URL"],
        "AWS_ENDPOINT_URL_SESV2": os.environ["MAIL_URL"],
    }


def event(name):
    return (ROOT / f"events/{name}.json").read_bytes()


def corpus():
    """What else functions get: the name of each file in events/corpus, and what it says (events/corpus/README.md)."""
    return {file.stem: json.loads(file.read_text()) for file in sorted((ROOT / "events/corpus").glob("*.json"))}


def fault_of_sample(name, sample, reply):
    """What is wrong with a function's reply (parsed JSON) to an event of the corpus; None if nothing."""
    if name in RESULT:
        # What is no list of records returns whole; of all else here nothing is the invalidator's.
        kind = "notice_returns" if name == "mail-event-worker" else "job_returns"
        returned = [one for one in sample[kind] if name in WORKERS or not one]
        expected = {"batchItemFailures": [{"itemIdentifier": one} for one in returned]} if name != "sweeper" else RESULT[name]
        return None if reply == expected else f"answered {reply}, not {expected}"
    if not isinstance(reply, dict) or not 200 <= reply.get("statusCode", 0) < 500:
        return f"answered {reply}"
    refused = "unsupported_event" in reply.get("body", "")
    return None if refused == (sample["http"] == "refused") else f"answered {reply}, and the event is to be {sample['http']}"


def fault(name, reply):
    """What is wrong with a function's reply (parsed JSON) to its event; None if nothing."""
    if name in RESULT:
        return None if reply == RESULT[name] else f"answered {reply}, not {RESULT[name]}"
    expected = STATUS.get(name, 401)
    if not isinstance(reply, dict) or reply.get("statusCode") != expected:
        return f"answered {reply}, not {expected}"
    headers = {key.lower(): values[0] for key, values in reply["multiValueHeaders"].items()}
    if headers.get("access-control-allow-origin") != "http://localhost:5173":
        return f"answered without Allow-Origin: {headers}"
    kind = headers.get("content-type", "")
    if expected >= 400 and (kind != "application/problem+json" or json.loads(reply["body"])["status"] != expected):
        return f"its error is no problem+json of status {expected}: {reply}"
    if "json" in kind:
        json.loads(reply["body"])
    return None
