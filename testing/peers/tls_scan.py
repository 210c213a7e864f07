"""Reads what sslscan found of a hub and fails on anything but TLS 1.3 with AES-256.

    sslscan --xml=- HOST:PORT | python3 tls_scan.py
"""

import sys
import xml.etree.ElementTree as ElementTree


def main():
    test = ElementTree.fromstring(sys.stdin.buffer.read()).find("ssltest")
    if test is None:
        sys.exit("error: sslscan reached no server")
    on = [p.get("version") for p in test.findall("protocol") if p.get("enabled") == "1"]
    ciphers = [(c.get("sslversion"), c.get("cipher")) for c in test.findall("cipher")]
    found = {
        "protocols": (on, ["1.3"]),
        "ciphers": (ciphers, [("TLSv1.3", "TLS_AES_256_GCM_SHA384")]),
        # Debian's OpenSSL cannot ask for compression, and sslscan then leaves it out; TLS 1.3 has none.
        "compression": (one(test, "compression", "supported") or "0", "0"),
        "renegotiation": (one(test, "renegotiation", "supported"), "0"),
        "heartbleed": ([h.get("sslversion") for h in test.findall("heartbleed") if h.get("vulnerable") == "1"], []),
    }
    wrong = {what: got for what, (got, expected) in found.items() if got != expected}
    groups = [g.get("name") for g in test.findall("group")]
    print(f"TLS {', '.join(on)}; {', '.join(name for _, name in ciphers)}; groups {', '.join(groups)}")
    weak = [name for name in groups if name.split()[0] not in ("x25519", "secp384r1")]
    if wrong or weak:
        sys.exit(f"error: not as it should be: {wrong} {weak}")


def one(test, tag, attribute):
    element = test.find(tag)
    return None if element is None else element.get(attribute)


if __name__ == "__main__":
    main()
