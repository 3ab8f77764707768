"""A server's requests per second of its own CPU: the local system, and a FastAPI/uvicorn service that does the same."""
import json, os, pathlib, socket, subprocess, sys, time
from runtime_api import ROOT
from system import free_port

SERVICE = ROOT / "load/yardstick/fastapi_service.py"
PACKAGES = ("fastapi==0.165.0", "uvicorn[standard]")


def cpu_per_request(pid, port, path, headers=(), requests=8_000, connections=16):
    """µs of CPU of a server's process for a request, over connections that all ask before any reply is read."""
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Accept-Encoding: gzip", "Origin: http://localhost:5173", *headers]
    request = "\r\n".join([*lines, "", ""]).encode()
    clock = lambda: time.clock_gettime_ns((~pid << 3) | 2)

    def once(connection):
        reply = b""
        while b"\r\n\r\n" not in reply:
            reply += connection.recv(65536)
        head, _, body = reply.partition(b"\r\n\r\n")
        head = head.lower()
        if not head.startswith(b"http/1.1 200"):
            sys.exit(f"{path} answered {reply[:300]}")
        if b"content-length: " in head:
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            while len(body) < length:
                body += connection.recv(65536)
        else:
            while not body.endswith(b"0\r\n\r\n"):
                body += connection.recv(65536)
        return head

    def around():
        for connection in sockets:
            connection.sendall(request)
        return [once(connection) for connection in sockets]

    for _ in range(20):
        heads = around()
    started = clock()
    for _ in range(requests // connections):
        around()
    spent = clock() - started
    for connection in sockets:
        connection.close()
    return spent / (requests // connections * connections) / 1e3, b"content-encoding: gzip" in heads[0]


def fastapi(system):
    """Starts the FastAPI service in an environment of its own. Its process and port."""
    folder = ROOT / "target/bench/fastapi"
    if not (folder / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin/pip", "install", "-q", *PACKAGES], check=True)
        (folder / "installed").touch()
    port = free_port()
    process, _ = system.start([str(folder / "bin/python"), "-m", "uvicorn", "--port", str(port), "--no-access-log",
                               "--app-dir", str(SERVICE.parent), f"{SERVICE.stem}:app"], {"ready": "Uvicorn running"})
    return process, port


def prepare(system):
    """What to ask of whom: by (request, server), the arguments of `cpu_per_request`."""
    session = system.register("served")
    authority = (f"Authorization: Bearer {session['token']}",)
    system.call("POST", "/items", {"items": [
        {"name": f"Item {n}", "description": "Of some importance."} for n in range(50)]}, session["token"])
    user, = system.users(1)
    local_port = int(system.api.rsplit(":", 1)[1])
    other, other_port = fastapi(system)
    return {
        ("cached read", "local"): (system.local.pid, local_port, f"/users/{user}"),
        ("cached read", "FastAPI"): (other.pid, other_port, f"/users/{user}"),
        ("gzipped list page", "local"): (system.local.pid, local_port, "/items", authority),
        ("gzipped list page", "FastAPI"): (other.pid, other_port, "/items", ("Authorization: Bearer token",)),
    }
