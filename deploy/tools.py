"""The Python environment of SAM CLI, whose parser and SDK the scripts here use (.ci/install-tools.sh makes it)."""
import os, pathlib, shutil, sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = pathlib.Path(os.environ.get("CITIZEN_TOOLS", pathlib.Path.home() / ".cache/citizen-tools"))
SAM = TOOLS / "venv/bin/sam"


def copied(folder):
    """A copy of what deploys, to be changed: its scripts go by the template and the environments beside them."""
    checkout = pathlib.Path(folder) / "checkout"
    for part in ("deploy", "functions"):
        shutil.copytree(ROOT / part, checkout / part, ignore=shutil.ignore_patterns("*.rs", "__pycache__"))
    for part in ("template.yaml", "samconfig.toml"):
        shutil.copy(ROOT / part, checkout / part)
    return checkout


def in_sams_environment():
    """Begins the running script anew in SAM CLI's environment, unless it runs there. AWS_REGION is the region there, too: AWS's SDK
    for Python, and SAM CLI with it, read AWS_DEFAULT_REGION alone, and else the region of ~/.aws/config."""
    if region := os.environ.get("AWS_REGION"):
        os.environ["AWS_DEFAULT_REGION"] = region
    if sys.prefix != str(TOOLS / "venv"):
        python = TOOLS / "venv/bin/python"
        if not python.exists():
            sys.exit("SAM CLI is missing: run .ci/install-tools.sh")
        os.execv(python, [str(python), *sys.argv])
