"""What each function is asked in the benchmark: for each, events that it answers with success."""
import json, uuid
from dataclasses import dataclass
from typing import Callable
from runtime_api import run
from system import ask, documented, event


@dataclass
class Scenario:
    """Events for a number of invocations, each to be answered with one of `expected` (the successes that the function
    documents); at most `most` of them, where each needs records that are slow to make (passwords are hashed slowly on
    purpose)."""

    function: str
    events: Callable
    expected: tuple = ()
    most: int | None = None
    queue: str | None = None

    def __post_init__(self):
        self.expected = self.expected or documented(self.function)


def queues(url):
    """The variables of a scenario's queue: of whatever kind its jobs are."""
    return {"ANALYSES_QUEUE_URL": url, "EMAILS_QUEUE_URL": url, "ACCOUNT_MAIL_QUEUE_URL": url} if url else {}


def all_scenarios(system, accept):
    """By name. `accept` is a program of the function analyze, to make jobs that nobody runs."""
    session = system.register("bench")
    token, org, owner = session["token"], session["org"]["id"], session["user"]["id"]
    (one,), (member,) = system.users(1), system.members(org, 1)
    items = lambda count: [item["id"] for start in range(0, count, 100) for item in system.call("POST", "/items", {
        "items": [{"name": f"Item {n}", "description": "Of some importance."} for n in range(start, min(start + 100, count))]},
        token)["created"]]
    item, = items(1)
    items(49)
    # Of two queues that nothing reads, one holds nothing but what the worker is to be given.
    idle, work = system.queue("bench"), system.queue("work")
    at = lambda function, body=None, **parameters: ask(function, parameters, token, body)
    analysis = at("analyze", {"text": "A short text about a long day."})

    def jobs(count, queue=idle):
        replies = []
        run(str(accept), [analysis] * count, system.plain | queues(queue), (202,), replies)
        return [json.loads(json.loads(reply)["body"])["id"] for reply in replies]

    job, = jobs(1)
    profile = lambda user: ask("get-user", {"user_id": user})
    same = lambda one: lambda count: [one] * count
    account = lambda: {"email": f"{uuid.uuid4().hex}@example.com", "password": "correct horse battery", "name": "B", "org_name": "B"}

    def sessions(count):
        who = {"email": "bench@example.com", "password": "correct horse battery"}
        return [ask("logout", None, system.call("POST", "/auth/login", who)["token"]) for _ in range(count)]

    def members(count):
        return [at("delete-member", org_id=org, user_id=user) for user in system.members(org, count)]

    def of_work(function):
        record = json.loads(system.example(function))["Records"][0]
        return [json.dumps({"Records": [record | message]}).encode() for message in system.messages(work)]

    def analyses(count):
        jobs(count, work)
        return of_work("analysis-worker")

    def emails(count):
        letter = at("send-email", {"to": "bench@example.com", "subject": "Hello", "text": "A line."})
        run(str(accept).replace("analyze", "send-email"), [letter] * count, system.plain | queues(work), (202,), [])
        return of_work("email-worker")

    return {
        "get-user, hit": Scenario("get-user", same(profile(one))),
        "get-user, miss": Scenario("get-user", lambda count: [profile(user) for user in system.users(count)]),
        "get-org-plan": Scenario("get-org-plan", same(at("get-org-plan", org_id=org))),
        "list-items": Scenario("list-items", same(at("list-items"))),
        "create-item": Scenario("create-item", same(at("create-item", {"name": "An item"}))),
        "get-item": Scenario("get-item", same(at("get-item", item_id=item))),
        "update-item": Scenario("update-item", same(at("update-item", {"name": "Another"}, item_id=item))),
        "delete-item": Scenario("delete-item", lambda count: [
            at("delete-item", item_id=each) for each in items(count)], most=200),
        "get-me": Scenario("get-me", same(at("get-me"))),
        "update-me": Scenario("update-me", same(at("update-me", {"name": "Ada"}))),
        "get-org-settings": Scenario("get-org-settings", same(at("get-org-settings", org_id=org))),
        "put-org-settings": Scenario("put-org-settings", same(
            at("put-org-settings", {"settings": {"timezone": "Europe/Berlin"}}, org_id=org))),
        "list-members": Scenario("list-members", same(at("list-members", org_id=org))),
        "put-member": Scenario("put-member", same(at(
            "put-member", {"role": "member"}, org_id=org, user_id=member))),
        "delete-member": Scenario("delete-member", members, most=100),
        "get-model-pricing": Scenario("get-model-pricing", same(ask("get-model-pricing", query={"provider": "openai"}))),
        "analyze": Scenario("analyze", same(analysis), (202,), queue=idle),
        "send-email": Scenario("send-email", same(at("send-email", {
            "to": "bench@example.com", "subject": "Hello", "text": "A line."})), queue=idle),
        "get-job": Scenario("get-job", same(at("get-job", job_id=job))),
        "list-jobs": Scenario("list-jobs", same(at("list-jobs"))),
        "cancel-job": Scenario("cancel-job", lambda count: [
            at("cancel-job", job_id=each) for each in jobs(count)], most=200, queue=idle),
        "retry-job": Scenario("retry-job", same(at("retry-job", job_id=job)), (409,), queue=idle),  # of a job that did not fail
        "get-usage": Scenario("get-usage", same(at("get-usage"))),
        "change-password": Scenario("change-password", same(at("change-password", {
            "current": "correct horse battery", "password": "correct horse battery"})), most=20),
        "reauthenticate": Scenario("reauthenticate", same(at("reauthenticate", {
            "password": "correct horse battery"})), most=20),
        "sessions": Scenario("sessions", same(at("sessions"))),
        "verify-email": Scenario("verify-email", same(at("verify-email", {"token": "citv_"})), (400,), queue=idle),
        "forgot-password": Scenario("forgot-password", same(ask("forgot-password", body={"email": "bench@example.com"})), queue=idle),
        "reset-password": Scenario("reset-password", same(ask("reset-password", body={
            "token": "citr_", "password": "nine wooden barrels"})), (400,), queue=idle),
        "invitations": Scenario("invitations", lambda count: [at("invitations", {
            "email": f"{uuid.uuid4().hex}@example.com", "role": "member"}, org_id=org) for _ in range(count)], (201,), queue=idle),
        "accept-invitation": Scenario("accept-invitation", same(at("accept-invitation", {"token": "citi_"})), (400,)),
        "change-email": Scenario("change-email", same(at("change-email", {"email": "bench-2@example.com"})), queue=idle),
        "health": Scenario("health", same(ask("health"))),
        "docs": Scenario("docs", same(event("GET", "/openapi.json"))),
        "register": Scenario("register", lambda count: [
            ask("register", body=account()) for _ in range(count)], most=20, queue=idle),
        "login": Scenario("login", same(ask("login", body={
            "email": "bench@example.com", "password": "correct horse battery"})), most=20),
        "logout": Scenario("logout", sessions, most=20),
        "analysis-worker": Scenario("analysis-worker", analyses, most=200, queue=work),
        "email-worker": Scenario("email-worker", emails, most=100, queue=work),
        "account-mail-worker": Scenario("account-mail-worker", same(system.example("account-mail-worker")), most=100, queue=idle),
        "mail-event-worker": Scenario("mail-event-worker", same(system.example("mail-event-worker")), most=200),
        "sweeper": Scenario("sweeper", same(system.example("sweeper")), most=100, queue=idle),
        "invalidator": Scenario("invalidator", same(system.example("invalidator")), most=100),
    }
