"""Load by Locust on the local system, three lists to one create: `cargo run`, then `locust -f lab/locustfile.py` and
<http://localhost:8089>, or `just locust`. It has the operator's commands found organizations of skewed size, one user's each, and
give them a plan on which the load fits: the free one ends at 1,000 items."""
import json, random, subprocess, urllib.error, urllib.request, uuid

from locust import HttpUser, between, events, task
from locust.runners import MasterRunner

ORGANIZATIONS = 20
# The largest organization's items at the start; the second has half of them, the third a third ... and as much of the load.
LARGEST = 1_000
BATCH = 100

organizations = []


def call(host, path, token=None, body=None):
    """A reply's JSON or text. Not by Locust: what is made ready is no load."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(f"{host}{path}", headers=headers, data=body and json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=60) as reply:
        text = reply.read().decode()
        return json.loads(text) if "json" in reply.headers.get("Content-Type", "") else text


def found(host, program, rank):
    """The token of a new organization's owner."""
    operate = lambda *words: subprocess.run([program, *words, "--port", host.rsplit(":", 1)[1]], check=True, stdout=subprocess.PIPE).stdout
    registered = json.loads(operate("account", "--email", f"load-{uuid.uuid4().hex}@example.com", "--password", "correct horse battery",
                                    "--name", f"Owner {rank}", "--org-name", f"Organization {rank}"))
    operate("plan", "--org", registered["org"]["id"], "--plan", "enterprise")
    left = LARGEST // rank
    while left:
        size = min(left, BATCH)
        call(host, "/items", registered["token"], {"items": [{"name": f"Item {left - number}"} for number in range(size)]})
        left -= size
    return registered["token"]


@events.test_start.add_listener
def make_ready(environment, **_):
    if organizations or isinstance(environment.runner, MasterRunner):
        return
    host = (environment.host or Caller.host).rstrip("/")
    try:
        program = call(host, "/_local/program")
    except (urllib.error.URLError, OSError) as error:
        raise SystemExit(f"no local system at {host} ({error}): start one with `cargo run`, or name it with --host") from error
    organizations.extend(found(host, program, rank) for rank in range(1, ORGANIZATIONS + 1))
    print(f"{ORGANIZATIONS} organizations are ready.")


@events.init.add_listener
def make_ready_early(environment, **_):
    """Without the page, the run's time counts from the start: nothing of it is to go by before the load."""
    if environment.parsed_options.headless:
        make_ready(environment)


@events.quitting.add_listener
def count(environment, **_):
    """A run without a request shows nothing, and so has failed."""
    if not environment.stats.total.num_requests:
        environment.process_exit_code = 1


class Caller(HttpUser):
    """A user of one organization; the larger it is, the more of them there are."""
    host = "http://localhost:3000"
    wait_time = between(0.2, 1)

    def on_start(self):
        [token] = random.choices(organizations, weights=[1 / rank for rank in range(1, len(organizations) + 1)])
        self.client.headers["Authorization"] = f"Bearer {token}"
        self.cursor = None

    @task(3)
    def list_items(self):
        """The next page, or the first again."""
        query = {"limit": 30} | ({"cursor": self.cursor} if self.cursor else {})
        reply = self.client.get("/items", params=query, name="GET /items")
        self.cursor = reply.json().get("next_cursor") if reply.ok else None

    @task(1)
    def create_item(self):
        self.client.post("/items", json={"name": "Made under load"}, name="POST /items",
                         headers={"Idempotency-Key": str(uuid.uuid4())})
