# `just --list` shows the recipes. Everything else needs only cargo.

tools := env("CITIZEN_TOOLS", env("HOME") / ".cache/citizen-tools")
export PATH := tools / "venv/bin:" + tools / "cargo/bin:" + env("PATH")

# Start the whole system on embedded parts.
run *arguments:
    cargo run -- {{arguments}}

# All tests that need nothing but Rust and a C compiler.
test:
    cargo test --workspace

# Start the system, and again after each change of a source or of the template; what has changed answers in seconds.
watch *arguments:
    watchfiles --filter all --ignore-paths target,.git,.citizen "cargo run -- {{arguments}}" functions shared local tests/testkit data Cargo.toml template.yaml

# Make what can be made of a new endpoint: `just new close-org POST '/orgs/{org_id}/close'`; what is left stands in
# docs/adding-an-endpoint.md, and `cargo test --workspace --test suite -- coverage` names it.
[positional-arguments]
new *arguments:
    @.ci/new_function.py "$@"

# Everything that continuous integration runs: half an hour.
ci:
    .ci/run

# What takes longer, step by step; what has passed for this commit is not run again (`--list` names the steps).
nightly *steps:
    lab/nightly.py {{steps}}

# Install the tools that the recipes below use (sam, cargo-lambda, cargo-deny, schemathesis, MiniStack, redis-server).
tools:
    .ci/install-tools.sh

# Renew the copy of RustSec's advisories (from its origin, or from a clone of it), then hold Cargo.lock against it.
advisories-update *clone:
    .ci/advisories.py update {{clone}}
    .ci/advisories.py check

# Pin anew, by version and hash, what .ci/requirements/*.in name and all that those need (`--upgrade` takes the newest of the latter).
python-tools-update *options:
    cd .ci/requirements && for file in *.in; do \
        uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-emit-index-url {{options}} "$file" -o "${file%.in}.txt" || exit 1; \
    done

# Format, lint, documentation, licences and dependencies.
lint:
    cargo fmt --all -- --check
    cargo clippy --workspace --all-targets --features shared/discovery -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
    cargo deny --offline check bans licenses sources
    .ci/advisories.py check

# Write functions/docs/openapi.json from the functions' types.
openapi:
    cargo build --quiet --workspace --bin local --test suite
    target/debug/local openapi > target/openapi.json
    mv target/openapi.json functions/docs/openapi.json

# Hold functions/docs/openapi.json against the linters of Redocly and Spectral.
lint-openapi:
    .ci/lint-openapi.sh

# Attack the local system as a stranger who knows its address and its documents; then one in the like-aws world. Another one of yours:
# `lab/stranger.py URL`.
stranger:
    .ci/with-local.sh sh -c 'lab/stranger.py $URL'
    LOCAL_OPTIONS=--like-aws .ci/with-local.sh sh -c 'lab/stranger.py $URL --environments 16'

# Generate clients from the document, compile them strictly and make a walk with each.
clients:
    .ci/with-local.sh lab/clients/run.sh

# The cookie session and the first steps on /docs in a real browser.
browser:
    lab/browser/run.sh

# Write the samples of a release, tests/samples/<version>: all that it stores and caches (docs/changing-a-record.md).
samples version:
    CITIZEN_SAMPLES={{version}} cargo test --workspace --test suite -- --exact stored::make_samples --ignored

# Check template.yaml: sam validate, cfn-lint, the guard rules of deploy/policies/, checkov.
validate:
    deploy/validate-template.sh

# Build every function for Lambda, each into target/lambda/<name>/bootstrap. `--release` optimizes at link time and by
# training, for a release; `--quick` is for this machine alone; `--features shared/discovery` finds the cache by its name.
build *arguments:
    deploy/build-functions.py {{arguments}}

# Ask AWS, reading only, what would stop a deployment to an environment of samconfig.toml, and what to do about it; with `--live` of what is live.
[positional-arguments]
preflight environment *changes:
    deploy/preflight.py "$@"

# Deploy what is built to an environment of samconfig.toml, with parameters changed by Name=value; with `--live` what is live, in its place.
[positional-arguments]
deploy environment *changes:
    deploy/deploy.py "$@"

# Deploy, walk through it, and go back to the release before if the walk fails.
[positional-arguments]
roll-out environment *changes:
    deploy/roll_out.py "$@"

# Walk once through a running system as a new user does (`--without-email` where SES is not set up).
smoke url *options:
    deploy/smoke.py {{url}} {{options}}

# Deploy an earlier release as it was, in minutes and without a build; without one, list those that are kept.
back *release:
    deploy/back.py {{release}}

# Build one function and put it into the stack of `dev`, past CloudFormation: seconds after an edit it answers there.
push function *options:
    deploy/push.py {{function}} {{options}}

# Take an environment's stack down, but for what holds data and the kept releases.
take-down environment *options:
    deploy/take_down.py {{environment}} {{options}}

# Run an operator's command on a deployed table, with the credentials that AWS's own tools would take (docs/operator.md).
[positional-arguments]
operate *arguments:
    @deploy/operate.py "$@"

# Make a table of what the stack's was at a point in time, and say how the stack takes it over.
restore environment *time:
    deploy/restore.py {{environment}} {{time}}

# Put a new secret in the place of an old one (`deploy/rotate.py --help`).
rotate environment secret what:
    deploy/rotate.py {{environment}} {{secret}} {{what}}

# Add a region, standing by over a replica of the table.
[positional-arguments]
region environment region *changes:
    deploy/region.py "$@"

# Write the permissions of CloudFormation's role in deploy/github-role.yaml, from what the stack's resources need.
role:
    "${CITIZEN_TOOLS:-$HOME/.cache/citizen-tools}"/venv/bin/python deploy/role.py --write

# Write the documents' sums of money, from the template, the counted units and deploy/prices.json.
money:
    "${CITIZEN_TOOLS:-$HOME/.cache/citizen-tools}"/ministack/bin/python deploy/money.py --write

# Write the table of what each parameter of the template changes.
changes:
    "${CITIZEN_TOOLS:-$HOME/.cache/citizen-tools}"/venv/bin/python deploy/changes.py --write

# Write the throttles of the template's methods, from what their functions reserve.
throttles:
    "${CITIZEN_TOOLS:-$HOME/.cache/citizen-tools}"/ministack/bin/python deploy/throttles.py --write

# Print an output of an environment's stack, or all of them.
output environment *name:
    @deploy/output.py {{environment}} {{name}}

# Deploy to MiniStack and a real Redis here and try it: the suite, an e-mail, an update in place, the deletion (after
# `just build --quick`). `--keep` leaves it running.
deploy-local *arguments:
    deploy/deploy-local.py {{arguments}}

# Paste the blocks of the README's "Deploy" into a shell, against MiniStack.
readme-local:
    deploy/readme-local.py

# Carry out each procedure of docs/procedures.md on MiniStack (after `just build --quick`).
procedures-local:
    deploy/procedures-local.py

# Measure single functions: CPU, cold start, memory, size (docs/performance.md has the figures).
bench *arguments:
    python3 lab/bench {{arguments}}

# Count the instructions of deployed functions and hold them against lab/instructions/baseline.json (after
# `just build --release`); with `--renew --reason WHY` write that file anew.
[positional-arguments]
instructions *arguments:
    lab/bench/instructions.py "$@"

# Paste the walkthrough's blocks into bash and zsh, and look at what each prints.
walkthrough:
    .ci/walkthrough.py

# Run the OpenAPI document against a local system with generated requests.
schemathesis examples="200":
    .ci/schemathesis.sh {{examples}}

# The cache against real servers, processes and faults, then the integration suite over a real Redis.
test-redis:
    .ci/test-redis.sh --all

# The features of the embedded queue service on MiniStack's too.
test-ministack-sqs:
    .ci/test-ministack-sqs.sh

# What a cache hit costs over the bare client's GET, and single flight over a hit.
bench-cache:
    cargo test --release --workspace --features shared/discovery --test redis -- --ignored --nocapture --test-threads 1 cost::

# Plant the bugs of lab/planted-bugs/<group> one by one; the tests must find each.
planted-bugs group part="":
    lab/planted-bugs.py {{group}} {{part}}

# Kill the functions' processes while they accept and run jobs; nothing may be lost or done twice.
kill-test *arguments:
    cargo test --workspace --test kill -- {{arguments}}

# Providers and a database on bad days, in full: hours of virtual time in some minutes (docs/providers.md, "Rates and breakers").
unkind *arguments="--full":
    UNKIND=full cargo test --workspace --test suite -- jobs::provider_rates --nocapture
    CARGO_PROFILE_DEV_OPT_LEVEL=1 cargo test --workspace --test unkind -- {{arguments}}

# The races for idempotency keys in full: 10,000 keys with eight callers each.
idempotency-test keys="10000":
    CITIZEN_KEYS={{keys}} cargo test --workspace --test suite -- jobs::idempotency::of_eight_racing

# Put realistic load on the system (its own unless --url names one) and check the truth; the report lies in target/load/.
load *arguments:
    cargo build --quiet --workspace --bin local --bin load --test suite
    target/debug/load {{arguments}}

# Put load on a new local system with Locust for 15 s (lab/locustfile.py); `just locust --users 100 --run-time 5m`.
locust *arguments:
    .ci/with-local.sh .ci/locust.sh {{arguments}}

# Measure what each thing that makes the system fast is worth: the same load with one taken away at a time, into
# target/load/before-after.md.
before-after *arguments:
    cargo build --release --workspace --bin local
    cargo build --quiet --workspace --bin load --test suite
    target/debug/load before-after {{arguments}}

# Each function once under AWS's runtime interface emulator, over a local system (after `just build`).
rie:
    .ci/with-local.sh deploy/rie_smoke.py

# `sam local invoke` of every function in a container, over a local system (after `just build`; needs root).
sam-local:
    .ci/with-local.sh deploy/sam-local.sh

# Drive one organization with 5,500 requests a second beside 1,000 others, in the like-aws world and its time (docs/like-aws.md);
# fails below its targets. Into target/load/hot-tenant.md (ten minutes; without `--full`, as `cargo test` runs it, seconds).
hot-tenant *arguments="--full":
    CARGO_PROFILE_DEV_OPT_LEVEL=1 cargo test --quiet --workspace --test hot-tenant -- {{arguments}}

# How the cost of each function grows with 10³ to 10⁶ items, 10 to 10⁵ organizations, 1 to 10⁵ queued jobs: into
# target/load/growth.md and growth.json (ten minutes, 2 GB under TMPDIR; without `--full`, as `cargo test` runs it, seconds).
growth *arguments="--full":
    CARGO_PROFILE_DEV_OPT_LEVEL=1 cargo test --workspace --test growth -- {{arguments}}
