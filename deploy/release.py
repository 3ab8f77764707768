"""What a release is called."""
import hashlib, subprocess, sys
from tools import ROOT


def name(parameters, functions):
    """The name of a release: a digest of its parameters and of the functions' code, by name, and the commit. The digest comes first:
    SAM names a version after the first ten characters."""
    digest = hashlib.sha256((ROOT / "template.yaml").read_bytes())
    for parameter, value in sorted(parameters.items()):
        digest.update(f"\n{parameter}={value}".encode())
    for function, code in sorted(functions.items()):
        digest.update(b"\n" + function.encode() + hashlib.sha256(code).digest())
    return f"{digest.hexdigest()[:16]}-{commit()}"


def commit():
    said = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return said.stdout.strip() or "unknown"


def built(folder=ROOT / "target/lambda"):
    """The code of all functions, by name."""
    names = sorted(manifest.parent.name for manifest in ROOT.glob("functions/*/Cargo.toml"))
    if missing := [one for one in names if not (folder / one / "bootstrap").exists()]:
        sys.exit(f"not built: {', '.join(missing)}: run `just build`")
    return {one: (folder / one / "bootstrap").read_bytes() for one in names}
