#!/usr/bin/env python3
"""Makes what can be made of a new endpoint; `cargo test --workspace --test suite -- coverage` names what is left.

    just new close-org POST '/orgs/{org_id}/close'

Its crate, its event, its block in template.yaml, its line in `local` and its scenario of the benchmark. The handler verifies
the caller and replies 204. Where its author must go on, a comment begins with MARK, and the tests fail as long as one is left.
"""
import json, pathlib, re, sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "deploy"))
import throttles

MARK = "just new:"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ENVIRONMENTS = 10

# What a path may name: its type, an example, and how lab/bench/scenarios.py has one.
PARAMETERS = {
    "org_id": ("OrgId", "org_0193e0a1b2c37d4e8f90a1b2c3d4e5f7", "org"),
    "user_id": ("UserId", "usr_0193e0a1b2c37d4e8f90a1b2c3d4e5f6", "member"),
    "item_id": ("ItemId", "itm_0193e0a1b2c37d4e8f90a1b2c3d4e5f8", "item"),
    "job_id": ("JobId", "job_0199c8a0f5e27b3c8d4e5f6a7b8c9d0e", "job"),
    "session_id": ("SessionId", "ses_0193e0a1b2c37d4e8f90a1b2c3d4e5f9",
                   'system.call("GET", "/me/sessions", None, token)["data"][0]["id"]'),
    "invitation_id": ("InvitationId", "inv_0193e0a1b2c37d4e8f90a1b2c3d4e5fa",
                      'system.call("POST", f"/orgs/{org}/invitations", {"email": account()["email"], "role": "member"}, token)["id"]'),
}

MAIN = """//! Runs [`{module}::handle`] on Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {{
    shared::runtime::run({module}::handle).await
}}
"""

LIB = """//! `{method} {path}`, member: `204`{not_found}.

use shared::caller::Caller;
{ids}use shared::{{{imports}}};

/// {title}
///
/// # Errors
/// `401` without a valid session{not_found_error}.
#[utoipa::path({verb}, path = "{path}", operation_id = "{module}", tag = "{tag}",{params}
    responses((status = 204, description = "Done")),
    security(("session" = []), ("cookie" = [])))]
pub async fn handle(context: &Context, request: Request) -> ApiResult {{
    let {caller} = Caller::verify(context, &request).await?;
{parse}    // {mark} do the work here, and say what came of it.
    Ok(response::no_content())
}}
"""

# Where GET is, HEAD is.
HEAD = """        Head: {{ Type: Api, Properties: {{ RestApiId: !Ref Api, Method: HEAD, Path: "{path}" }} }}
"""

BLOCK = """  {pascal}Function:
    Type: AWS::Serverless::Function
    Metadata: {{ SkipBuild: true }}
    Properties:
      CodeUri: target/lambda/{name}/
      AutoPublishCodeSha256: !Ref Release
      ReservedConcurrentExecutions: !If [ReservesConcurrency, {environments}, !Ref AWS::NoValue]
      Events:
        Http: {{ Type: Api, Properties: {{ RestApiId: !Ref Api, Method: {method}, Path: "{path}" }} }}
{head}      Policies:
        - Statement:
            - Effect: Allow
              Resource: *table-arn
              Action: [dynamodb:BatchGetItem]
"""


class Endpoint:
    """What is asked for. Ends the program where it cannot be."""

    def __init__(self, name, method, path):
        self.name, self.method, self.path = name, method.upper(), path
        self.module = name.replace("-", "_")
        self.pascal = "".join(word.capitalize() for word in name.split("-"))
        self.parameters = re.findall(r"\{([^}]*)\}", path)
        if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*", name):
            sys.exit(f"{name}: a name is verb-resource, in small letters: close-org")
        if (ROOT / "functions" / name).exists():
            sys.exit(f"functions/{name} is there already")
        if self.method not in METHODS:
            sys.exit(f"{method}: one of {', '.join(METHODS)}")
        if not re.fullmatch(r"(/([a-z0-9._-]+|\{[a-z_]+\}))+", path):
            sys.exit(f"{path}: a path is like /orgs/{{org_id}}/close")
        if unknown := [one for one in self.parameters if one not in PARAMETERS]:
            sys.exit(f"{unknown[0]} is not known here: it needs an id in shared/src/ids.rs, a line in PARAMETERS of this program, and "
                     "a place in `path_of` of tests/suite/matrix.rs and `asked` of lab/load/tests/growth/endpoints.rs")
        if any(f'Method: {self.method}, Path: "{path}"' in line for line in read("template.yaml").splitlines()):
            sys.exit(f"template.yaml has {self.method} {path} already")
        self.segment = path.split("/")[1]


def read(file):
    return (ROOT / file).read_text()


def write(file, text):
    (ROOT / file).parent.mkdir(parents=True, exist_ok=True)
    (ROOT / file).write_text(text)
    print(file)


def sorted_in(text, line, name):
    """`text` with `line` added among the lines of its kind, which are those that `name` finds; they are in order."""
    lines = text.splitlines(keepends=True)
    at = [index for index, one in enumerate(lines) if name.match(one)]
    key = name.match(line)[1]
    after = [index for index in at if name.match(lines[index])[1] < key]
    lines.insert(after[-1] + 1 if after else at[0], line)
    return "".join(lines)


def crate(one):
    manifest = read("functions/get-item/Cargo.toml").replace("get-item", one.name)
    write(f"functions/{one.name}/Cargo.toml", manifest)
    write(f"functions/{one.name}/src/main.rs", MAIN.format(module=one.module))
    write(f"functions/{one.name}/src/lib.rs", handler(one))


def handler(one):
    in_org, others = "org_id" in one.parameters, [name for name in one.parameters if name != "org_id"]
    types = sorted({PARAMETERS[name][0] for name in one.parameters})
    lines = ['    let _org_id = caller.in_org(request::path(&request, "org_id"))?;\n'] * in_org + [
        f'    let _{name}: {PARAMETERS[name][0]} = request::id(&request, "{name}")?;\n' for name in others]
    documented = [f'("{name}" = {PARAMETERS[name][0]}, Path)' for name in one.parameters]
    used = ["ApiResult", "Context", "Request"] + ["request"] * bool(types) + ["response"]
    ids = types[0] if len(types) == 1 else "{" + ", ".join(types) + "}"
    return LIB.format(
        method=one.method, path=one.path, module=one.module, verb=one.method.lower(), tag=tag(one), mark=MARK,
        title=one.name.replace("-", " ").capitalize(), ids=f"use shared::ids::{ids};\n" if types else "",
        imports=", ".join(used), params=f"\n    params({', '.join(documented)})," if documented else "",
        caller="caller" if in_org else "_caller", parse="".join(lines), not_found="; `404`" if types else "",
        not_found_error=", `404` for no such resource of the organization" if types else "")


def tag(one):
    """The path's first segment, or the tag of a function whose path begins with it."""
    sources = "".join(source.read_text() for source in sorted((ROOT / "functions").glob("*/src/lib.rs")))
    own = re.sub(r"\W", "_", one.segment)
    found = re.search(rf'path = "/{re.escape(one.segment)}[/"].*tag = "(\w+)"', sources)
    return own if f'tag = "{own}"' in sources or not found else found[1]


def local(one):
    line = f'{one.name} = {{ path = "../functions/{one.name}" }}\n'
    write("local/Cargo.toml", sorted_in(read("local/Cargo.toml"), line, re.compile(r'([\w-]+) = \{ path = "../functions/')))
    line = f'    "{one.name}" => {one.module},\n'
    write("local/src/functions.rs", sorted_in(read("local/src/functions.rs"), line, re.compile(r'    "([\w-]+)" => \w+')))


def template(one):
    """Its block, its throttles in their order, and its path's preflight, the first and the last behind the last whose path begins alike, or else behind the last of all."""
    text = read("template.yaml")
    preflight = f"          {one.path}: {{ options: *preflight }}\n"
    if f"\n          {one.path}:" not in text:
        known = list(re.finditer(r"(?m)^          (/\S*): \{ options: \*preflight \}\n", text))
        alike = [found for found in known if found[1].split("/")[1] == one.segment] or known
        text = text[:alike[-1].end()] + preflight + text[alike[-1].end():]
    block = r'(?ms)^  \w+Function:\n(?:(?!\n\n).)*?Path: "(/[^"]*)"(?:(?!\n\n).)*\n\n'
    blocks = list(re.finditer(block, text))
    alike = [found for found in blocks if found[1].split("/")[1] == one.segment] or blocks
    block = BLOCK.format(name=one.name, pascal=one.pascal, method=one.method, path=one.path, environments=ENVIRONMENTS,
                         head=HEAD.format(path=one.path) if one.method == "GET" else "")
    text = text[:alike[-1].end()] + block + "\n" + text[alike[-1].end():]
    methods = [(method, one.path) for method in (one.method, *["HEAD"] * (one.method == "GET"))]
    for method, limit in throttles.of_function(one.name, ENVIRONMENTS, methods).items():
        text = sorted_in(text, throttles.setting(*method, *limit) + "\n", re.compile(r'        - \{ (ResourcePath: "/~1[^,]+, HttpMethod: \w+),'))
    write("template.yaml", text)


def event(one):
    """That of get-item, with this method and path."""
    like = json.loads(read("events/get-item.json"))
    filled = one.path.format(**{name: example for name, (_, example, _) in PARAMETERS.items()})
    like |= {"resource": one.path, "path": filled, "httpMethod": one.method,
             "pathParameters": {name: PARAMETERS[name][1] for name in one.parameters} or None}
    like["requestContext"] |= {"httpMethod": one.method, "path": f"/v1{filled}", "resourcePath": one.path}
    write(f"events/{one.name}.json", json.dumps(like, indent=2) + "\n")


def scenario(one):
    arguments = "".join(f", {name}={PARAMETERS[name][2]}" for name in one.parameters)
    mark = "" if one.method == "GET" else f"  # {MARK} a body, and where a call uses something up, a new one for each"
    line = f'        "{one.name}": Scenario("{one.name}", same(at("{one.name}"{arguments}))),{mark}\n'
    text = read("lab/bench/scenarios.py")
    at = text.index('        "health": Scenario(')
    write("lab/bench/scenarios.py", text[:at] + line + text[at:])


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    one = Endpoint(*sys.argv[1:])
    for part in (crate, local, template, event, scenario):
        part(one)
    print(f"\nThe handler is functions/{one.name}/src/lib.rs. What else is left to say, all at once:"
          "\n    cargo test --workspace --test suite -- coverage")


if __name__ == "__main__":
    main()
