"""Makes the vectors of this folder from spec/key-derivation.md and spec/typed-data.md: a second implementation, not the Rust code.

    python3 vectors/identity/generate.py

Needs pyca/cryptography 50.0.2, argon2-cffi 25.1.0 and eth-account 0.14.0.
"""

import base64
import datetime
import hashlib
import hmac
import json
import pathlib
import struct
import unicodedata

from argon2.low_level import Type, hash_secret_raw
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from eth_account import Account
from eth_account.messages import encode_typed_data, _hash_eip191_message

HERE = pathlib.Path(__file__).parent
CREATED = 1735689600
PURPOSE = int.from_bytes(b"CHOR", "big")
Account.enable_unaudited_hdwallet_features()


def words_of(entropy):
    words = []
    path = pathlib.Path(__import__("eth_account").__file__).parent / "hdaccount/wordlist/english.txt"
    words = path.read_text().split()
    bits = bin(int.from_bytes(entropy, "big"))[2:].zfill(128)
    bits += bin(hashlib.sha256(entropy).digest()[0])[2:].zfill(8)[:4]
    return " ".join(words[int(bits[at:at + 11], 2)] for at in range(0, 132, 11))


def seed_of(words, passphrase):
    salt = "mnemonic" + unicodedata.normalize("NFKD", passphrase)
    return hashlib.pbkdf2_hmac("sha512", words.encode(), salt.encode(), 2048)


def role(seed, number, name):
    node = hmac.new(b"ed25519 seed", seed, hashlib.sha512).digest()
    for step in (PURPOSE, number):
        data = b"\0" + node[:32] + struct.pack(">I", step | 1 << 31)
        node = hmac.new(node[32:], data, hashlib.sha512).digest()
    info = b"chorion identity v1 " + name.encode()
    return HKDF(hashes.SHA256(), 32, None, info).derive(node[:32])


def raw(key):
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def xwing_public(seed):
    grown = hashlib.shake_256(seed).digest(96)
    pq = mlkem.MLKEM768PrivateKey.from_seed_bytes(grown[:64])
    return raw(pq) + raw(x25519.X25519PrivateKey.from_private_bytes(grown[64:]))


def mpi(data):
    number = int.from_bytes(data, "big")
    return struct.pack(">H", number.bit_length()) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def packet(tag, body):
    assert len(body) < 8384
    length = bytes([len(body)]) if len(body) < 192 else struct.pack(">H", len(body) - 192 + (192 << 8))
    return bytes([0xC0 | tag]) + length + body


def subpackets(*pairs):
    return b"".join(bytes([len(content) + 1, kind]) + content for kind, content in pairs)


def openpgp(sign, decrypt):
    head = b"\x04" + struct.pack(">I", CREATED)
    point, other = raw(sign), raw(decrypt)
    primary = head + bytes.fromhex("16092B06010401DA470F01") + mpi(b"\x40" + point)
    subkey = head + bytes.fromhex("120A2B060104019755010501") + mpi(b"\x40" + other) + bytes.fromhex("03010A09")
    keyed = lambda body: b"\x99" + struct.pack(">H", len(body)) + body
    fingerprint = hashlib.sha1(keyed(primary)).digest()
    user_id = b"chorion " + hashlib.sha256(point).hexdigest()[:16].encode()

    def signature(kind, about, covered):
        hashed = subpackets((33, b"\x04" + fingerprint), (2, struct.pack(">I", CREATED)), *about)
        covered_head = bytes([4, kind, 22, 10]) + struct.pack(">H", len(hashed)) + hashed
        digest = hashlib.sha512(covered + covered_head + b"\x04\xff" + struct.pack(">I", len(covered_head))).digest()
        value = sign.sign(digest)
        issuer = subpackets((16, fingerprint[12:]))
        unhashed = struct.pack(">H", len(issuer)) + issuer
        return packet(2, covered_head + unhashed + digest[:2] + mpi(value[:32]) + mpi(value[32:]))

    about_id = [(27, b"\x03"), (25, b"\x01"), (11, b"\x09"), (21, b"\x0a\x08"), (22, b"\x02\x01\x00"), (30, b"\x01"), (23, b"\x80")]
    certificate = (
        packet(6, primary) + packet(13, user_id)
        + signature(0x13, about_id, keyed(primary) + b"\xb4" + struct.pack(">I", len(user_id)) + user_id)
        + packet(14, subkey) + signature(0x18, [(27, b"\x0c")], keyed(primary) + keyed(subkey))
    )
    return fingerprint, certificate


def client_certificate(key):
    digest = hashlib.sha256(raw(key)).digest()
    serial = bytes([digest[0] & 0x7F | 0x40]) + digest[1:16]
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "chorion " + digest.hex()[:16])])
    at = lambda *when: datetime.datetime(*when, tzinfo=datetime.timezone.utc)
    usage = dict.fromkeys(
        ["content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign",
         "crl_sign", "encipher_only", "decipher_only"], False)
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(int.from_bytes(serial, "big"))
        .not_valid_before(at(2025, 1, 1)).not_valid_after(at(9999, 12, 31, 23, 59, 59))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, **usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier(digest[:20]), critical=False)
    )
    return builder.sign(key, None).public_bytes(Encoding.DER)


def write(name, document):
    (HERE / f"{name}.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def person(name, entropy, passphrase):
    words = words_of(entropy)
    seed = seed_of(words, passphrase)
    ed = lambda number, what: ed25519.Ed25519PrivateKey.from_private_bytes(role(seed, number, what))
    account = Account.from_mnemonic(words, passphrase=passphrase)
    fingerprint, certificate = openpgp(
        ed(2, "openpgp-sign"), x25519.X25519PrivateKey.from_private_bytes(role(seed, 3, "openpgp-decrypt")))
    ssh = ed(5, "ssh").public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    write(name, {
        "kind": "person",
        "words": words,
        "passphrase": passphrase,
        "entropy": entropy.hex(),
        "card": raw(ed(0, "card")).hex(),
        "sealing": xwing_public(role(seed, 1, "sealing")).hex(),
        "ethereum": account.address,
        "message": "GATTACA",
        "message_signature": account.sign_message(
            __import__("eth_account").messages.encode_defunct(text="GATTACA")).signature.hex().removeprefix("0x"),
        "openpgp_fingerprint": fingerprint.hex(),
        "openpgp_certificate": certificate.hex(),
        "x509": client_certificate(ed(4, "x509-client")).hex(),
        "ssh": ssh,
    })
    return raw(ed(0, "card"))


def identity_files(entropy, card):
    cost = (64, 1, 1)
    salt = bytes(range(16))
    head = b"\x01" + struct.pack(">III", *cost) + salt
    key = hash_secret_raw(b"file", salt, cost[1], cost[0], cost[2], 32, Type.ID)

    def line(content, check=None):
        check = hashlib.sha256(content).digest()[:4] if check is None else check
        return "chorion-identity1" + base64.b32encode(content + check).decode().lower().rstrip("=")

    def content(plain=entropy + b"\0" + card, label=b"chorion identity file v1\0", head=head):
        return head + AESGCM(key).encrypt(bytes(12), plain, label + head)

    valid = content()
    flipped = bytes([*valid[:40], valid[40] ^ 1, *valid[41:]])
    cases = {
        "valid": (f"# for people\n{line(valid)}\n", "file", "opens"),
        "wrong-passphrase": (line(valid), "File", "does not open"),
        "flipped": (line(flipped), "file", "does not open"),
        "other-label": (line(content(label=b"")), "file", "does not open"),
        "no-check": (line(valid, b"\0\0\0\0"), "file", "unreadable"),
        "two-lines": (f"{line(valid)}\n{line(valid)}", "file", "unreadable"),
        "no-line": ("# nothing\n", "file", "unreadable"),
        "form": (line(b"\x02" + valid[1:]), "file", "unreadable"),
        "short": (line(valid[:-1]), "file", "unreadable"),
        "cost": (line(b"\x01" + struct.pack(">III", 1 << 31, 1, 1) + valid[13:]), "file", "does not open"),
        "flag": (line(content(entropy + b"\2" + card)), "file", "does not open"),
        "other-card": (line(content(entropy + b"\0" + bytes(32))), "file", "other person"),
    }
    for name, (text, passphrase, expect) in cases.items():
        write(f"identity-file-{name}", {
            "kind": "identity file", "text": text, "passphrase": passphrase, "expect": expect,
            "entropy": entropy.hex(),
        })


def typed_data():
    member = lambda kind, name: {"type": kind, "name": name}
    document = {
        "types": {
            "EIP712Domain": [member("string", "name"), member("string", "version")],
            "Statement": [member("string", "kind"), member("Fields", "fields"), member("bytes32", "digest")],
            "Fields": [
                member("int256", "count"), member("string[]", "empty"), member("Fields_inner", "inner"),
                member("string[]", "mixed"), member("string[]", "names"), member("bool", "test"),
            ],
            "Fields_inner": [member("string", "none")],
        },
        "primaryType": "Statement",
        "domain": {"name": "Chorion", "version": "1"},
    }
    fields = {"count": 3, "empty": [], "inner": {"none": None}, "mixed": [1, "a"], "names": ["é", "b"], "test": True}
    text = "chorion test v1\n" + json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
    shown = dict(fields, inner={"none": "none"}, mixed=["1", '"a"'])
    document["message"] = {
        "kind": "chorion test v1", "fields": shown,
        "digest": "0x" + hashlib.sha256(text.encode()).hexdigest(),
    }
    digest = _hash_eip191_message(encode_typed_data(full_message=document))
    write("typed-data-statement", {
        "kind": "typed data", "statement": text, "document": document, "digest": bytes(digest).hex(),
    })


card = person("person", bytes(range(16)), "")
person("person-with-passphrase", bytes([0x5A] * 16), "Wörter sind länger")
identity_files(bytes(range(16)), card)
typed_data()
