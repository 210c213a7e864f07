#!/usr/bin/env bash
# Builds what browsers run here and in a second folder, with a target folder of its own, and compares the hashes of all files.
# What makes the script (bindgen, npm packages) is built once.
set -euo pipefail
cd "$(dirname "$0")/.."
web/build.sh
here=$PWD
other=$(mktemp -d)
trap 'rm -rf "$other"' EXIT
mkdir "$other/elsewhere"
# What is here, committed or not, without what was built.
git ls-files -z --cached --others --exclude-standard | tar --create --null --files-from=- --ignore-failed-read | tar --extract --directory "$other/elsewhere"
CHORION_WEB_TOOLS="$here/target" "$other/elsewhere/web/build.sh"
for pages in authenticator site; do
    if ! diff "$here/target/web/$pages/hashes.txt" "$other/elsewhere/target/web/$pages/hashes.txt"; then
        echo "error: two builds of $pages differ" >&2
        exit 1
    fi
done
echo "reproducible: two folders gave the same bytes, hashes.txt $(sha256sum <target/web/authenticator/hashes.txt | cut -c1-64)"
