#!/usr/bin/env python3
"""Prints template.yaml as CloudFormation gets it, with SAM's transform done, so that rules see everything that is
deployed. For them, each `Fn::If` is what it gives where its condition holds, each `Fn::Sub` its text, `!Ref A` is
"${A}" and `!GetAtt A.B` "${A.B}".

Usage, with the Python that has aws-sam-translator: transform_template.py <template>
"""
import functools, json, logging, os, pathlib, sys
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse


# SAM asks which region; nobody is called.
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
NOTHING = {"Ref": "AWS::NoValue"}


def plain(value):
    if isinstance(value, list):
        return [plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "Fn::If" in value:
        _, yes, no = value["Fn::If"]
        return plain(no if yes == NOTHING else yes)
    if "Fn::Sub" in value:
        text = value["Fn::Sub"]
        return text if isinstance(text, str) else text[0]
    if "Ref" in value:
        return "${" + value["Ref"] + "}"
    if "Fn::GetAtt" in value:
        return "${" + ".".join(value["Fn::GetAtt"]) + "}"
    return {key: plain(one) for key, one in value.items()}


@functools.cache
def parsed(text):
    """A template as JSON: to parse it takes three times as long as SAM's transform."""
    return json.dumps(yaml_parse(text))


def translated(template, parameters=None):
    """The template in a file after SAM's transform, with these values of parameters."""
    logging.getLogger("samtranslator").setLevel(logging.ERROR)
    # What an alias repeats is a thing of its own in what SAM CLI uploads.
    source = json.loads(parsed(pathlib.Path(template).read_text()))
    # Where the code is does not matter here.
    for resource in source["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/key"
    given = {"Release": "0123456789abcdef-commit"} if "Release" in source.get("Parameters", {}) else {}
    return Translator({}, Parser()).translate(source, given | (parameters or {}))


def transformed(template):
    """The template in a file, as JSON."""
    return json.dumps(plain(translated(template)), indent=1)


if __name__ == "__main__":
    print(transformed(sys.argv[1]))
