#!/usr/bin/env python3
"""Holds Cargo.lock against the advisories of RustSec, from the copy in .ci/advisories, without the network.

Usage: .ci/advisories.py check             with cargo-deny; says how old the copy is
       .ci/advisories.py update [CLONE]    renews the copy, from a clone or from its origin
"""
import datetime, io, json, lzma, pathlib, shutil, subprocess, sys, tarfile, tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
COPY = ROOT / ".ci/advisories/advisory-db.tar.xz"
ORIGIN = "https://github.com/RustSec/advisory-db"
# Where cargo-deny looks for it (`db-path` in deny.toml); its folder is named for the origin.
DATABASE = ROOT / "target/advisories/advisory-db-3157b0e258782691"
# A warning and no failure: a build that passes today passes tomorrow.
OLD = datetime.timedelta(days=90)


def unpacked():
    """Unpacks the copy for cargo-deny, and gives the time of its last change."""
    shutil.rmtree(DATABASE, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(COPY.read_bytes()))) as archive:
        archive.extractall(DATABASE, filter="data")
        newest = max(member.mtime for member in archive.getmembers())
    # cargo-deny asks when this was fetched, and fails for an old one: how old the copy is we say ourselves.
    (DATABASE / ".git").mkdir()
    (DATABASE / ".git/FETCH_HEAD").touch()
    return datetime.datetime.fromtimestamp(newest, datetime.timezone.utc)


def deny(metadata):
    """Whether cargo-deny finds no advisory for these packages, and what it says."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(metadata, file)
        file.flush()
        said = subprocess.run(["cargo", "deny", "--offline", "--metadata-path", file.name, "check", "advisories"], cwd=ROOT,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return said.returncode == 0, said.stdout


def check():
    of = unpacked()
    age = datetime.datetime.now(datetime.timezone.utc) - of
    print(f"advisories of {of:%Y-%m-%d}, {age.days} days old")
    if age > OLD:
        print(f"warning: they are older than {OLD.days} days; `just advisories-update` renews them", file=sys.stderr)
    words = ["cargo", "metadata", "--locked", "--offline", "--all-features", "--format-version", "1"]
    metadata = json.loads(subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    clean, said = deny(metadata)
    print(said, end="")
    if not clean:
        sys.exit(1)
    # Nothing found may be nowhere looked: the same packages with an old tokio have an advisory.
    next(package for package in metadata["packages"] if package["name"] == "tokio")["version"] = "1.8.0"
    clean, said = deny(metadata)
    if clean or "RUSTSEC-2021-0124" not in said:
        sys.exit(f"a version with a known advisory was not found:\n{said}")


def update(origin=ORIGIN):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", origin, f"{folder}/db"], check=True)
        # Files in the order of their names and with the time of the commit: the same commit gives the same bytes.
        parts = ["git", "-C", f"{folder}/db", "archive", "--format=tar", "HEAD", "crates", "LICENSE.txt", "LICENSES"]
        archive = subprocess.run(parts, check=True, capture_output=True).stdout
    COPY.write_bytes(lzma.compress(archive, preset=9 | lzma.PRESET_EXTREME))
    print(f"{COPY.relative_to(ROOT)}: advisories of {unpacked():%Y-%m-%d}, {COPY.stat().st_size} bytes")


if __name__ == "__main__":
    {"check": check, "update": update}[sys.argv[1]](*sys.argv[2:])
