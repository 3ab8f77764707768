#!/usr/bin/env python3
"""Pastes the blocks of docs/walkthrough.md into bash and into zsh, as the page says, in a folder of nobody's and over systems of
its own, and looks at what each prints; and sees that the page gives up on a job that does not succeed. `just walkthrough`."""
import http.server, os, pathlib, re, shutil, subprocess, sys, tempfile, threading, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
SHELLS = {"bash": ["bash", "--norc", "-i"], "zsh": ["zsh", "-f", "-i"]}
# What each block prints, in the page's order.
PRINTS = [
    r'"org":\{"id":"org_.*"plan":"free".*"token":"cit_',
    r'"name":"Ada Lovelace"',
    r'"email_verified":true',
    r'"id":"inv_.*"role":"member","state":"pending"',
    r'"email_verified":true.*"token":"cit_.*"role":"owner".*"name":"Grace Hopper","role":"member"',
    r"^\s*100$",
    r"^\s*30\n\s*30\n\s*30\n\s*10$",
    r'has the plan pro.*(?i:etag): .*"plan":"pro"',
    r'"provider":.*"claude-2"',
    r"^$",
    r'"state":"succeeded".*"result":',
    r"^(job_\S+)\n\1\n.*Subject: Hello, Ada.*The engine runs\.",
    r'"emails"',
    r'^200 text/html.*"openapi": ?"3\.1',
]
MARK = "::: the block has ended"


def pasted(shell, blocks, url, folder):
    """What each block prints in this shell."""
    text = f"URL={url}\n" + "".join(f"{block}echo; echo '{MARK}'\n" for block in blocks)
    done = subprocess.run(SHELLS[shell], input=text, cwd=folder, text=True, timeout=120,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    # The last part is what the shell says when its input ends.
    return done.stdout.split(MARK)[:-1], done.stderr


def wrong(shell, blocks, url, folder, prints):
    try:
        printed, errors = pasted(shell, blocks, url, folder)
    except subprocess.TimeoutExpired as late:
        ended = (late.stdout or b"").decode().count(MARK)
        return [f"{shell}: block {ended + 1} had not ended after {late.timeout} s"]
    if len(printed) != len(blocks):
        return [f"{shell}: {len(printed)} of {len(blocks)} blocks ended\n{errors}"]
    return [f"{shell}: block {number} printed\n{text.strip()}\nand not {expected}"
            for number, (text, expected) in enumerate(zip(printed, prints), 1)
            if not re.search(expected, text.strip(), re.DOTALL | re.MULTILINE)]


def address(log, system):
    for _ in range(300):
        if found := re.search(r"API answers at (\S+)", log.read_text()):
            return found[1]
        if system.poll() is not None:
            break
        time.sleep(0.1)
    sys.exit(f"the local system did not start\n{log.read_text()}")


def stubborn(shell, blocks, folder):
    """What is wrong with how the page waits for jobs that never end, or end badly."""
    waiting = next(block for block in blocks if block.startswith("wait_for()"))
    faults = []
    for state in ["running", "failed", "cancelled", "unknown"]:
        class Job(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(f'{{"id":"job_1","state":"{state}"}}'.encode())

            def log_message(self, *_):
                pass
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Job) as server:
            threading.Thread(target=server.serve_forever).start()
            # Without its pauses: how often it asks is looked at, not for how long.
            printed = wrong(shell, ["sleep() { :; }\n" + waiting + "wait_for job_1\n"], f"http://127.0.0.1:{server.server_port}", folder,
                            [f"NOT SUCCEEDED: the job's state is '{state}'"])
            server.shutdown()
        faults += printed
    return faults


def walk(shells, blocks, folder, *options):
    """What is wrong with a walk over a system with these options."""
    log = folder / "log"
    with log.open("w") as file:
        system = subprocess.Popen([TARGET / "debug/local", "--port", "0", *options], cwd=folder, stdout=file, stderr=file)
    try:
        url = address(log, system)
        return [f"{options}: {fault}" for shell in shells for fault in wrong(shell, blocks, url, folder, PRINTS)]
    finally:
        system.terminate()
        system.wait()


def main():
    if missing := [shell for shell in SHELLS if not shutil.which(shell)]:
        sys.exit(f"missing: {', '.join(missing)}: run .ci/install-tools.sh")
    blocks = re.findall(r"^```bash\n(.*?)^```", (ROOT / "docs/walkthrough.md").read_text(), re.DOTALL | re.MULTILINE)
    if len(blocks) != len(PRINTS):
        sys.exit(f"the page has {len(blocks)} blocks, and {len(PRINTS)} are looked at: say what the new one prints")
    subprocess.run(["cargo", "build", "--quiet", "--workspace", "--bin", "local", "--test", "suite"], cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        faults = walk(SHELLS, blocks, folder, "--data-dir", folder / "records")
        faults += walk(["bash"], blocks, folder, "--ephemeral")
        faults += [fault for shell in SHELLS for fault in stubborn(shell, blocks, folder)]
    print("\n".join(faults) or f"{len(blocks)} blocks print what they should, in {' and '.join(SHELLS)}")
    sys.exit(bool(faults))


main()
