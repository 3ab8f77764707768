#!/usr/bin/env python3
"""Benchmark of single functions: each binary under a Lambda Runtime API loop on loopback, CPU time of its process.

Starts the embedded database (the local system), a real Redis and a TLS front for the database, builds the functions
in release, and runs all scenarios in interleaved rounds, so that a slow moment of the machine hits them alike.
Prints a table of medians with their budgets and writes target/bench.json.

What a system call, a waking or a cache line costs differs several times over between machines. So the rounds also
run the yardstick (load/yardstick: the same endpoint written by hand, with the same runtime, SDK and Redis client),
for such a function 35 µs on a hit and 191 µs on a miss are given where the budgets were set: they are scaled by what it takes here.

Usage: load/bench.py [--rounds 7] [--invocations 1500] [--no-build] [--binaries FOLDER]
"""
import argparse, io, json, os, pathlib, socket, ssl, statistics, subprocess, sys, tempfile, threading, time
import urllib.request, uuid, zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLE = "citizen-app"
FUNCTIONS = ("get-user", "get-org-plan")
# CPU of the yardstick, in µs, on the machine for which the budgets were set.
YARDSTICK = {"hit": 35, "miss": 191}


class RuntimeApi(ThreadingHTTPServer):
    """The Lambda Runtime API of one environment: hands out events one at a time and notes the process's CPU clock
    each time it asks for the next one."""

    daemon_threads = True

    def __init__(self, events):
        super().__init__(("127.0.0.1", 0), RuntimeApiCall)
        self.events, self.pid, self.started, self.expected = events, None, threading.Event(), (200,)
        self.cpu_ns, self.sent, self.latency_ns, self.bad = [], 0, [], []
        self.finished, self.release = threading.Event(), threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def cpu_clock(self):
        # The kernel's id of another process's CPU clock (clock_getcpuclockid(3)): all its threads, in nanoseconds.
        return time.clock_gettime_ns((~self.pid << 3) | 2)


class RuntimeApiCall(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, status, body, headers=()):
        head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Content-Type: application/json"]
        head += [f"{name}: {value}" for name, value in headers]
        self.wfile.write(("\r\n".join(head) + "\r\n\r\n").encode() + body)

    def do_GET(self):
        api = self.server
        api.started.wait()
        api.cpu_ns.append(api.cpu_clock())
        if api.sent == len(api.events):
            api.finished.set()
            api.release.wait(30)
            return
        event = api.events[api.sent]
        api.sent += 1
        api.at = time.perf_counter_ns()
        self.answer(200, event, [
            ("Lambda-Runtime-Aws-Request-Id", str(uuid.uuid4())),
            ("Lambda-Runtime-Deadline-Ms", int(time.time() * 1000) + 10_000),
            ("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:bench"),
        ])

    def do_POST(self):
        api = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) if "Content-Length" in self.headers else self.chunked()
        api.latency_ns.append(time.perf_counter_ns() - api.at)
        status = json.loads(body).get("statusCode") if self.path.endswith("/response") else None
        if status not in api.expected:
            api.bad.append(body[:300].decode(errors="replace"))
        self.answer(202, b"{}")

    def chunked(self):
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body


def run(binary, events, environment, expected=(200,)):
    """One environment's life: its CPU and latency figures."""
    api = RuntimeApi(events)
    api.expected = expected
    variables = {
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.server_port}", "AWS_LAMBDA_FUNCTION_NAME": "bench",
        "AWS_LAMBDA_FUNCTION_VERSION": "1", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512", "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "TABLE_NAME": TABLE,
        "ALLOWED_ORIGINS": "https://app.example.com", **environment,
    }
    process = subprocess.Popen([binary], env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    api.pid = process.pid
    api.started.set()
    deadline = time.time() + 60
    while not api.finished.wait(0.02):
        if process.poll() is not None or time.time() > deadline:
            process.kill()
            sys.exit(f"{binary} ended: {process.stdout.read().decode(errors='replace')[:2000]}")
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    process.kill()
    process.wait()
    api.release.set()
    api.shutdown()
    api.server_close()
    if api.bad:
        sys.exit(f"{binary} answered: {api.bad[0]}")
    peak_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return api.cpu_ns, sorted(api.latency_ns), peak_kb


def event(method, path, parameters, token=None):
    headers = {"Accept": "application/json", "Host": "api.example.com", "Origin": "https://app.example.com",
               "User-Agent": "bench/1", "X-Forwarded-For": "192.0.2.1", "X-Forwarded-Port": "443",
               "X-Forwarded-Proto": "https"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    base = json.loads((ROOT / "events" / "get-user.json").read_text())
    base |= {"httpMethod": method, "path": path, "pathParameters": parameters, "headers": headers,
             "multiValueHeaders": {name: [value] for name, value in headers.items()}, "body": None}
    return json.dumps(base).encode()


def database(url, operation, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {
        "X-Amz-Target": f"DynamoDB_20120810.{operation}", "Content-Type": "application/x-amz-json-1.0",
        "Authorization": "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/dynamodb/aws4_request, "
                         "SignedHeaders=host, Signature=0", "X-Amz-Date": "20260101T000000Z"})
    return json.load(urllib.request.urlopen(request))


def seed_users(url, count):
    """Users straight into the table: registering each would spend minutes on hashing passwords."""
    users = [f"usr_{uuid.uuid4().hex}" for _ in range(count)]
    for start in range(0, count, 25):
        puts = [{"PutRequest": {"Item": {
            "pk": {"S": f"USER#{user}"}, "sk": {"S": "PROFILE"}, "user_id": {"S": user}, "name": {"S": "Ada Lovelace"},
            "email": {"S": f"{user}@example.com"}, "created_at": {"N": "1795000000000"}, "version": {"N": "1"},
        }}} for user in users[start:start + 25]]
        database(url, "BatchWriteItem", {"RequestItems": {TABLE: puts}})
    return users


def tls_front(target, folder):
    """A TLS server before the database, with an authority of its own. Returns its URL and the authority's file."""
    openssl = lambda *words: subprocess.run(["openssl", *words], check=True, cwd=folder, stderr=subprocess.DEVNULL)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "ca.key",
            "-out", "ca.pem", "-days", "2", "-subj", "/CN=bench authority")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key.pem",
            "-out", "request.pem", "-subj", "/CN=localhost")
    (folder / "names").write_text("subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
    openssl("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "names", "-out", "cert.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    listener = socket.create_server(("127.0.0.1", 0))
    host, port = target.removeprefix("http://").split(":")

    def copy(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            try:
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def serve():
        while True:
            plain, _ = listener.accept()
            try:
                client = context.wrap_socket(plain, server_side=True)
            except OSError:
                continue
            origin = socket.create_connection((host, int(port)))
            for pair in ((client, origin), (origin, client)):
                threading.Thread(target=copy, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return f"https://localhost:{listener.getsockname()[1]}", str(folder / "ca.pem")


def start(command, ready, **options):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    found = {}
    for line in process.stdout:
        for name, text in ready.items():
            if text in line:
                found[name] = line.split(text, 1)[1].split()[0] if line.split(text, 1)[1].split() else ""
        if len(found) == len(ready):
            threading.Thread(target=lambda: [None for _ in process.stdout], daemon=True).start()
            return process, found
    sys.exit(f"{command[0]} did not start")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def requests_per_cpu_second(pid, url, path, requests=20_000, connections=16):
    """What a server answers in one second of its own CPU: all connections ask, then all are read."""
    host, port = url.removeprefix("http://").split(":")
    sockets = [socket.create_connection((host, int(port))) for _ in range(connections)]
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: gzip\r\nOrigin: http://localhost:5173\r\n\r\n".encode()
    clock = lambda: time.clock_gettime_ns((~pid << 3) | 2)

    def round():
        for connection in sockets:
            connection.sendall(request)
        for connection in sockets:
            reply = connection.recv(65536)
            head, _, body = reply.partition(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            assert head.startswith(b"HTTP/1.1 200") and len(body) == length, reply

    for _ in range(20):
        round()
    start = clock()
    for _ in range(requests // connections):
        round()
    return requests // connections * connections / ((clock() - start) / 1e9)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--invocations", type=int, default=1500)
    parser.add_argument("--no-build", action="store_true", help="measure what is built already")
    parser.add_argument("--binaries", type=pathlib.Path, default=ROOT / "target/release")
    options = parser.parse_args()
    if not options.no_build:
        binaries = [word for name in (*FUNCTIONS, "yardstick", "local") for word in ("--bin", name)]
        subprocess.run(["cargo", "build", "--workspace", "--release", *binaries], cwd=ROOT, check=True)
    started = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        try:
            results = measure(options, folder, started)
        finally:
            for process in started:
                process.terminate()
                process.wait()
    (ROOT / "target").mkdir(exist_ok=True)
    (ROOT / "target/bench.json").write_text(json.dumps(results, indent=1))
    print(f"\nmedian of {options.rounds} interleaved rounds; CPU time of the function's process alone\n")
    print("| figure | measured | budget | budget here |\n|---|---|---|---|")
    late = []
    for row in results:
        unit = row["unit"]
        print(f"| {row['figure']} | {row['measured']:.1f} {unit} | {row['budget']} {unit} | {row['budget_here']:.1f} {unit} |")
        if row["measured"] > row["budget_here"]:
            late.append(row["figure"])
    if late:
        print("\nover budget: " + ", ".join(late))


def measure(options, folder, started):
    local, lines = start([str(options.binaries / "local"), "--ephemeral", "--port", "0"],
                         {"api": "API answers at ", "database": "database answers at "})
    started.append(local)
    redis_port = free_port()
    redis, _ = start(["redis-server", "--bind", "127.0.0.1", "--port", str(redis_port), "--save", "", "--dir", str(folder)],
                     {"ready": "Ready to accept connections"})
    started.append(redis)
    tls_url, authority = tls_front(lines["database"], folder)
    plain = {"CACHE_URL": f"redis://127.0.0.1:{redis_port}/", "AWS_ENDPOINT_URL": lines["database"]}
    tls = plain | {"AWS_ENDPOINT_URL": tls_url, "AWS_CA_BUNDLE": authority}

    account = json.dumps({"email": "bench@example.com", "password": "correct horse", "name": "Bench", "org_name": "Bench"})
    request = urllib.request.Request(lines["api"] + "/auth/register", account.encode(), {"Content-Type": "application/json"})
    session = json.load(urllib.request.urlopen(request))
    org = session["org"]["id"]
    users = seed_users(lines["database"], options.rounds * options.invocations + 25)
    profile = lambda user: event("GET", f"/users/{user}", {"user_id": user})
    plan = event("GET", f"/orgs/{org}/plan", {"org_id": org}, session["token"])
    count, warmup = options.invocations, options.invocations // 10
    one, fresh, fresh_too = users[0], iter(users[1:]), iter(users[1:])

    scenarios = {
        "hit": ("get-user", lambda: [profile(one)] * count, plain),
        "miss": ("get-user", lambda: [profile(next(fresh)) for _ in range(count)], plain),
        "plan": ("get-org-plan", lambda: [plan] * count, plain),
        "yardstick, hit": ("yardstick", lambda: [profile(one)] * count, plain),
        "yardstick, miss": ("yardstick", lambda: [profile(next(fresh_too)) for _ in range(count)], plain),
    }
    warm = {name: [] for name in scenarios}
    cold = {"plain": [], "tls": []}
    peaks, rates = [], []
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        for name, (function, events, environment) in scenarios.items():
            cpu, latency, peak = run(str(options.binaries / function), events(), environment)
            warm[name].append(((cpu[-1] - cpu[warmup]) / (count - warmup) / 1e3, latency[len(latency) // 2] / 1e3,
                               latency[int(len(latency) * 0.99)] / 1e3))
            if function != "yardstick":
                peaks.append(peak)
        rates.append(requests_per_cpu_second(local.pid, lines["api"], f"/users/{one}"))
        for kind, environment in (("plain", plain), ("tls", tls)):
            for _ in range(3):
                # Nothing cached: the first invocation connects to both cache and database.
                subprocess.run(["redis-cli", "-p", str(redis_port), "flushall"], check=True, stdout=subprocess.DEVNULL)
                cpu, _, _ = run(str(options.binaries / "get-user"), [profile(one)], environment)
                cold[kind].append(cpu[1] / 1e6)

    median = lambda values: statistics.median(values)
    zips = []
    for function in FUNCTIONS:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            archive.write(options.binaries / function, "bootstrap")
        zips.append(len(buffer.getvalue()) / 1e6)
    cpu = {name: median([r[0] for r in rounds]) for name, rounds in warm.items()}
    scale = {kind: cpu[f"yardstick, {kind}"] / there for kind, there in YARDSTICK.items()}
    row = lambda figure, measured, unit, budget, scale=1: {
        "figure": figure, "measured": measured, "unit": unit, "budget": budget, "budget_here": budget * scale}
    rows = [
        row("get-user, hit: CPU per invocation", cpu["hit"], "µs", 45, scale["hit"]),
        row("get-user, miss: CPU per invocation", cpu["miss"], "µs", 220, scale["miss"]),
        row("get-org-plan, authority + hit: CPU per invocation", cpu["plan"], "µs", 260, scale["miss"]),
        row("yardstick, hit: CPU per invocation", cpu["yardstick, hit"], "µs", YARDSTICK["hit"], scale["hit"]),
        row("yardstick, miss: CPU per invocation", cpu["yardstick, miss"], "µs", YARDSTICK["miss"], scale["miss"]),
        row("init + first invocation, plain: CPU", median(cold["plain"]), "ms", 6),
        row("init + first invocation, TLS to the database: CPU", median(cold["tls"]), "ms", 10),
        row("local, GET /users/{id}: CPU per request", 1e6 / median(rates), "µs", 125),
        row("zip, the larger", max(zips), "MB", 4.5),
        row("peak RSS, the largest", max(peaks) / 1e3, "MB", 12),
    ]
    for name, rounds in warm.items():
        print(f"{name}: p50 {median([r[1] for r in rounds]):.0f} µs, p99 {median([r[2] for r in rounds]):.0f} µs", file=sys.stderr)
    return rows


if __name__ == "__main__":
    main()
