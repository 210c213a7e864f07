#!/usr/bin/env bash
# Keeps what a hub of this release leaves on a disk: testing/releases/VERSION.tar.gz. A later release must open it, bring it to its own
# version and read every file in it; journeys/upgraded.rs tries that. Made once for each release, with the program that is released:
#
#   testing/keep_release.sh target/release/chorion
#
# Its keys are in it. They open nothing but what this script drew.
set -euo pipefail
cd "$(dirname "$0")/.."
chorion=$(realpath "${1:-target/debug/chorion}")
version=$("$chorion" --version | awk '{ print $2 }')
desk=$(mktemp -d)
trap 'kill "${hub:-}" 2>/dev/null || true; rm -rf "$desk"' EXIT
export CHORION_HOME=$desk/ada CHORION_PASSPHRASE='a story told on loopback'

field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

mkdir -p "$desk/run/Data/Intensities/BaseCalls/L001"
echo '<RunInfo/>' >"$desk/run/RunInfo.xml"
touch "$desk/run/CopyComplete.txt"
for number in 1 2 3; do
    head -c 40000 /dev/urandom >"$desk/run/Data/Intensities/BaseCalls/L001/s_1_110$number.filter"
done

"$chorion" serve --json --data "$desk/hub" --vaults 0 --listen 127.0.0.1:0 >"$desk/hub.json" 2>"$desk/hub.log" &
hub=$!
for _ in $(seq 200); do
    field url <"$desk/hub.json" >/dev/null 2>&1 && break
    sleep 0.1
done
"$chorion" login --hub "$(field url <"$desk/hub.json")" --ca "$(field ca_file <"$desk/hub.json")" --code "$(field one_time_code <"$desk/hub.json")" --name ada >&2
project=$("$chorion" project create exomes --json | field id)
phrase=$("$chorion" project card "$project" --json | field phrase)
send=(run send "$desk/run" --project "$project" --card-phrase "$phrase" --no-demultiplex --poll-seconds 1 --json)
"$chorion" "${send[@]}" >/dev/null
# What is deleted in an old release stays deleted in a new one.
gone=$("$chorion" "${send[@]}" --again | field id)
"$chorion" run delete "$gone" --yes run >&2
kill -TERM "$hub"
wait "$hub"

mkdir -p testing/releases
echo "$gone" >"$desk/deleted"
tar --sort=name --owner=0 --group=0 --numeric-owner -C "$desk" -czf "testing/releases/$version.tar.gz" ada hub hub.keys run deleted
echo "testing/releases/$version.tar.gz"
