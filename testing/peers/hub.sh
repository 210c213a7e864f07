#!/usr/bin/env bash
# Lets other programs judge a running hub, one after the other: sslscan and testssl.sh its TLS; schemathesis its calls, unsigned and signed by a
# second implementation, as its own document describes them; aiosmtpd its mail; crypt4gh what is imported.
#
#   testing/peers/hub.sh target/debug/chorion
set -euo pipefail
cd "$(dirname "$0")/../.."
chorion=$PWD/${1:-target/debug/chorion}
peers=$PWD/testing/peers
bin=$PWD/target/venv/bin
work=$(mktemp -d)
export CHORION_HOME=$work/ada
jobs=()
finish() {
    for job in "${jobs[@]}"; do kill "$job" 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"; }
until_there() { for _ in $(seq 600); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; echo "error: $* did not come" >&2; exit 1; }

mail=$(free_port)
mkdir "$work/mails"
"$bin/python" "$peers/mail_server.py" "$mail" "$work/mails" &
jobs+=($!)
"$chorion" --json serve --data "$work/hub" --listen 127.0.0.1:0 --vaults 0 \
    --smtp-url "smtp://127.0.0.1:$mail" --smtp-from hub@chorion.example >"$work/started.json" 2>"$work/hub.log" &
jobs+=($!)
until_there field "$work/started.json" url
url=$(field "$work/started.json" url)
ca=$(field "$work/started.json" ca_file)
"$chorion" login --hub "$url" --ca "$ca" --code "$(field "$work/started.json" one_time_code)" --name Ada

echo "== sslscan"
sslscan --xml=- "${url#https://}" | python3 "$peers/tls_scan.py"

echo "== testssl.sh"
# The server's protocols, ciphers, secrecy, preference, certificate, headers and known weaknesses; it ends with their number.
testssl --quiet --color 0 --warnings off --ip 127.0.0.1 --add-ca "$ca" --jsonfile "$work/testssl.json" \
    -p -s -f -P -S -h -U "${url#https://}" >"$work/testssl.log" 2>&1 || true
python3 "$peers/tls_testssl.py" "$work/testssl.json" || { cat "$work/testssl.log"; exit 1; }

echo "== crypt4gh seals reads to us, and they are imported"
"$chorion" --json project create "exomes" >"$work/project.json"
project=$(field "$work/project.json" id)
"$bin/crypt4gh-keygen" --sk "$work/me.sec" --pk "$work/me.pub" --nocrypt -f 2>/dev/null
python3 -c 'for n in range(20000): print(f"@r{n}\nGATTACA\n+\nFFFFFFF")' >"$work/plain.fastq"
"$bin/crypt4gh" encrypt --sk "$work/me.sec" --recipient_pk "$work/me.pub" <"$work/plain.fastq" >"$work/reads.fastq.c4gh" 2>/dev/null
"$chorion" --json sample import "$work/reads.fastq.c4gh" --crypt4gh-key "$work/me.sec" --project "$project" --name one >"$work/sample.json"
"$chorion" sample download "$(field "$work/sample.json" id)" -o "$work/back" >/dev/null
cmp "$work/plain.fastq" "$work/back/reads.fastq"
[ "$(field "$work/sample.json" reads)" = 20000 ]
echo "20000 reads, byte for byte"

echo "== aiosmtpd takes a mail"
"$chorion" notice mail --to ada@example.org
openssl genpkey -algorithm ed25519 -out "$work/spare.pem"
"$chorion" key add "$(openssl pkey -in "$work/spare.pem" -pubout -outform DER | tail -c 32 | base64)" --name spare >/dev/null
until_there test -e "$work/mails/1"
grep -q "^Something waits for you at $url" "$work/mails/1"
if grep -q "Ada\|exomes\|spare\|$project" "$work/mails/1"; then echo "error: the mail says too much" >&2; exit 1; fi
"$chorion" notice list --unread

# Every call of the document, with data that fits it and data that does not.
options=(--config-file "$peers/schemathesis.toml" run "$url/openapi.json" --url "$url" --tls-verify "$ca" --no-color --seed 1 --generation-database none --max-examples "${EXAMPLES:-6}"
    --request-timeout 30)
export SCHEMATHESIS_HOOKS=schemathesis_hooks PYTHONPATH=$peers
CHORION_OPEN=$(sed -n 's/^| `[A-Z]* \([^`]*\)`.*/\1/p' spec/unsigned.md | tr '\n' ' ')
export CHORION_OPEN
# It leaves a cache where it is started.
cd "$work"
echo "== schemathesis, unsigned"
CHORION_HOME='' "$bin/schemathesis" "${options[@]}" --phases fuzzing \
    --checks not_a_server_error,refusals_are_problem_documents,unsigned_calls_are_refused >"$work/unsigned.log" || { cat "$work/unsigned.log"; exit 1; }
grep -A1 "^Test cases" "$work/unsigned.log"
echo "== schemathesis, signed"
# All checks but four. A call that is not there is not found, whatever its method, and OPTIONS answers the same for every path
# (spec/unsigned.md). Data of the right types may still be refused: a key has to be one, an id has to be known. That nothing
# answers without a signature is what the pass before was for. It must not saw off its own key or account,
# and `approval_changes` answers for minutes.
"$bin/schemathesis" "${options[@]}" --exclude-operation-id key_revoke --exclude-operation-id account_disable --exclude-operation-id approval_changes \
    --phases examples,coverage,fuzzing --checks all \
    --exclude-checks unsupported_method,allow_header_conformance,positive_data_acceptance,ignored_auth >"$work/signed.log" || { cat "$work/signed.log"; exit 1; }
grep -A1 "^Test cases" "$work/signed.log"
