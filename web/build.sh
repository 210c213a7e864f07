#!/usr/bin/env bash
# Builds the authenticator for a browser: the module, what makes a script of it, and the pages.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --locked --quiet --profile wasm --target wasm32-unknown-unknown --package authenticator
cargo build --locked --quiet --manifest-path web/bindgen/Cargo.toml --target-dir "${CHORION_WEB_TOOLS:-target}/bindgen"
node web/build.mjs
