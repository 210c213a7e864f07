#!/usr/bin/env bash
# Builds what browsers run: the authenticator, and the website's pages that open files. Modules, what makes scripts of them, pages.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --locked --quiet --profile wasm --target wasm32-unknown-unknown --package authenticator --package opener
cargo build --locked --quiet --manifest-path web/bindgen/Cargo.toml --target-dir "${CHORION_WEB_TOOLS:-target}/bindgen"
node web/build.mjs
