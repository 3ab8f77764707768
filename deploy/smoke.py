#!/usr/bin/env python3
"""Walks once through a running system as a new user does, and fails at the first step that is not answered as it should be.

Usage: just smoke URL [--without-email] [--account FILE]      URL: the stack's output ApiUrl, or http://localhost:3000

It makes an account, whose address is the mailbox of Amazon SES that takes everything, and removes what it creates in it. The account
stays, and the organization that it founds. With FILE it takes the account that stands there instead, as {"email": …, "password": …}:
where nobody may register, or to send e-mails, which wants a proven address. That account is for this alone: its items and its other
sessions go. `cargo run -- account --verified` makes one. Half a minute at most; longer where a small rate has it wait.
"""
import argparse, json, pathlib, secrets, sys, time, urllib.error, urllib.request

# An analysis or an e-mail has this long.
JOB_SECONDS = 60
# Whoever asks too often in a second is told to come again. A call waits for that, and for no limit of a minute or a day.
RATE_SECONDS, CALL_SECONDS = 5, 60
# The limits that nobody uses up but an account and its organization: a month's, and that of guesses.
OF_ITSELF = ("quota_exceeded", "too_many_attempts")


class Broken(Exception):
    """A step is not answered as it should be."""


class Limited(Exception):
    """A limit is used up by what was asked before, or by others: that says nothing of the system."""


class Walk:
    def __init__(self, url, account=None):
        self.url, self.token, self.account = url.rstrip("/"), None, account
        # "Using the mailbox simulator", Amazon SES Developer Guide: it takes labels, and nothing sent there counts as a bounce.
        self.email = account["email"] if account else f"success+smoke-{secrets.token_hex(8)}@simulator.amazonses.com"
        self.password = account["password"] if account else secrets.token_urlsafe(24)

    def read(self, method, path, expected, body=None, headers=(), token=None):
        """The reply's text and headers; Broken where its status is another, or none of several, and Limited where it is that of a limit."""
        token, end = token or self.token, time.monotonic() + CALL_SECONDS
        sent = dict(headers) | ({"Authorization": f"Bearer {token}"} if token else {})
        if body is not None:
            sent["Content-Type"] = "application/json"
        data = None if body is None else json.dumps(body).encode()
        while True:
            status, text, headers = self.answered(method, path, data, sent)
            seconds = seconds_to_wait(status, headers)
            if seconds is None or time.monotonic() + seconds > end:
                break
            time.sleep(seconds)
        if status not in (expected if isinstance(expected, tuple) else (expected,)):
            kind = Limited if status == 429 and self.is_limited(headers, code_in(text)) else Broken
            raise kind(f"{method} {path}: {status} instead of {expected}: {text[:300].decode(errors='replace')}")
        return text, headers

    def is_limited(self, headers, code):
        """Whether a refusal is that of a limit of minutes or a day: a network's, an address's, the operator's, or that of an account that
        others walk with. A new one has used up nothing of its own."""
        after = headers.get("Retry-After") or ""
        return after.isdigit() and int(after) > RATE_SECONDS and (self.account is not None or code not in OF_ITSELF)

    def answered(self, method, path, data, headers):
        """The reply's status, text and headers, whatever it is."""
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, reply.read(), reply.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers
        except OSError as error:
            raise Broken(f"{method} {path}: {error}") from None

    def call(self, method, path, expected, body=None, headers=(), token=None):
        """The reply's body and headers; Broken where its status is another, or it is no JSON."""
        text, headers = self.read(method, path, expected, body, headers, token)
        try:
            return json.loads(text or b"null"), headers
        except ValueError:
            raise Broken(f"{method} {path}: no JSON: {text[:100]}") from None

    def get(self, path):
        return self.call("GET", path, 200)[0]

    def refused(self, method, path, status, code, body=None):
        """A refusal, and that it says why."""
        same(self.call(method, path, status, body)[0].get("code"), code, f"the code of {method} {path}")

    def session(self):
        """The token of another session."""
        return self.call("POST", "/auth/login", 200, {"email": self.email, "password": self.password})[0]["token"]

    def job(self, job_id):
        """Waits for a job's good end; what became of it."""
        end = time.monotonic() + JOB_SECONDS
        while (job := self.get(f"/jobs/{job_id}"))["state"] in ("queued", "running"):
            if time.monotonic() > end:
                raise Broken(f"the job {job['id']} is {job['state']} after {JOB_SECONDS} s")
            time.sleep(0.2)
        same(job["state"], "succeeded", f"the state of the job {job['id']} ({job.get('error')})")
        return job

    # ------------------------------------------------------------ the steps, in their order

    def health(self):
        """the database and the cache are up"""
        same(self.get("/health?deep=1")["status"], "ok", "the health")

    def documents(self):
        """the documentation is there, as a page and for programs"""
        if "/items" not in self.get("/openapi.json")["paths"]:
            raise Broken("the OpenAPI document has no /items")
        text, headers = self.read("GET", "/docs", 200)
        same((headers.get_content_type(), b"<html" in text), ("text/html", True), "the page of the documentation")

    def strangers(self):
        """who has no session sees nothing, in the form that clients know"""
        problem, headers = self.call("GET", "/me", 401)
        same(headers.get_content_type(), "application/problem+json", "the type of a refusal")
        same(problem.get("code"), "authentication_required", "the code of a refusal")

    def prices(self):
        """the catalogue of prices is there (`just operate seed`)"""
        if not self.get("/models/pricing?provider=anthropic")["data"]:
            raise Broken("the catalogue of prices is empty")

    def register(self):
        """an account is made, and its session counts"""
        made, _ = self.call("POST", "/auth/register", 201, {
            "email": self.email, "password": self.password, "name": "Smoke Walk", "org_name": "Smoke Walk"})
        self.token = made["token"]
        same(self.get("/me")["id"], made["user"]["id"], "whose session it is")

    def log_in(self):
        """the password opens another session, a wrong one none"""
        self.refused("POST", "/auth/login", 401, "wrong_credentials", {"email": self.email, "password": self.password[::-1]})
        made, _ = self.call("POST", "/auth/login", 200, {"email": self.email, "password": self.password})
        self.token, self.user, self.org = made["token"], made["user"]["id"], made["org"]["id"]
        same(self.get("/me")["id"], self.user, "whose session it is")

    def nowhere(self):
        """a path that is not there is not found, with a token too"""
        self.refused("GET", "/nowhere", 404, "not_found")

    def profile(self):
        """a new name is everybody's to read at once"""
        name = f"Smoke Walk {secrets.token_hex(4)}"
        same(self.call("PATCH", "/me", 200, {"name": name})[0]["name"], name, "the new name")
        same(self.get("/me")["name"], name, "the own name")
        same(self.get(f"/users/{self.user}")["name"], name, "the public name")

    def verification(self):
        """a wrong code proves no address, and another mail can be asked for"""
        self.refused("POST", "/auth/verify-email", 400, "invalid_link", {"code": "AAAA-AAAA"})
        self.read("POST", "/auth/verify-email/resend", 202)

    def address(self):
        """another address may be asked for"""
        # No mail: it is the account's own.
        self.read("PUT", "/me/email", 202, {"email": self.get("/me")["email"]})

    def plan(self):
        """the organization has a plan, a new one the free plan"""
        plan = self.get(f"/orgs/{self.org}/plan")["plan"]
        if not self.account:
            same(plan, "free", "the plan")

    def settings(self):
        """settings that are put are read"""
        path = f"/orgs/{self.org}/settings"
        for zone in ("Europe/Vienna", "UTC"):
            self.call("PUT", path, 200, {"settings": {"timezone": zone}})
            same(self.get(path)["settings"]["timezone"], zone, "the time zone")

    def members(self):
        """the only owner is a member, and stays"""
        path = f"/orgs/{self.org}/members"
        same(self.call("PUT", f"{path}/{self.user}", 200, {"role": "owner"})[0]["role"], "owner", "the role that was put")
        same([(one["user_id"], one["role"]) for one in self.get(path)["data"]], [(self.user, "owner")], "the list of members")
        self.refused("DELETE", f"{path}/{self.user}", 409, "last_owner")

    def invitations(self):
        """only a proven address invites, no member is invited, and a made-up link lets nobody in"""
        path = f"/orgs/{self.org}/invitations"
        proven = self.get("/me")["email_verified"]
        self.refused("POST", path, *((409, "already_member") if proven else (403, "email_unverified")), {"email": self.email, "role": "member"})
        same([one["email"] for one in self.get(path)["data"] if one["email"] == self.email], [], "who is invited")
        self.refused("DELETE", f"{path}/inv_made_up", 404, "not_found")
        self.refused("POST", "/invitations/accept", 400, "invalid_link", {"token": "citi_made_up"})

    def items(self):
        """what is created is read, listed, changed and deleted, and no list keeps an old page"""
        for left in self.get("/items")["data"]:  # by a walk of this account that got stuck
            self.call("DELETE", f"/items/{left['id']}", 204)
        item, _ = self.call("POST", "/items", 201, {"name": "smoke"})
        path = f"/items/{item['id']}"
        same(self.get(path)["name"], "smoke", "the item's name")
        same([one["id"] for one in self.get("/items")["data"]], [item["id"]], "the list of items")
        self.call("PATCH", path, 200, {"name": "smoke and mirrors"})
        same([one["name"] for one in self.get("/items")["data"]], ["smoke and mirrors"], "the list after the change")
        self.call("DELETE", path, 204)
        self.call("GET", path, 404)
        same(self.get("/items")["data"], [], "the list after the deletion")

    def analysis(self):
        """a job is accepted once under its key, and the worker does it"""
        key = {"Idempotency-Key": secrets.token_hex(16)}
        first, again = (self.call("POST", "/analyze", 202, {"text": "A short text."}, key)[0] for _ in range(2))
        same(again["id"], first["id"], "the job of the same key")
        if not self.job(first["id"]).get("result"):
            raise Broken("the analysis has no result")
        self.analysed = first["id"]

    def jobs(self):
        """a job that has ended is in the list, and is neither cancelled nor, as it did not fail, tried again"""
        same(self.get("/jobs?kind=analyze")["data"][0]["id"], self.analysed, "the newest job")
        self.refused("POST", f"/jobs/{self.analysed}/cancel", 409, "job_ended")
        self.refused("POST", f"/jobs/{self.analysed}/retry", 409, "job_not_failed")

    def usage(self):
        """what was done counts"""
        if not self.get("/usage")["analyses"]["used"]:
            raise Broken("no analysis is counted")

    def mail(self):
        """an e-mail leaves through SES"""
        key = {"Idempotency-Key": secrets.token_hex(16)}
        email = {"to": self.email, "subject": "Smoke", "text": "It runs."}
        proven = self.get("/me")["email_verified"]
        # A good release is not taken back for what a day has no more of, or for a mail that the walk cannot read.
        excused = {"operator_cap_reached": "the day has no more e-mails"} | (
            {} if proven else {"email_unverified": "it wants an account with a proven address: --account"})
        reply, headers = self.call("POST", "/send-email", (202, 403, 429), email, key)
        if "job_id" in reply:
            self.job(reply["job_id"])
            return None
        if reply.get("code") not in excused:
            kind = Limited if self.is_limited(headers, reply.get("code")) else Broken
            raise kind(f"the e-mail is refused: {reply}")
        return f"NOT TRIED, {excused[reply['code']]}"

    def sessions(self):
        """sessions are listed and end, one and all others, and the acting one stays"""
        self.read("POST", "/auth/reauthenticate", 204, {"password": self.password})
        current = [one["id"] for one in self.get("/me/sessions")["data"]]
        other = self.session()
        (new,) = {one["id"] for one in self.get("/me/sessions")["data"]} - set(current)
        self.call("DELETE", f"/me/sessions/{new}", 204)
        self.call("GET", "/me", 401, token=other)
        other = self.session()
        self.call("DELETE", "/me/sessions", 204)
        self.call("GET", "/me", 401, token=other)
        same(self.get("/me")["id"], self.user, "whose session is left")

    def new_password(self):
        """the password is changed, the one before opens nothing, and who forgot it may ask for a link"""
        before = self.password
        # An account that others walk with keeps its own.
        new = before if self.account else secrets.token_urlsafe(24)
        self.call("PUT", "/me/password", 204, {"current": before, "password": new})
        self.password = new
        self.token = self.session()
        # No mail: nobody has the address.
        asked, _ = self.read("POST", "/auth/forgot-password", (202, 429), {"email": f"nobody-{secrets.token_hex(8)}@example.com"})
        if asked and json.loads(asked).get("code") != "rate_limited":
            raise Broken(f"no link can be asked for: {asked[:300]}")
        self.refused("POST", "/auth/reset-password", 400, "invalid_link", {"token": "citr_", "password": secrets.token_urlsafe(24)})
        if new != before:
            self.refused("POST", "/auth/login", 401, "wrong_credentials", {"email": self.email, "password": before})
        return f"{self.new_password.__doc__} (NOT TRIED: links, of which this network has had a day's)" if asked else None

    def log_out(self):
        """the session ends at once"""
        self.call("POST", "/auth/logout", 204)
        self.call("GET", "/me", 401)


STEPS = ("health", "documents", "strangers", "prices", "register", "log_in", "nowhere", "profile", "verification", "address", "plan", "settings",
         "members", "invitations", "items", "analysis", "jobs", "usage", "mail", "sessions", "new_password", "log_out")


def steps(account=None, without_email=False):
    """The steps of a walk with this account, or one that it makes."""
    left_out = ("register",) * bool(account) + ("mail",) * without_email
    return [one for one in STEPS if one not in left_out]


def account_in(file):
    """The account that stands in a file."""
    account = json.loads(pathlib.Path(file).read_text())
    if set(account) != {"email", "password"}:
        raise SystemExit(f"{file}: has to be {{\"email\": …, \"password\": …}}")
    return account


def seconds_to_wait(status, headers):
    """When a reply says that its call may come again, if that is soon; None where there is nothing to wait for."""
    after = headers.get("Retry-After") or ""
    return int(after) if status == 429 and after.isdigit() and int(after) <= RATE_SECONDS else None


def code_in(text):
    """The code of a refusal, if it has one."""
    try:
        problem = json.loads(text)
    except ValueError:
        return None
    return problem.get("code") if isinstance(problem, dict) else None


def same(found, expected, what):
    if found != expected:
        raise Broken(f"{what}: {found!r} instead of {expected!r}")


def walk(url, account=None, without_email=False, say=print):
    """Walks; the step that failed and why, or None. Limited, with the step, where a limit ends it."""
    one = Walk(url, account)
    for name in steps(account, without_email):
        start, step = time.monotonic(), getattr(one, name)
        try:
            note = step()
        except Limited as limit:
            raise Limited(f"{name} ({step.__doc__}): {limit}") from None
        except (Broken, KeyError, TypeError, ValueError, IndexError, AttributeError) as fault:
            return f"{name} ({step.__doc__}): {fault if isinstance(fault, Broken) else f'the reply is no such one: {fault!r}'}"
        say(f"{name}: {note or step.__doc__} ({time.monotonic() - start:.1f} s)")
    return None


def main():
    parser = argparse.ArgumentParser(prog="just smoke", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--without-email", action="store_true", help="where SES is not set up")
    parser.add_argument("--account", type=account_in, metavar="FILE", help="the account to walk with, in place of a new one")
    options = parser.parse_args()
    try:
        fault = walk(options.url, options.account, options.without_email)
    except Limited as limit:
        sys.exit(f"NOT WALKED to the end, for a limit: {limit}")
    if fault:
        sys.exit(f"NOT WELL: {fault}")
    print("all well")


if __name__ == "__main__":
    main()
