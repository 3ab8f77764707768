"""What a release is called."""
import hashlib, subprocess, sys
from tools import ROOT

BUILT = ROOT / "target/lambda"
MACHINES = {0x3E: "x86_64", 0xB7: "arm64"}  # `e_machine` of an ELF header


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


def names():
    """The functions that are deployed."""
    return sorted(manifest.parent.name for manifest in ROOT.glob("functions/*/Cargo.toml"))


def built(folder=BUILT):
    """The code of all functions, by name."""
    if missing := [one for one in names() if not (folder / one / "bootstrap").exists()]:
        sys.exit(f"not built: {', '.join(missing)}: run `just build`; or, where only parameters change, deploy with --live")
    return {one: (folder / one / "bootstrap").read_bytes() for one in names()}


def machines(folder=BUILT):
    """What each function that is built is for, as the parameter Architecture says it."""
    found = {}
    for file in (folder / one / "bootstrap" for one in names()):
        if file.exists():
            with file.open("rb") as program:
                head = program.read(20)
            if head.startswith(b"\x7fELF"):
                found[file.parent.name] = MACHINES.get(int.from_bytes(head[18:20], "little"), "another machine")
    return found
