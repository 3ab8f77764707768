#!/usr/bin/env bash
# Plants the bugs of planted-bugs/<group>/*.patch into a copy of the sources, one at a time, and runs the test
# that each patch names in its "Test:" line: it must pass without the bug and fail with it.
# Usage: scripts/planted-bugs.sh <group> [<part of a patch's name>]
set -euo pipefail
cd "$(dirname "$0")/.."
group=$1 only=${2:-}
root=$PWD
# Not target itself: the copy's crates bear the names of ours, and cargo would take one for the other.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target/planted-bugs} RUST_BACKTRACE=0

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z --cached --others --exclude-standard | tar --null --files-from=- -c | tar -x -C "$copy"
cd "$copy"

shopt -s nullglob
patches=("$root/planted-bugs/$group/"*"$only"*.patch)
((${#patches[@]})) || { echo "no such bugs: planted-bugs/$group/*$only*.patch" >&2; exit 2; }

# All tests pass without a bug: asked first, so that each bug costs one build and not two.
declare -A passes
for patch in "${patches[@]}"; do
    test=$(sed -n 's/^Test: //p' "$patch")
    [[ -z ${passes[$test]:-} ]] || continue
    if ! (eval "cargo test --quiet $test") >without.log 2>&1; then
        cat without.log
        echo "$(basename "$patch" .patch): its test fails without the bug: $test"
        exit 1
    fi
    passes[$test]=yes
done

failed=0
for patch in "${patches[@]}"; do
    name=$(basename "$patch" .patch)
    test=$(sed -n 's/^Test: //p' "$patch")
    git apply --recount "$patch"
    if ! (eval "cargo test --quiet --no-run $test") >build.log 2>&1; then
        cat build.log
        echo "$name: does not compile"
        failed=1
    elif (eval "timeout 300 cargo test --quiet $test") >with.log 2>&1; then
        echo "$name: NOT FOUND by $test"
        failed=1
    else
        echo "$name: found by $test"
    fi
    git apply --recount --reverse "$patch"
done
exit $failed
