"""Makes the vectors of this folder and of tlog/ and rfc6962/ from spec/audit-log.md: a second implementation, not the Rust code.

    python3 vectors/audit-leaf/generate.py

Needs pyca/cryptography.
"""

import base64
import hashlib
import hmac
import json
import pathlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HERE = pathlib.Path(__file__).parent


def sha256(data):
    return hashlib.sha256(data).digest()


def write(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


# Leaves


def commitment(event):
    leaf = event["leaf"]
    fields = {
        "act": event["act"], "actor": event["actor"], "approval": leaf["approval"], "at": event["at"],
        "event": event["id"], "evidence": leaf["evidence"], "object": event["object"], "outcome": event["outcome"],
        "owner": leaf["owner"], "purpose": leaf["purpose"], "reason": event["reason"], "request": event["request_id"],
        "salt": leaf["salt"], "statement": leaf["statement"],
    }
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(b"chorion audit leaf v1\n" + text.encode()).hex()


def purpose(salt, words):
    return sha256(f"chorion audit purpose v1\n{salt}\n{words}".encode()).hex()


def event(**changes):
    salt = sha256(b"purpose salt").hex()
    made = {
        "id": "0193a000-0000-7000-8000-000000000001", "at": "2027-01-15T08:00:00.123456Z",
        "actor": "vault:0193a000-0000-7000-8000-000000000002", "act": "key.release",
        "object": "dataset:0193a000-0000-7000-8000-000000000003", "purpose": "app", "outcome": "intended",
        "reason": None, "request_id": "0193a000-0000-7000-8000-000000000004",
        "leaf": {
            "index": 7, "salt": sha256(b"salt").hex(), "owner": sha256(b"owner").hex(),
            "purpose": purpose(salt, "app"), "purpose_salt": salt, "approval": None,
            "evidence": sha256(b"evidence").hex(), "statement": None,
        },
    }
    for name, value in changes.items():
        (made["leaf"] if name in made["leaf"] else made)[name] = value
    return made


def case(name, why, expect, event, commitment):
    write(HERE / f"{name}.json", {"why": why, "expect": expect, "event": event, "commitment": commitment})


valid = commitment(event())
case("valid", "a release to a vault", "fits", event(), valid)
bare = event(request_id=None, evidence=None, owner=None, actor="hub", act="task.lost", outcome="failed", reason="task_failed")
bare["purpose"] = bare["leaf"]["purpose"] = bare["leaf"]["purpose_salt"] = None
case("valid-nothing-said", "nothing that may be absent is there", "fits", bare, commitment(bare))
case("other-salt", "one bit of the salt differs", "refused", event(salt=sha256(b"salt")[:31].hex() + f"{sha256(b'salt')[31] ^ 1:02x}"), valid)
case("other-outcome", "the outcome was changed", "refused", event(outcome="done"), valid)
changed = event()
changed["purpose"] = "download"
case("other-purpose", "the purpose is not the one with that digest", "refused", changed, valid)

key, account = sha256(b"pseudonym key"), "0193a000-0000-7000-8000-000000000005"
mac = hmac.new(key, f"chorion audit owner v1\n{account}".encode(), hashlib.sha256).hexdigest()
write(HERE / "pseudonym.json", {"key": key.hex(), "account": account, "pseudonym": mac})

# Notes


def vkey(name, kind, public):
    return f"{name}+{key_id(name, kind, public).hex()}+{base64.b64encode(bytes([kind]) + public).decode()}"


def key_id(name, kind, public):
    return sha256(name.encode() + b"\n" + bytes([kind]) + public)[:4]


def line(name, kind, public, signature):
    return f"— {name} {base64.b64encode(key_id(name, kind, public) + signature).decode()}\n"


def raw(secret):
    return secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


log, witness = (Ed25519PrivateKey.from_private_bytes(sha256(seed)) for seed in (b"log", b"witness"))
origin, name = "chorion/audit/0193a000-0000-7000-8000-000000000006", "witness.example/w1"
text = f"{origin}\n70000\n{base64.b64encode(sha256(b'root')).decode()}\n"
signed = line(origin, 1, raw(log), log.sign(text.encode()))
time = 1_800_000_000
stamp = time.to_bytes(8, "big") + witness.sign(f"cosignature/v1\ntime {time}\n{text}".encode())
cosigned = line(name, 4, raw(witness), stamp)
late = line(name, 4, raw(witness), (time + 1).to_bytes(8, "big") + stamp[8:])
plain = line(name, 4, raw(witness), time.to_bytes(8, "big") + witness.sign(text.encode()))
neumann = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
neumann_line = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
neumann_key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"


def note(what, key, text, lines, verifies=True):
    return {"name": what, "key": key, "note": f"{text}\n{lines}", "verifies": verifies}


write(HERE.parent / "tlog" / "notes.json", [
    note("the example of golang.org/x/mod/sumdb/note", neumann_key, neumann, neumann_line),
    note("the same over another text", neumann_key, neumann.replace("your", "our"), neumann_line, False),
    note("a checkpoint", vkey(origin, 1, raw(log)), text, signed),
    note("a checkpoint of another size", vkey(origin, 1, raw(log)), text.replace("70000", "70001"), signed, False),
    note("a cosignature", vkey(name, 4, raw(witness)), text, signed + cosigned),
    note("a cosignature of another time", vkey(name, 4, raw(witness)), text, signed + late, False),
    note("a cosignature over the text alone", vkey(name, 4, raw(witness)), text, signed + plain, False),
])

# Trees: entries and every hash as transparency-dev/merkle has them in testonly/constants.go; computed here by RFC 6962 section 2.1.


def mth(entries):
    if not entries:
        return sha256(b"")
    if len(entries) == 1:
        return sha256(b"\0" + entries[0])
    k = 1 << (len(entries) - 1).bit_length() - 1
    return sha256(b"\1" + mth(entries[:k]) + mth(entries[k:]))


entries = [bytes.fromhex(e) for e in
           ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]]
roots = [mth(entries[:n]).hex() for n in range(9)]
assert roots[7] == "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c", "the published root of seven leaves"
assert roots[8] == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328", "the published root of eight leaves"
write(HERE.parent / "rfc6962" / "tree.json", {
    "entries": [entry.hex() for entry in entries],
    "nodes": [[mth(entries[at:at + (1 << level)]).hex() for at in range(0, 8, 1 << level)] for level in range(4)],
    "roots": roots,
})
