#!/usr/bin/env bash
# Runs whatever stands in benches/, one after the other: each compares Chorion with its peers and prints ratios.
# A bench that fails does not keep the others from running; its name is given at the end, with a status to match.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/target/venv/bin:$PATH"
# Where benches look for peers from PyPI.
ln -sfn venv target/peers
failed=()
found=no
for bench in benches/*.sh benches/*.py; do
    [ -e "$bench" ] || continue
    found=yes
    printf '\n== %s\n' "$bench"
    case $bench in
    *.py) target/venv/bin/python "$bench" || failed+=("$bench") ;;
    *.sh) bash "$bench" || failed+=("$bench") ;;
    esac
done
if [ $found = no ]; then
    echo "error: there is nothing in benches/ to run" >&2
    exit 1
fi
if [ ${#failed[@]} -gt 0 ]; then
    printf 'error: these benches failed: %s\n' "${failed[*]}" >&2
    exit 1
fi
