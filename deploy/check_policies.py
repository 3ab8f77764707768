#!/usr/bin/env python3
"""The guard rules of deploy/policies/: template.yaml passes all of them, and each template of deploy/policies/failing breaks the one
rule that it is named after (what follows a dot tells several for one rule apart), and no other. Each rule has one.

Usage, with the Python that has aws-sam-translator and cfn-guard on the path: check_policies.py
"""
import json, pathlib, re, subprocess, sys, tempfile
from transform_template import transformed

ROOT = pathlib.Path(__file__).resolve().parent.parent
FAILING = sorted((ROOT / "deploy/policies/failing").glob("*.yaml"))


def broken_rules(folder):
    """The names of the rules that each file of a folder breaks."""
    command = ["cfn-guard", "validate", "--structured", "--output-format", "json", "--show-summary", "none"]
    result = subprocess.run([*command, "--rules", ROOT / "deploy/policies", "--data", folder], capture_output=True)
    if not result.stdout:
        sys.exit(f"cfn-guard: {result.stderr.decode()}")
    broken = {}
    for report in json.loads(result.stdout):
        rules = {rule["Rule"]["name"] for rule in report["not_compliant"]}
        broken.setdefault(pathlib.Path(report["name"]).stem, set()).update(rules)
    return broken


def main():
    rules = {name for file in (ROOT / "deploy/policies").glob("*.guard")
             for name in re.findall(r"^rule (\w+)", file.read_text(), re.MULTILINE)}
    with tempfile.TemporaryDirectory() as folder:
        for template in [ROOT / "template.yaml", *FAILING]:
            pathlib.Path(folder, f"{template.stem}.json").write_text(transformed(template))
        broken = broken_rules(folder)
    wrong = [f"template.yaml breaks {rule}" for rule in sorted(broken["template"])]
    for template in FAILING:
        name = template.stem
        if broken[name] != {name.split(".")[0]}:
            wrong.append(f"deploy/policies/failing/{template.name} breaks {sorted(broken[name]) or 'nothing'}")
    shown = {template.stem.split(".")[0] for template in FAILING}
    wrong += [f"no template in deploy/policies/failing breaks {rule}" for rule in sorted(rules - shown)]
    print("\n".join(wrong) or f"template.yaml keeps {len(rules)} rules, and {len(FAILING)} templates break theirs.")
    sys.exit(bool(wrong))


main()
