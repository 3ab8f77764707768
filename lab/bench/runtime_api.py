"""The Lambda Runtime API of one execution environment, and a function's process under it."""
import json, pathlib, subprocess, sys, threading, time, uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TABLE = "citizen-app"
ORIGIN = "https://app.example.com"


class RuntimeApi(ThreadingHTTPServer):
    """Hands out events one at a time. `asked(n)` is called each time the process asks for its n-th event, from 0;
    with `ends`, the connection is closed instead of a reply after the last one, on which a function's process ends;
    without, the process waits."""

    daemon_threads = True

    def __init__(self, events, expected=(200,), asked=lambda n: None, ends=False):
        super().__init__(("127.0.0.1", 0), RuntimeApiCall)
        self.events, self.expected, self.asked, self.ends = events, expected, asked, ends
        self.sent, self.latency_ns, self.bad, self.replies = 0, [], [], None
        self.finished, self.release = threading.Event(), threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.release.set()
        self.shutdown()
        self.server_close()

    def accepts(self, path, body):
        """Whether a reply is one that its event should have: a status of `expected`, or a whole batch done."""
        reply = json.loads(body) if path.endswith("/response") else None
        if not isinstance(reply, dict):
            return False
        return reply.get("statusCode") in self.expected if "statusCode" in reply else not reply.get("batchItemFailures")


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
        api.asked(api.sent)
        if api.sent == len(api.events):
            api.finished.set()
            if not api.ends:
                api.release.wait(60)
            self.close_connection = True
            return
        event = api.events[api.sent]
        api.sent += 1
        api.at = time.perf_counter_ns()
        self.answer(200, event, [
            ("Lambda-Runtime-Aws-Request-Id", str(uuid.uuid4())),
            ("Lambda-Runtime-Deadline-Ms", int(time.time() * 1000) + 60_000),
            ("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:bench"),
        ])

    def do_POST(self):
        api = self.server
        body = self.rfile.read(int(self.headers["Content-Length"])) if "Content-Length" in self.headers else self.chunked()
        api.latency_ns.append(time.perf_counter_ns() - api.at)
        if api.replies is not None:
            api.replies.append(body)
        if not api.accepts(self.path, body):
            api.bad.append(body[:300].decode(errors="replace"))
        self.answer(202, b"{}")

    def chunked(self):
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body


def variables(api, environment):
    """What a function's process needs in its environment."""
    return {
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.server_port}", "AWS_LAMBDA_FUNCTION_NAME": "bench",
        "AWS_LAMBDA_FUNCTION_VERSION": "1", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512", "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "TABLE_NAME": TABLE, "ENVIRONMENT": "bench",
        "ALLOWED_ORIGINS": ORIGIN, **environment,
    }


def cpu_clock_ns(pid):
    """CPU time that another process has taken, all its threads: the kernel's id of its clock is made of its own
    (clock_getcpuclockid(3))."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def run(binary, events, environment, expected=(200,), replies=None):
    """One environment's life. Its CPU clock at each time it asks for an event and its latencies in ns, its peak memory
    in KB. Its replies are put into `replies`, if that is a list."""
    started, process, cpu_ns = threading.Event(), None, []

    def note(_):
        started.wait()
        cpu_ns.append(cpu_clock_ns(process.pid))

    api = RuntimeApi(events, expected, asked=note)
    api.replies = replies
    process = subprocess.Popen([binary], env=variables(api, environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    printed = []
    reader = threading.Thread(target=lambda: printed.extend(process.stdout), daemon=True)
    reader.start()
    started.set()
    deadline = time.time() + 120
    while not api.finished.wait(0.02):
        if process.poll() is not None or time.time() > deadline:
            process.kill()
            reader.join()
            sys.exit(f"{binary} ended: {b''.join(printed).decode(errors='replace')[-2000:]}")
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    process.kill()
    process.wait()
    reader.join()
    api.close()
    if api.bad:
        sys.exit(f"{binary} answered: {api.bad[0]}\n{b''.join(printed[-5:]).decode(errors='replace')}")
    peak_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return cpu_ns, sorted(api.latency_ns), peak_kb
