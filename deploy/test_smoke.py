#!/usr/bin/env python3
"""The smoke walk passes over a whole system, and fails over one in which any one thing is broken. Over a local system:
.ci/with-local.sh deploy/test_smoke.py"""
import http.client, http.server, json, os, re, secrets, threading, unittest, urllib.error, urllib.request
import smoke

smoke.JOB_SECONDS = 2


class Elsewhere(urllib.request.HTTPHandler):
    """Each call comes from an address of its own: what one network may do is not tried here."""
    def http_open(self, request):
        address = "127." + ".".join(str(1 + secrets.randbelow(250)) for _ in range(3))
        return self.do_open(http.client.HTTPConnection, request, source_address=(address, 0))


ELSEWHERE = urllib.request.build_opener(Elsewhere)


class Proxy(http.server.BaseHTTPRequestHandler):
    """Passes calls on to the system, but for what is broken: a function of method, path and reply, which gives another reply."""
    broken = None

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else None
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection", "content-length")}
        request = urllib.request.Request(os.environ["URL"] + self.path, body, headers, method=self.command)
        try:
            with ELSEWHERE.open(request, timeout=30) as reply:
                status, text, headers = reply.status, reply.read(), reply.headers
        except urllib.error.HTTPError as error:
            status, text, headers = error.code, error.read(), error.headers
        kind = headers.get_content_type()
        status, text, kind = (Proxy.broken or (lambda _method, _path, *same: same))(self.command, self.path, status, text, kind)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = do_DELETE = answer

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
    "sessions are not asked for": ("strangers", changed("GET", "/me", lambda status, text, kind: (200, b"{}", kind))),
    "refusals have no form": ("strangers", changed("GET", "/me", lambda status, text, kind: (status, text, "application/json"))),
    "no prices": ("prices", changed("GET", "/models/pricing.*", field("data", []))),
    "nobody can register": ("register", changed("POST", "/auth/register", failing)),
    "a session is another's": ("register", changed("GET", "/me", lambda status, text, kind: (
        status, re.sub(rb'"id":"usr_[^"]+"', b'"id":"usr_another"', text), kind))),
    "any password opens": ("log_in", changed("POST", "/auth/login", lambda status, text, kind: (200, text, kind))),
    "a plan for nothing": ("plan", changed("GET", "/orgs/.*/plan", field("plan", "enterprise"))),
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
    "e-mails are not accepted": ("mail", changed("POST", "/send-email", failing)),
    "sessions do not end": ("log_out", changed("POST", "/auth/logout", failing)),
}


class Smoke(unittest.TestCase):
    def setUp(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def tearDown(self):
        Proxy.broken = None
        self.server.shutdown()
        self.server.server_close()

    def test_a_whole_system_is_well(self):
        smoke.JOB_SECONDS, before = 60, smoke.JOB_SECONDS
        said = []
        self.assertIsNone(smoke.walk(self.url, say=said.append))
        self.assertEqual(len(said), len(smoke.STEPS))
        smoke.JOB_SECONDS = before

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
