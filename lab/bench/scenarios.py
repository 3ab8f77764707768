"""What each function is asked in the benchmark: for each, events that it answers with success."""
import json, uuid
from dataclasses import dataclass
from typing import Callable
from runtime_api import run
from system import event


@dataclass
class Scenario:
    """Events for a number of invocations, each to be answered with one of `expected`; at most `most` of them, where
    each needs records that are slow to make (passwords are hashed slowly on purpose)."""

    function: str
    events: Callable
    expected: tuple = (200,)
    most: int | None = None
    queue: str | None = None


def all_scenarios(system, accept):
    """By name. `accept` is a program of the function analyze, to make jobs that nobody runs."""
    session = system.register("bench")
    token, org, owner = session["token"], session["org"]["id"], session["user"]["id"]
    one, member = system.users(2)
    items = lambda count: [item["id"] for start in range(0, count, 100) for item in system.call("POST", "/items", {
        "items": [{"name": f"Item {n}", "description": "Of some importance."} for n in range(start, min(start + 100, count))]},
        token)["created"]]
    item, = items(1)
    items(49)
    # Of two queues that nothing reads, one holds nothing but what the worker is to be given.
    idle, work = system.queue("bench"), system.queue("work")
    analysis = event("POST", "/analyze", None, token, {"text": "A short text about a long day."})

    def jobs(count, queue=idle):
        replies = []
        run(str(accept), [analysis] * count, system.plain | {"JOBS_QUEUE_URL": queue}, (202,), replies)
        return [json.loads(json.loads(reply)["body"])["id"] for reply in replies]

    job, = jobs(1)
    profile = lambda user: event("GET", f"/users/{user}", {"user_id": user})
    at = lambda method, path, body=None, **parameters: event(method, path.format(**parameters), parameters or None, token, body)
    same = lambda one: lambda count: [one] * count
    account = lambda: {"email": f"{uuid.uuid4().hex}@example.com", "password": "correct horse battery", "name": "B", "org_name": "B"}

    def sessions(count):
        who = {"email": "bench@example.com", "password": "correct horse battery"}
        return [event("POST", "/auth/logout", None, system.call("POST", "/auth/login", who)["token"]) for _ in range(count)]

    def members(count):
        users = system.users(count)
        for user in users:
            system.call("PUT", f"/orgs/{org}/members/{user}", {"role": "member"}, token)
        return [at("DELETE", "/orgs/{org_id}/members/{user_id}", org_id=org, user_id=user) for user in users]

    def messages(count):
        record = json.loads(system.example("worker"))["Records"][0]
        jobs(count, work)
        return [json.dumps({"Records": [record | message]}).encode() for message in system.messages(work)]

    return {
        "get-user, hit": Scenario("get-user", same(profile(one))),
        "get-user, miss": Scenario("get-user", lambda count: [profile(user) for user in system.users(count)]),
        "get-org-plan": Scenario("get-org-plan", same(at("GET", "/orgs/{org_id}/plan", org_id=org))),
        "list-items": Scenario("list-items", same(at("GET", "/items"))),
        "create-item": Scenario("create-item", same(at("POST", "/items", {"name": "An item"})), (201,)),
        "get-item": Scenario("get-item", same(at("GET", "/items/{item_id}", item_id=item))),
        "update-item": Scenario("update-item", same(at("PATCH", "/items/{item_id}", {"name": "Another"}, item_id=item))),
        "delete-item": Scenario("delete-item", lambda count: [
            at("DELETE", "/items/{item_id}", item_id=each) for each in items(count)], (204,), 200),
        "get-me": Scenario("get-me", same(at("GET", "/me"))),
        "update-me": Scenario("update-me", same(at("PATCH", "/me", {"name": "Ada"}))),
        "put-org-plan": Scenario("put-org-plan", same(at("PUT", "/orgs/{org_id}/plan", {"plan": "enterprise"}, org_id=org))),
        "get-org-settings": Scenario("get-org-settings", same(at("GET", "/orgs/{org_id}/settings", org_id=org))),
        "put-org-settings": Scenario("put-org-settings", same(
            at("PUT", "/orgs/{org_id}/settings", {"settings": {"timezone": "Europe/Berlin"}}, org_id=org))),
        "list-members": Scenario("list-members", same(at("GET", "/orgs/{org_id}/members", org_id=org))),
        "put-member": Scenario("put-member", same(at(
            "PUT", "/orgs/{org_id}/members/{user_id}", {"role": "member"}, org_id=org, user_id=member)), (200, 201)),
        "delete-member": Scenario("delete-member", members, (204,), 100),
        "get-model-pricing": Scenario("get-model-pricing", same(event("GET", "/models/pricing", query={"provider": "openai"}))),
        "analyze": Scenario("analyze", same(analysis), (202,), queue=idle),
        "send-email": Scenario("send-email", same(at("POST", "/send-email", {
            "to": "bench@example.com", "subject": "Hello", "text": "A line."})), (202,), queue=idle),
        "get-job": Scenario("get-job", same(at("GET", "/jobs/{job_id}", job_id=job))),
        "list-jobs": Scenario("list-jobs", same(at("GET", "/jobs"))),
        "cancel-job": Scenario("cancel-job", lambda count: [
            at("POST", "/jobs/{job_id}/cancel", job_id=each) for each in jobs(count)], (200, 202), 200, idle),
        "get-usage": Scenario("get-usage", same(at("GET", "/usage"))),
        "health": Scenario("health", same(event("GET", "/health"))),
        "docs": Scenario("docs", same(event("GET", "/openapi.json"))),
        "register": Scenario("register", lambda count: [
            event("POST", "/auth/register", body=account()) for _ in range(count)], (201,), 20),
        "login": Scenario("login", same(event("POST", "/auth/login", body={
            "email": "bench@example.com", "password": "correct horse battery"})), (200,), 20),
        "logout": Scenario("logout", sessions, (204,), 20),
        "worker": Scenario("worker", messages, most=200, queue=work),
        "sweeper": Scenario("sweeper", same(system.example("sweeper")), most=100, queue=idle),
    }
