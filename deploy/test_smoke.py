#!/usr/bin/env python3
"""The smoke walk passes over a whole system, and fails over one in which any one thing is broken. Over a local system:
.ci/with-local.sh deploy/test_smoke.py"""
import http.client, http.server, itertools, json, os, pathlib, re, secrets, subprocess, tempfile, threading, unittest, unittest.mock, urllib.error, urllib.request
import smoke

ROOT = pathlib.Path(__file__).resolve().parent.parent
smoke.JOB_SECONDS = 2
# Operations that no walk calls, with the reason.
NOT_WALKED = {}


def operations():
    """Each operation of the document, by what its calls look like. `HEAD` goes where `GET` does."""
    paths = json.loads((ROOT / "functions/docs/openapi.json").read_text())["paths"]
    return {f"{method.upper()} {path}": re.compile(f"{method.upper()} " + re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))
            for path, methods in paths.items() for method in methods if method in ("get", "post", "put", "patch", "delete")}


class Elsewhere(urllib.request.HTTPHandler):
    """Each call comes from an address of its own: what one network may do is not tried here."""
    def http_open(self, request):
        address = "127." + ".".join(str(1 + secrets.randbelow(250)) for _ in range(3))
        return self.do_open(http.client.HTTPConnection, request, source_address=(address, 0))


ELSEWHERE = urllib.request.build_opener(Elsewhere)


class Proxy(http.server.BaseHTTPRequestHandler):
    """Passes calls on to the system, but for what is broken: a function of method, path and reply, which gives another reply."""
    broken, called = None, set()
    # Whether a call comes too early, in the second that it comes in.
    too_early = None

    def answer(self):
        Proxy.called.add(f"{self.command} {self.path.split('?')[0]}")
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else None
        if Proxy.too_early and Proxy.too_early():
            return self.reply(429, b'{"code":"rate_limited"}', "application/problem+json", {"Retry-After": "1"})
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection", "content-length")}
        request = urllib.request.Request(os.environ["URL"] + self.path, body, headers, method=self.command)
        try:
            with ELSEWHERE.open(request, timeout=30) as reply:
                status, text, headers = reply.status, reply.read(), reply.headers
        except urllib.error.HTTPError as error:
            status, text, headers = error.code, error.read(), error.headers
        kind = headers.get_content_type()
        self.reply(*(Proxy.broken or (lambda _method, _path, *same: same))(self.command, self.path, status, text, kind))

    def reply(self, status, text, kind, headers={}):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *_):
        pass


def changed(method, path, change):
    """A system that answers this call otherwise. `change` takes status, body and media type."""
    return lambda m, p, *reply: change(*reply) if m == method and re.fullmatch(path, p) else reply


def failing(status, text, kind):
    return 500, b'{"code":"internal_error"}', "application/problem+json"


def field(name, value):
    return lambda status, text, kind: (status, json.dumps(json.loads(text) | {name: value}).encode(), kind)


# What is broken, and the step that says so.
BROKEN = {
    "a part is down": ("health", changed("GET", "/health.*", field("status", "degraded"))),
    "a function does not start": ("health", lambda *_: failing(*_[2:])),
    "no document": ("documents", changed("GET", "/openapi.json", field("paths", {}))),
    "no page": ("documents", changed("GET", "/docs", lambda status, text, kind: (status, b"{}", "application/json"))),
    "sessions are not asked for": ("strangers", changed("GET", "/me", lambda status, text, kind: (200, b"{}", kind))),
    "refusals have no form": ("strangers", changed("GET", "/me", lambda status, text, kind: (status, text, "application/json"))),
    "no prices": ("prices", changed("GET", "/models/pricing.*", field("data", []))),
    "nobody can register": ("register", changed("POST", "/auth/register", failing)),
    "a session is another's": ("register", changed("GET", "/me", lambda status, text, kind: (
        status, re.sub(rb'"id":"usr_[^"]+"', b'"id":"usr_another"', text), kind))),
    "any password opens": ("log_in", changed("POST", "/auth/login", lambda status, text, kind: (200, text, kind))),
    "a token is taken for a signature of AWS's": ("nowhere", changed("GET", "/nowhere", lambda *_: (
        403, b'{"message":"Authorization header requires \'Credential\' parameter."}', "application/json"))),
    "names stay": ("profile", changed("PATCH", "/me", failing)),
    "the public name stays": ("profile", changed("GET", "/users/.*", field("name", "Smoke Walk"))),
    "any code proves": ("verification", changed("POST", "/auth/verify-email", lambda status, text, kind: (200, b"{}", kind))),
    "no other mail": ("verification", changed("POST", "/auth/verify-email/resend", failing)),
    "no other address": ("address", changed("PUT", "/me/email", failing)),
    "a plan for nothing": ("plan", changed("GET", "/orgs/.*/plan", field("plan", "enterprise"))),
    "settings are not written": ("settings", changed("PUT", "/orgs/.*/settings", failing)),
    "old settings are read": ("settings", changed("GET", "/orgs/.*/settings", field("settings", {"timezone": "UTC"}))),
    "roles are not written": ("members", changed("PUT", "/orgs/.*/members/.*", failing)),
    "nobody is a member": ("members", changed("GET", "/orgs/.*/members", field("data", []))),
    "the last owner goes": ("members", changed("DELETE", "/orgs/.*/members/.*", lambda status, text, kind: (204, b"", kind))),
    "members are invited": ("invitations", changed("POST", "/orgs/.*/invitations", lambda status, text, kind: (201, b"{}", kind))),
    "invitations are not listed": ("invitations", changed("GET", "/orgs/.*/invitations", failing)),
    "what is not there is withdrawn": ("invitations", changed("DELETE", "/orgs/.*/invitations/.*", lambda status, text, kind: (204, b"", kind))),
    "any link lets in": ("invitations", changed("POST", "/invitations/accept", lambda status, text, kind: (200, b"{}", kind))),
    "creations fail": ("items", changed("POST", "/items", failing)),
    "an item is not found": ("items", changed("GET", "/items/.*", lambda status, text, kind: (404, text, kind))),
    "lists are empty": ("items", changed("GET", "/items", field("data", []))),
    "changes fail": ("items", changed("PATCH", "/items/.*", failing)),
    "nothing is deleted": ("items", changed("GET", "/items/.*", lambda status, text, kind: (200, b'{"name":"smoke"}', kind))),
    "jobs are not accepted": ("analysis", changed("POST", "/analyze", failing)),
    "each job is another": ("analysis", changed("POST", "/analyze", lambda status, text, kind: (
        status, re.sub(rb"job_[^\"]+", os.urandom(4).hex().encode(), text), kind))),
    "the worker does nothing": ("analysis", changed("GET", "/jobs/.*", field("state", "queued"))),
    "jobs fail": ("analysis", changed("GET", "/jobs/.*", field("state", "failed"))),
    "jobs are not listed": ("jobs", changed("GET", r"/jobs\?.*", field("data", []))),
    "what has ended is cancelled": ("jobs", changed("POST", "/jobs/.*/cancel", lambda status, text, kind: (200, text, kind))),
    "what succeeded is tried again": ("jobs", changed("POST", "/jobs/.*/retry", lambda status, text, kind: (202, text, kind))),
    "nothing counts": ("usage", changed("GET", "/usage", field("analyses", {"used": 0}))),
    "e-mails are not accepted": ("mail", changed("POST", "/send-email", failing)),
    "e-mails are refused for another reason": ("mail", changed("POST", "/send-email", lambda status, text, kind: (
        403, b'{"code":"forbidden_role"}', "application/problem+json"))),
    "no session is fresh": ("sessions", changed("POST", "/auth/reauthenticate", failing)),
    "sessions are not listed": ("sessions", changed("GET", "/me/sessions", field("data", []))),
    "no session is ended": ("sessions", changed("DELETE", "/me/sessions/.*", failing)),
    "the others are not ended": ("sessions", changed("DELETE", "/me/sessions", failing)),
    "passwords stay": ("new_password", changed("PUT", "/me/password", failing)),
    "no link is sent": ("new_password", changed("POST", "/auth/forgot-password", failing)),
    "any link changes a password": ("new_password", changed("POST", "/auth/reset-password", lambda status, text, kind: (200, text, kind))),
    "sessions do not end": ("log_out", changed("POST", "/auth/logout", failing)),
}


class Smoke(unittest.TestCase):
    def setUp(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def tearDown(self):
        Proxy.broken = Proxy.too_early = None
        self.server.shutdown()
        self.server.server_close()

    def test_a_whole_system_is_well(self):
        smoke.JOB_SECONDS, before = 60, smoke.JOB_SECONDS
        said = []
        self.assertIsNone(smoke.walk(self.url, say=said.append))
        self.assertEqual(len(said), len(smoke.STEPS))
        smoke.JOB_SECONDS = before

    def test_the_walk_calls_each_operation(self):
        """What is new in the document has a step, or stands above with the reason why it has none."""
        Proxy.called = set()
        self.assertIsNone(smoke.walk(self.url, say=lambda _: None))
        missing = {name for name, pattern in operations().items() if not any(map(pattern.fullmatch, Proxy.called))}
        self.assertEqual(missing, set(NOT_WALKED))

    def test_what_was_not_tried_is_said_where_nothing_is_broken(self):
        for step, path, status, code in (("mail", "/send-email", 403, "email_unverified"), ("mail", "/send-email", 429, "operator_cap_reached"),
                                         ("new_password", "/auth/forgot-password", 429, "rate_limited")):
            refusal = json.dumps({"code": code}).encode()
            Proxy.broken = changed("POST", path, lambda *_: (status, refusal, "application/problem+json"))
            said = []
            self.assertIsNone(smoke.walk(self.url, say=said.append), code)
            # The walk's own new account has proven no address, and so sends no mail.
            self.assertEqual({one.split(":")[0] for one in said if "NOT TRIED" in one}, {"mail", step})

    def test_a_small_rate_is_waited_out(self):
        """As with SessionRequestsPerSecond=3: each fourth call comes too early."""
        calls, sleep, said = itertools.count(1), smoke.time.sleep, []
        Proxy.too_early = lambda: next(calls) % 4 == 0
        with unittest.mock.patch.object(smoke.time, "sleep", lambda seconds: sleep(min(seconds, 0.05))):
            self.assertIsNone(smoke.walk(self.url, say=said.append))
        self.assertEqual(len(said), len(smoke.STEPS))

    def test_an_account_is_walked_with_again_and_again_where_nobody_may_register(self):
        Proxy.broken = changed("POST", "/auth/register", lambda status, text, kind: (429, b'{"code":"rate_limited"}', kind))
        self.assertTrue(str(smoke.walk(self.url, say=lambda _: None)).startswith("register"))
        account = {"email": f"walker-{secrets.token_hex(4)}@example.com", "password": secrets.token_urlsafe(24)}
        one = smoke.Walk(os.environ["URL"])
        with unittest.mock.patch("urllib.request.urlopen", ELSEWHERE.open):
            one.token = one.call("POST", "/auth/register", 201, account | {"name": "Walker", "org_name": "Walkers"})[0]["token"]
            one.call("POST", "/items", 201, {"name": "left by a walk that got stuck"})
        program = urllib.request.urlopen(f"{os.environ['URL']}/_local/program").read()
        subprocess.run([program, "account", "--verified", "--email", account["email"], "--port", os.environ["URL"].rsplit(":", 1)[1]], check=True)
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(account, file)
            file.flush()
            for _ in range(2):
                said = []
                self.assertIsNone(smoke.walk(self.url, smoke.account_in(file.name), say=said.append))
                self.assertEqual(len(said), len(smoke.STEPS) - 1)
                self.assertEqual([one for one in said if "NOT TRIED" in one], [], "its e-mail leaves, too")

    def test_whatever_is_broken_is_named(self):
        for what, (step, broken) in BROKEN.items():
            with self.subTest(what):
                Proxy.broken = broken
                self.assertEqual(str(smoke.walk(self.url, say=lambda _: None)).split(" ")[0], step)
        self.assertEqual({step for step, _ in BROKEN.values()}, set(smoke.STEPS), "each step has something that it finds")

    def test_no_system_is_not_well(self):
        self.server.shutdown()
        self.server.server_close()
        self.assertIn("health", str(smoke.walk(self.url)))


if __name__ == "__main__":
    unittest.main()
