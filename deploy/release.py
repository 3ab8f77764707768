"""What a release is called."""
import hashlib, subprocess, sys
from tools import ROOT


def name(parameters, functions):
    """The name of a release: a digest of its parameters and of the functions' code, by name, and the commit. The digest comes first:
    SAM names a version after the first ten characters."""
    return f"{digested((ROOT / 'template.yaml').read_bytes(), parameters, functions)}-{commit()}"


def renamed(release, template, parameters):
    """The name of a kept release with other parameters. Its template says which functions it has, and the commit is theirs."""
    return f"{digested(template.replace(release, '').encode(), parameters, {})}-{release.partition('-')[2]}"


def digested(template, parameters, functions):
    digest = hashlib.sha256(template)
    for parameter, value in sorted(parameters.items()):
        digest.update(f"\n{parameter}={value}".encode())
    for function, code in sorted(functions.items()):
        digest.update(b"\n" + function.encode() + hashlib.sha256(code).digest())
    return digest.hexdigest()[:16]


def commit():
    said = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return said.stdout.strip() or "unknown"


def built(folder=ROOT / "target/lambda"):
    """The code of all functions, by name."""
    names = sorted(manifest.parent.name for manifest in ROOT.glob("functions/*/Cargo.toml"))
    if missing := [one for one in names if not (folder / one / "bootstrap").exists()]:
        sys.exit(f"not built: {', '.join(missing)}: run `just build`; or, where only parameters change, deploy with --live")
    return {one: (folder / one / "bootstrap").read_bytes() for one in names}
