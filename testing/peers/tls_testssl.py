"""Reads what testssl.sh found of a hub and fails on whatever it does not call good, but for what stands here with its reason.

    testssl --jsonfile FILE HOST:PORT; python3 tls_testssl.py FILE
"""

import json
import sys

GOOD = {"OK", "INFO"}
# What it finds wanting and is so on purpose, or says something of this machine and not of the hub.
KNOWN = {
    "engine_problem": "Debian's OpenSSL has no GOST, of which nothing is asked",
    "sessionresumption_ticket": "a WARN is of its own client, which got no session in time; a resumed session exchanges keys anew all the same",
    "cert_revocation": "the hub's own authority signs one certificate for 90 days and revokes none: a new one takes its place",
    "DNS_CAArecord": "localhost has no record in the DNS",
    "HSTS": "not for localhost, where it would bind every other program of the machine (crates/hub/src/site/visit.rs)",
}
# What must have been looked at, so that a scan that was cut off does not pass.
MUST = {
    "SSLv2": "not offered",
    "SSLv3": "not offered",
    "TLS1": "not offered",
    "TLS1_1": "not offered",
    "TLS1_2": "not offered",
    "TLS1_3": "offered with final",
    "PFS_ciphers": "TLS_AES_256_GCM_SHA384",
    "cipherorder_TLSv1_3": "TLS_AES_256_GCM_SHA384",
    "cert_chain_of_trust": "passed.",
    "heartbleed": "not vulnerable, no heartbeat extension",
    "secure_client_renego": "not vulnerable, TLS 1.3 only",
    "LUCKY13": "not vulnerable, TLS 1.3 only",
}


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        findings = {finding["id"]: finding for finding in json.load(file)}
    wrong = [
        f"{name}: {finding['severity']}: {finding['finding']}"
        for name, finding in findings.items()
        if finding["severity"] not in GOOD and name not in KNOWN
    ]
    for name, expected in MUST.items():
        found = findings.get(name, {}).get("finding", "was not looked at").strip()
        if found != expected:
            wrong.append(f"{name}: {found}, not {expected}")
    good = sum(finding["severity"] == "OK" for finding in findings.values())
    known = [name for name in KNOWN if name in findings and findings[name]["severity"] not in GOOD]
    print(f"{len(findings)} findings, {good} good; known and meant so: {', '.join(known)}")
    if wrong:
        sys.exit("error: not as it should be:\n" + "\n".join(wrong))


if __name__ == "__main__":
    main()
