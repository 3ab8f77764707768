#!/usr/bin/env python3
"""Walks once through a running system as a new user does, and fails at the first step that is not answered as it should be.

Usage: just smoke URL [--without-email]      URL: the stack's output ApiUrl, or http://localhost:3000

It makes an account, whose address is the mailbox of Amazon SES that takes everything, and removes what it creates in it. The account
stays, and the organization that it founds. Half a minute at most.
"""
import argparse, json, secrets, sys, time, urllib.error, urllib.request

# An analysis or an e-mail has this long.
JOB_SECONDS = 60


class Broken(Exception):
    pass


class Walk:
    def __init__(self, url):
        self.url, self.token = url.rstrip("/"), None
        # "Using the mailbox simulator", Amazon SES Developer Guide: it takes labels, and nothing sent there counts as a bounce.
        self.email = f"success+smoke-{secrets.token_hex(8)}@simulator.amazonses.com"
        self.password = secrets.token_urlsafe(24)

    def call(self, method, path, expected, body=None, headers=()):
        """The reply's body and headers; Broken where its status is another."""
        headers = dict(headers) | ({"Authorization": f"Bearer {self.token}"} if self.token else {})
        if body is not None:
            headers["Content-Type"] = "application/json"
        data = None if body is None else json.dumps(body).encode()
        try:
            request = urllib.request.Request(self.url + path, data, headers, method=method)
            with urllib.request.urlopen(request, timeout=30) as reply:
                status, text, headers = reply.status, reply.read(), reply.headers
        except urllib.error.HTTPError as error:
            status, text, headers = error.code, error.read(), error.headers
        except OSError as error:
            raise Broken(f"{method} {path}: {error}") from None
        if status != expected:
            raise Broken(f"{method} {path}: {status} instead of {expected}: {text[:300].decode(errors='replace')}")
        try:
            return json.loads(text or b"null"), headers
        except ValueError:
            raise Broken(f"{method} {path}: no JSON: {text[:100]}") from None

    def get(self, path):
        return self.call("GET", path, 200)[0]

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

    def strangers(self):
        """who has no session sees nothing, in the form that clients know"""
        problem, headers = self.call("GET", "/me", 401)
        same(headers.get_content_type(), "application/problem+json", "the type of a refusal")
        same(problem.get("code"), "authentication_required", "the code of a refusal")

    def prices(self):
        """the catalogue of prices is there (`local seed`)"""
        if not self.get("/models/pricing?provider=anthropic")["data"]:
            raise Broken("the catalogue of prices is empty")

    def register(self):
        """an account is made, and its session counts"""
        made, _ = self.call("POST", "/auth/register", 201, {
            "email": self.email, "password": self.password, "name": "Smoke Walk", "org_name": "Smoke Walk"})
        self.token, self.org = made["token"], made["org"]["id"]
        same(self.get("/me")["id"], made["user"]["id"], "whose session it is")

    def log_in(self):
        """the password opens another session, a wrong one none"""
        self.call("POST", "/auth/login", 401, {"email": self.email, "password": self.password[::-1]})
        self.token = self.call("POST", "/auth/login", 200, {"email": self.email, "password": self.password})[0]["token"]
        same(self.get("/me")["name"], "Smoke Walk", "the name")

    def plan(self):
        """the new organization has the free plan"""
        same(self.get(f"/orgs/{self.org}/plan")["plan"], "free", "the plan")

    def items(self):
        """what is created is read, listed, changed and deleted, and no list keeps an old page"""
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

    def mail(self):
        """an e-mail leaves through SES"""
        key = {"Idempotency-Key": secrets.token_hex(16)}
        email = {"to": self.email, "subject": "Smoke", "text": "It runs."}
        self.job(self.call("POST", "/send-email", 202, email, key)[0]["job_id"])

    def log_out(self):
        """the session ends at once"""
        self.call("POST", "/auth/logout", 204)
        self.call("GET", "/me", 401)


STEPS = ("health", "strangers", "prices", "register", "log_in", "plan", "items", "analysis", "mail", "log_out")


def same(found, expected, what):
    if found != expected:
        raise Broken(f"{what}: {found!r} instead of {expected!r}")


def walk(url, steps=STEPS, say=print):
    """Walks; the step that failed and why, or None."""
    one = Walk(url)
    for name in steps:
        start, step = time.monotonic(), getattr(one, name)
        try:
            step()
        except (Broken, KeyError, TypeError) as fault:
            return f"{name} ({step.__doc__}): {fault if isinstance(fault, Broken) else f'the reply lacks {fault}'}"
        say(f"{name}: {step.__doc__} ({time.monotonic() - start:.1f} s)")
    return None


def main():
    parser = argparse.ArgumentParser(prog="just smoke", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--without-email", action="store_true", help="where SES is not set up")
    options = parser.parse_args()
    if fault := walk(options.url, [one for one in STEPS if one != "mail" or not options.without_email]):
        sys.exit(f"NOT WELL: {fault}")
    print("all well")


if __name__ == "__main__":
    main()
