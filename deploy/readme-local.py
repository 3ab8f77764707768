#!/usr/bin/env python3
"""Pastes the blocks of the README's "Deploy" into a shell, in their order, against MiniStack: what a person with a new account does.

Usage: just readme-local
`just build` builds quickly, for this machine, where MiniStack runs the functions; `just tools` is left out. All else is as it stands there.
"""
import pathlib, re, shutil, signal, subprocess, sys, tempfile
from tools import ROOT, in_sams_environment

# What each block prints at its end, in the page's order.
PRINTS = [r"Successfully created/updated stack - citizen-dev", r"has the prices of [\s\S]*all well$", r"health answers from version [\s\S]*  dev  live\nnone  staging\nnone  prod$",
          r"citizen-dev is deleted"]
SHELL = """set -euo pipefail
just() {
    case $1 in
        tools) ;;
        build) command just build --quick --quiet ;;
        *) command just "$@" ;;
    esac
}
"""


def main():
    page = (ROOT / "README.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", page[page.index("## Deploy"):page.index("## Contributing")], re.DOTALL | re.MULTILINE)
    if len(blocks) != len(PRINTS):
        sys.exit(f"the README has {len(blocks)} blocks, and {len(PRINTS)} are looked at: say what the new one prints")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="readme-local-"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    deployment = Deployment(folder)
    # Credentials as `aws configure` leaves them: in a file, and not in the environment.
    credentials = folder / "credentials"
    credentials.write_text("[citizen]\naws_access_key_id = test\naws_secret_access_key = test\n")
    environment = {name: value for name, value in deployment.environment.items() if name not in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")} | {
        "PATH": f"{TOOLS}/venv/bin:{deployment.environment['PATH']}", "AWS_SHARED_CREDENTIALS_FILE": str(credentials), "AWS_PROFILE": "citizen"}
    try:
        deployment.begin()
        for number, (block, prints) in enumerate(zip(blocks, PRINTS), 1):
            done = subprocess.run(["bash", "-c", SHELL + block], cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode or not re.search(prints, done.stdout.strip()):
                sys.exit(f"block {number} of the README's Deploy:\n{block}\n{done.stdout[-4000:]}")
            print(f"block {number} prints what it should", flush=True)
    finally:
        deployment.stop()
        shutil.rmtree(folder, ignore_errors=True)


in_sams_environment()
from ministack import Deployment
from tools import TOOLS

main()
