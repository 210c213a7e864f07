#!/usr/bin/env bash
# Runs each fuzz target of fuzz/ for some seconds. Needs cargo-fuzz and a nightly toolchain, which nothing else here does.
#
#   testing/run_fuzzers.sh [SECONDS]
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
if ! [ -e fuzz/Cargo.toml ]; then
    echo "error: there are no fuzz targets in fuzz/" >&2
    exit 1
fi
if ! cargo fuzz --version >/dev/null 2>&1; then
    printf 'error: cargo-fuzz is not here\n\nhint: cargo install --locked cargo-fuzz, and rustup toolchain install nightly\n' >&2
    exit 3
fi
for target in $(cargo +nightly fuzz list); do
    printf '== %s, %s s\n' "$target" "$seconds"
    cargo +nightly fuzz run "$target" -- -max_total_time="$seconds" -rss_limit_mb=2048
done
