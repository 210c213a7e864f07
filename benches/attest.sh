#!/usr/bin/env bash
# A whole appraisal of evidence beside the signature checks it cannot do without, and beside the sev crate.
set -euo pipefail
cd "$(dirname "$0")/.."
exec cargo run --locked --release --quiet --package attest --example bench -- "$@"
