#!/usr/bin/env bash
# Runs all tests of the workspace, or those with one of some words in their name, and ends with the runner's own summary.
#
#   testing/run_tests.sh [WORD...]
#
# nextest where it is here, else cargo test. Doc tests first, and only if there are any, so that the summary of all others is last.
set -euo pipefail
cd "$(dirname "$0")/.."

# Real run folders that may not be bundled are tested where they are; tests say `skipped: not here` otherwise.
if [ -z "${CHORION_TEST_DATA:-}" ] && [ -d ../shared/data/runs ]; then
    CHORION_TEST_DATA=$(cd ../shared/data && pwd)
    export CHORION_TEST_DATA
fi

if [ $# -eq 0 ]; then
    # A doc test is a fence that opens in a doc comment without a language, or with `rust` and its variants.
    found=$(find crates -path '*/src/*.rs' -print0 | xargs -0 awk '
        FNR == 1 { inside = 0 }
        /^[ \t]*\/\/[\/!] *```/ {
            if (inside) { inside = 0; next }
            inside = 1
            sub(/^[^`]*```/, "")
            if ($0 ~ /^(rust|should_panic|no_run|compile_fail)?([, ].*)?$/) { print FILENAME; exit }
        }' | head -1)
    # Of the whole workspace even for one: a part of it would want its dependencies with fewer features, and so once more.
    [ -z "$found" ] || cargo test --locked --quiet --doc --workspace
fi

if cargo nextest --version >/dev/null 2>&1; then
    options=(--workspace --locked)
    [ -z "${CI:-}" ] || options+=(--profile ci)
    exec cargo nextest run "${options[@]}" -- "$@"
fi
echo "note: cargo-nextest is not here, so tests run one binary after the other with cargo test" >&2
exec cargo test --workspace --locked --no-fail-fast --lib --bins --tests -- "$@"
