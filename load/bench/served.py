"""A server's CPU for a request: the local system's, and a FastAPI/uvicorn service's that does the same, or has no database."""
import json, os, pathlib, socket, subprocess, sys
from runtime_api import ROOT, cpu_clock_ns
from system import free_port

SERVICE = ROOT / "load/yardstick/fastapi_service.py"
PACKAGES = ("fastapi==0.165.0", "uvicorn[standard]", "aiobotocore==3.10.0")

# The requests, and how many there are of each in the mix of `just load` (load/src/actions.rs).
MIX = {"cached read": 160, "gzipped list page": 270, "creation": 90}
# The servers: the system, the same with FastAPI over the same database, and FastAPI with dictionaries for a database.
SERVERS = ("local", "FastAPI", "FastAPI without a database")


def cpu_per_request(pid, port, request, status, requests=4_000, connections=16):
    """µs of CPU of a server's process for a request, over connections that all ask before any reply is read."""
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]

    def once(connection):
        reply = b""
        while b"\r\n\r\n" not in reply:
            reply += connection.recv(65536)
        head, _, body = reply.partition(b"\r\n\r\n")
        head = head.lower()
        if not head.startswith(f"http/1.1 {status}".encode()):
            sys.exit(f"{request} was answered {reply[:300]}")
        if b"content-length: " in head:
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            while len(body) < length:
                body += connection.recv(65536)
        else:
            while not body.endswith(b"0\r\n\r\n"):
                body += connection.recv(65536)
        if len(body) > 1_000 and b"content-encoding: gzip" not in head:
            sys.exit(f"{request} was answered with {len(body)} bytes that are not gzipped")

    def around():
        for connection in sockets:
            connection.sendall(request)
        for connection in sockets:
            once(connection)

    for _ in range(20):
        around()
    started = cpu_clock_ns(pid)
    for _ in range(requests // connections):
        around()
    spent = cpu_clock_ns(pid) - started
    for connection in sockets:
        connection.close()
    return spent / (requests // connections * connections) / 1e3


def http(method, path, token, body=None):
    """A request's bytes."""
    data = json.dumps(body).encode() if body else b""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Accept-Encoding: gzip", "Origin: http://localhost:5173"]
    lines += [f"Authorization: Bearer {token}"] * (token is not None)
    lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"] * (body is not None)
    return "\r\n".join([*lines, "", ""]).encode() + data


def fastapi(system, database=None):
    """Starts the FastAPI service, in an environment of its own. Its process and port."""
    folder = ROOT / "target/bench/fastapi"
    installed = folder / "installed"
    if not installed.exists() or installed.read_text() != str(PACKAGES):
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin/pip", "install", "-q", *PACKAGES], check=True)
        installed.write_text(str(PACKAGES))
    port = free_port()
    process, _ = system.start(
        [str(folder / "bin/python"), "-m", "uvicorn", "--port", str(port), "--no-access-log", "--app-dir",
         str(SERVICE.parent), f"{SERVICE.stem}:app"], {"ready": "Uvicorn running"},
        env={**os.environ, **({"DATABASE_URL": database} if database else {})})
    return process.pid, port


def prepare(system):
    """What to ask of whom: by (request, server), the arguments of `cpu_per_request`."""
    item = {"name": "An item", "description": "Of some importance."}
    user, = system.users(1)
    wheres = ((system.local.pid, int(system.api.rsplit(":", 1)[1])), fastapi(system, system.database), fastapi(system))
    asked = {}
    for number, (server, where) in enumerate(zip(SERVERS, wheres)):
        # Each in an organization of its own: what FastAPI writes is not what `local` reads.
        token = system.register(f"served-{number}")["token"]
        system.call("POST", "/items", {"items": [item] * 50}, token)
        asked["cached read", server] = (*where, http("GET", f"/users/{user}", None), 200)
        asked["gzipped list page", server] = (*where, http("GET", "/items", token), 200)
        asked["creation", server] = (*where, http("POST", "/items", token, item), 201)
    return asked


def of_the_mix(served, server):
    """µs of CPU for a request of the mix."""
    return sum(served[f"{name} from {server}"] * share for name, share in MIX.items()) / sum(MIX.values())
