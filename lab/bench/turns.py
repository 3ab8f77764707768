"""CPU of several programs by turns: all of them live, and each in turn gets a block of invocations.

What a program takes moves by half from one second to the next on a shared machine; the ratio of two programs within a block
of some milliseconds does not."""
import subprocess, sys, threading
from runtime_api import RuntimeApi, cpu_clock_ns, variables

BLOCK = 25


class Turn:
    """A program that waits for its turns. It makes itself ready with a first block, which does not count."""

    def __init__(self, program, events, environment, expected):
        self.program, self.cpu_ns, self.process = program, [], None
        self.begin, self.ended, self.started = threading.Semaphore(0), threading.Semaphore(0), threading.Event()
        self.api = RuntimeApi(events, expected, asked=self.asked)
        self.process = subprocess.Popen([program], env=variables(self.api, environment), stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        self.started.set()
        self.ended.acquire(timeout=30)
        self.take()

    def asked(self, number):
        """Notes the process's CPU clock at the end of each block, and keeps it from its next event until its turn."""
        if number % BLOCK == 0:
            self.started.wait()
            self.cpu_ns.append(cpu_clock_ns(self.process.pid))
            self.ended.release()
            self.begin.acquire()

    def take(self):
        """One block: µs of CPU an invocation."""
        self.begin.release()
        if not self.ended.acquire(timeout=60) or self.api.bad:
            sys.exit(f"{self.program} did not answer its block: {self.api.bad[:1]}")
        return (self.cpu_ns[-1] - self.cpu_ns[-2]) / BLOCK / 1e3

    def end(self):
        self.process.kill()
        self.process.wait()
        self.begin.release()
        self.api.close()


def by_turns(programs, scenario, blocks):
    """µs of CPU an invocation in each block, by the name of each program: {name: (path, environment)}."""
    turns = {}
    try:
        for name, (program, environment) in programs.items():
            events = list(scenario.events((blocks + 1) * BLOCK + 1))
            turns[name] = Turn(program, events, environment, scenario.expected)
        found = {name: [] for name in programs}
        for number in range(blocks):
            # Each begins as often as any other.
            order = list(turns)[number % len(turns):] + list(turns)[:number % len(turns)]
            for name in order:
                found[name].append(turns[name].take())
        return found
    finally:
        for one in turns.values():
            one.end()
