#!/usr/bin/env python3
"""Each function's binary once under AWS's runtime interface emulator, over a local system: it starts and answers its
event. Then one of each kind gets the events of events/corpus, and a function that panics (tests/panics) is reported and lives on.

Usage, after `just build`: .ci/with-local.sh deploy/rie_smoke.py
"""
import concurrent.futures, json, os, pathlib, socket, subprocess, sys, tempfile, time, urllib.error, urllib.request
from functions_at_work import BINARIES, NAMES, corpus, environment, event, fault, fault_of_sample

TOOLS = pathlib.Path(os.environ.get("CITIZEN_TOOLS", pathlib.Path.home() / ".cache/citizen-tools"))
EMULATOR = next((TOOLS / "venv").glob("lib/python3*/site-packages/samcli/local/rapid/aws-lambda-rie-x86_64"))


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Environment:
    """One execution environment: an emulator with ports of its own and one binary. Takes one event at a time."""

    def __init__(self, name, ports, *arguments):
        (self.port, self.runtime_port), self.log = ports, tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [EMULATOR, "--runtime-interface-emulator-address", f"127.0.0.1:{ports[0]}",
             "--runtime-api-address", f"127.0.0.1:{ports[1]}", BINARIES / name / "bootstrap", *arguments],
            env=environment(), stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT,
            start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # The emulator and the binary, which it started, are a process group.
        os.killpg(self.process.pid, 9)
        self.process.wait()
        self.log.close()

    def invoke(self, body):
        """The reply, parsed. Waits for the emulator to listen: for the function too, which an invocation starts and which asks once."""
        url = f"http://127.0.0.1:{self.port}/2015-03-31/functions/function/invocations"
        end = time.monotonic() + 20
        while not listens(self.runtime_port) and time.monotonic() < end:
            time.sleep(0.02)
        while True:
            try:
                with urllib.request.urlopen(urllib.request.Request(url, body), timeout=30) as reply:
                    return json.load(reply)
            except ConnectionRefusedError as error:
                if time.monotonic() > end:
                    raise RuntimeError(f"the emulator does not listen: {self.output()}") from error
            except urllib.error.URLError as error:
                if not isinstance(error.reason, ConnectionRefusedError) or time.monotonic() > end:
                    raise RuntimeError(f"{error}: {self.output()}") from error
            time.sleep(0.02)

    def output(self):
        self.log.seek(0)
        return self.log.read()[-3000:]

    def starts(self):
        """How often the emulator started the process."""
        self.log.seek(0)
        return self.log.read().count("INIT START")


def answers_its_event(name, ports):
    with Environment(name, ports) as environment:
        wrong = fault(name, environment.invoke(event(name)))
        return f"{name}: {wrong}\n{environment.output()}" if wrong else None


def answers_the_corpus(name, ports):
    """Whatever it is invoked with has an answer, and the process lives on."""
    with Environment(name, ports) as environment:
        wrong = [f"{name}, events/corpus/{file}.json: {fault}" for file, sample in corpus().items()
                 if (fault := fault_of_sample(name, sample, environment.invoke(json.dumps(sample["event"]).encode())))]
        if (starts := environment.starts()) > 1:
            wrong.append(f"{name} was started {starts} times")
        return "\n".join(wrong)


def fault_of(task, *arguments):
    """What a task finds wrong; its failure is one too."""
    try:
        return task(*arguments)
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        return f"{task.__name__} {arguments[0]}: {error}"


def http_event(path):
    value = json.loads(event("health"))
    value["path"] = path
    return json.dumps(value).encode()


def answers_a_panic(ports):
    """An HTTP function's panic is a 500 of its own; the same process answers what comes next."""
    with Environment("panics", ports) as environment:
        replies = [environment.invoke(http_event(path)) for path in ("/health", "/panic", "/health", "/panic", "/health")]
        statuses = [reply.get("statusCode") for reply in replies]
        problem = replies[1]
        starts = environment.starts()
        if statuses != [200, 500, 200, 500, 200] or json.loads(problem["body"])["code"] != "internal_error":
            return f"a panicking function answered {replies}\n{environment.output()}"
        return f"the environment was started {starts} times" if starts > 1 else None


def reports_a_panic(ports):
    """A panic over an event is a failed invocation; the same process takes what comes next."""
    with Environment("panics", ports, "events") as environment:
        first, failed, third = [environment.invoke(body) for body in (b'{"n":1}', b'{"panic":1}', b'{"n":3}')]
        if first != {"seen": {"n": 1}} or "errorType" not in failed or third != {"seen": {"n": 3}}:
            return f"a panicking event function answered {[first, failed, third]}\n{environment.output()}"
        starts = environment.starts()
        return f"the environment was started {starts} times" if starts > 1 else None


def main():
    started = time.monotonic()
    tasks = [(answers_its_event, name) for name in NAMES]
    tasks += [(answers_the_corpus, name) for name in ("health", "analysis-worker", "email-worker", "account-mail-worker", "mail-event-worker", "sweeper", "invalidator")] + [(answers_a_panic,), (reports_a_panic,)]
    ports = free_ports(2 * len(tasks))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        futures = []
        for n, task in enumerate(tasks):
            futures.append(pool.submit(fault_of, *task, ports[2 * n:2 * n + 2]))
            if n == 0:
                concurrent.futures.wait(futures)
        wrong = [one for future in futures if (one := future.result())]
    print("\n".join(wrong))
    print(f"{len(tasks) - len(wrong)} passed, {len(wrong)} failed")
    print(f"{len(NAMES)} functions under the runtime interface emulator in {time.monotonic() - started:.0f} s")
    sys.exit(bool(wrong))


main()
