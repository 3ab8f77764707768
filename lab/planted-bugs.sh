#!/usr/bin/env bash
# Plants the bugs of lab/planted-bugs/<group>/*.patch into a copy of the sources, one at a time, and runs the test
# that each patch names in its "Test:" line: it must pass without the bug and fail with it. A test is cargo's, or a script of deploy/.
# Usage: lab/planted-bugs.sh <group> [<part of a patch's name>]
set -euo pipefail
cd "$(dirname "$0")/.."
group=$1 only=${2:-}
root=$PWD
export MINISTACK_PYTHON=${MINISTACK_PYTHON:-${CITIZEN_TOOLS:-$HOME/.cache/citizen-tools}/ministack/bin/python}
# Not target itself: the copy's crates bear the names of ours, and cargo would take one for the other.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target/planted-bugs} RUST_BACKTRACE=0
# A bug changes one function: 18 s of CPU, and not a minute.
export CARGO_INCREMENTAL=1

# Dependencies are the same: what the workspace's own tests have compiled of them is taken over.
if [ ! -e "$CARGO_TARGET_DIR/debug" ] && [ -d "$root/target/debug/deps" ]; then
    mkdir -p "$CARGO_TARGET_DIR/debug"
    own=$(cargo metadata --no-deps --offline --format-version 1 | grep -o '"name":"[^"]*","version":"[^"]*","id":"path' |
        sed 's/"name":"\([^"]*\)".*/\1/' | tr - _ | sort -u | paste -sd '|')'|suite'
    for part in build deps .fingerprint; do
        mkdir "$CARGO_TARGET_DIR/debug/$part"
        (cd "$root/target/debug/$part" && find . -mindepth 1 -maxdepth 1 -print0 |
            grep -zvE "^\./(lib)?($(sed 's/_/[-_]/g' <<< "$own"))-[0-9a-f]{16}" |
            xargs -0 cp -a -t "$CARGO_TARGET_DIR/debug/$part")
    done
fi

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
# With new times: what an earlier run built, with a bug or in another folder, is not taken for what these sources give.
git ls-files -z --cached --others --exclude-standard | tar --null --files-from=- -c | tar -x -m -C "$copy"
cd "$copy"

run() { # a test, what cargo needs beside it, and what runs cargo
    case $1 in
        deploy/* | lab/* | .ci/*) [[ ${2:-} == --no-run ]] || eval "$1" ;;
        *) eval "${3:-} cargo test --quiet ${2:-} $1" ;;
    esac
}

shopt -s nullglob
patches=("$root/lab/planted-bugs/$group/"*"$only"*.patch)
((${#patches[@]})) || { echo "no such bugs: lab/planted-bugs/$group/*$only*.patch" >&2; exit 2; }

# All tests pass without a bug: asked first, so that each bug costs one build and not two.
declare -A passes
for patch in "${patches[@]}"; do
    test=$(sed -n 's/^Test: //p' "$patch")
    [[ -z ${passes[$test]:-} ]] || continue
    if ! (run "$test") >without.log 2>&1; then
        cat without.log
        echo "$(basename "$patch" .patch): its test fails without the bug: $test"
        exit 1
    fi
    # A name that finds no test passes, too.
    if grep -q '^test result: ' without.log && ! grep -q '^test result: ok\. [1-9]' without.log; then
        echo "$(basename "$patch" .patch): there is no such test: $test"
        exit 1
    fi
    passes[$test]=yes
done

failed=0
for patch in "${patches[@]}"; do
    name=$(basename "$patch" .patch)
    test=$(sed -n 's/^Test: //p' "$patch")
    git apply --recount "$patch"
    if ! (run "$test" --no-run) >build.log 2>&1; then
        cat build.log
        echo "$name: does not compile"
        failed=1
    elif (run "$test" "" "timeout 300") >with.log 2>&1; then
        echo "$name: NOT FOUND by $test"
        failed=1
    else
        echo "$name: found by $test"
    fi
    git apply --recount --reverse "$patch"
done
exit $failed
