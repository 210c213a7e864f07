#!/usr/bin/env python3
"""Makes vectors/evidence/made: a chain under roots of our own in AMD's shape, with one fault per file.

Certificates and lists are put together byte by byte from spec/evidence.md section 3, on pyca/cryptography for RSA and P-384: a second
implementation, not the Rust code. The RSA keys are thrown away, so every run makes other files. The key of the VEKs is known (SHA-384
of a sentence), so that tests sign reports of their own with it.

    python3 vectors/evidence/generate.py
"""

import hashlib
import pathlib

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

HERE = pathlib.Path(__file__).resolve().parent / "made"
# The scalar of the VEKs' key; crates/attest/src/tests/made.rs derives the same.
VEK_SECRET = hashlib.sha384(b"chorion test VEK, known to everybody").digest()
CHIP = bytes(range(1, 65))
CHIP_TURIN = bytes(range(1, 9))


def tlv(tag, *parts):
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(digits)]) + digits + content


def seq(*parts):
    return tlv(0x30, *parts)


def oid(text):
    arcs = [int(arc) for arc in text.split(".")]
    out = [arcs[0] * 40 + arcs[1]]
    for arc in arcs[2:]:
        digits = [arc & 0x7F]
        while arc := arc >> 7:
            digits.insert(0, 0x80 | arc & 0x7F)
        out += digits
    return tlv(0x06, bytes(out))


def integer(value):
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def bits(content):
    return tlv(0x03, b"\0", content)


def name(common_name):
    pairs = [("2.5.4.11", "Engineering"), ("2.5.4.10", "Chorion test roots"), ("2.5.4.3", common_name)]
    return seq(*(tlv(0x31, seq(oid(kind), tlv(0x0C, text.encode()))) for kind, text in pairs))


def utc(text):
    return tlv(0x17, text.encode())


SHA384 = seq(oid("2.16.840.1.101.3.4.2.2"), tlv(0x05))
SHA256 = seq(oid("2.16.840.1.101.3.4.2.1"), tlv(0x05))


def pss(hash_=SHA384, salt=48, trailer=b""):
    mgf = seq(oid("1.2.840.113549.1.1.8"), hash_)
    return seq(oid("1.2.840.113549.1.1.10"), seq(tlv(0xA0, hash_), tlv(0xA1, mgf), tlv(0xA2, integer(salt)), trailer))


def signed(key, body, algorithm=None, hash_=None, salt=48):
    hash_ = hash_ or hashes.SHA384()
    signature = key.sign(body, padding.PSS(mgf=padding.MGF1(hash_), salt_length=salt), hash_)
    return seq(body, algorithm or pss(), bits(signature))


def extension(kind, value, critical=False):
    return seq(oid(kind), tlv(0x01, b"\xff") if critical else b"", tlv(0x04, value))


AUTHORITY = [
    extension("2.5.29.19", seq(tlv(0x01, b"\xff"), integer(0)), critical=True),
    extension("2.5.29.15", tlv(0x03, b"\x02\x04"), critical=True),
]
ROOT = [
    extension("2.5.29.15", tlv(0x03, b"\x01\x06"), critical=True),
    extension("2.5.29.19", seq(tlv(0x01, b"\xff")), critical=True),
]
AMD = "1.3.6.1.4.1.3704.1."


def vek_extensions(product="Genoa", tcb=(10, 0, 23, 84), fmc=None, hwid=CHIP, csp=None, more=()):
    out = [extension(AMD + "1", integer(0)), extension(AMD + "2", tlv(0x16, product.encode()))]
    for arc, value in zip(("3.1", "3.2", "3.3", "3.8"), tcb, strict=True):
        out.append(extension(AMD + arc, integer(value)))
    if fmc is not None:
        out.append(extension(AMD + "3.9", integer(fmc)))
    if hwid is not None:
        out.append(extension(AMD + "4", hwid))
    if csp is not None:
        out.append(extension(AMD + "5", tlv(0x16, csp.encode())))
    return out + list(more)


def spki(key):
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def certificate(signer, issuer, subject, key, extensions, valid=("250101000000Z", "330101000000Z"), algorithm=None, **how):
    algorithm = algorithm or pss()
    body = seq(
        tlv(0xA0, integer(2)), integer(how.pop("serial", 0)), algorithm, name(issuer), seq(*map(utc, valid)), name(subject),
        spki(key), tlv(0xA3, seq(*extensions)),
    )  # fmt: skip
    return signed(signer, body, algorithm, **how)


def revocations(signer, issuer, serials, dated=("260101000000Z", "270101000000Z"), more=(), entry_more=b""):
    entries = [seq(integer(serial), utc("260101000000Z"), entry_more) for serial in serials]
    body = seq(
        integer(1), pss(), name(issuer), *map(utc, dated), seq(*entries) if entries else b"",
        tlv(0xA0, seq(extension("2.5.29.20", integer(1)), *more)),
    )  # fmt: skip
    return signed(signer, body)


def main():
    HERE.mkdir(exist_ok=True)
    for old in HERE.glob("*.der"):
        old.unlink()
    root, issuer, other = (rsa.generate_private_key(65537, 4096) for _ in range(3))
    vek = ec.derive_private_key(int.from_bytes(VEK_SECRET, "big"), ec.SECP384R1()).public_key()
    files = {}
    for generation in ("Milan", "Genoa", "Turin"):
        low, ark, long = generation.lower(), f"ARK-{generation}", ("220101000000Z", "470101000000Z")
        files[f"ark-{low}"] = certificate(root, ark, ark, root.public_key(), ROOT, long, serial=1)
        files[f"ask-{low}"] = certificate(root, ark, f"SEV-{generation}", issuer.public_key(), AUTHORITY, long, serial=2)
        files[f"asvk-{low}"] = certificate(root, ark, f"SEV-VLEK-{generation}", issuer.public_key(), AUTHORITY, long, serial=3)

    ark, ask = "ARK-Genoa", "SEV-Genoa"
    long = ("220101000000Z", "470101000000Z")
    files["ask-by-another-root"] = certificate(other, ark, ask, issuer.public_key(), AUTHORITY, long, serial=2)
    files["ark-by-another"] = certificate(other, ark, ark, other.public_key(), ROOT, long, serial=1)
    files["ask-no-authority"] = certificate(root, ark, ask, issuer.public_key(), [extension("2.5.29.19", seq(), critical=True)], long, serial=2)
    files["ask-may-not-sign"] = certificate(
        root, ark, ask, issuer.public_key(), [AUTHORITY[0], extension("2.5.29.15", tlv(0x03, b"\x07\x80"), critical=True)], long, serial=2
    )
    files["ask-exponent-3"] = certificate(root, ark, ask, rsa.generate_private_key(3, 4096).public_key(), AUTHORITY, long, serial=2)
    files["ask-2048-bits"] = certificate(root, ark, ask, rsa.generate_private_key(65537, 2048).public_key(), AUTHORITY, long, serial=2)

    def vcek(label, key=vek, by=ask, subject="SEV-VCEK", signer=issuer, valid=("250101000000Z", "330101000000Z"), how=None, **what):
        files[label] = certificate(signer, by, subject, key, vek_extensions(**what), valid, **(how or {}))

    vcek("vcek-genoa")
    vcek("vcek-genoa-trailer-written", how={"algorithm": pss(trailer=tlv(0xA3, integer(1)))})
    vcek("vcek-genoa-hwid-wrapped", hwid=tlv(0x04, CHIP))
    vcek("vcek-genoa-microcode-219", tcb=(10, 0, 23, 219))
    vcek("vcek-genoa-masked", hwid=bytes(64))
    vcek("vcek-milan", by="SEV-Milan", product="Milan-B0")
    vcek("vcek-turin", by="SEV-Turin", product="Turin", tcb=(1, 0, 4, 81), fmc=0, hwid=CHIP_TURIN)
    vcek("vlek-genoa", by="SEV-VLEK-Genoa", subject="SEV-VLEK", hwid=None, csp="CN=a-cloud.example")
    # From here on one fault each.
    vcek("bad-hwid-63", hwid=CHIP[:63])
    vcek("bad-hwid-8", hwid=CHIP[:8])
    vcek("bad-hwid-wrapped-63", hwid=tlv(0x04, CHIP[:63]))
    vcek("bad-hwid-wrapped-and-more", hwid=tlv(0x04, CHIP) + b"\0")
    vcek("bad-hwid-missing", hwid=None)
    vcek("bad-hwid-other-chip", hwid=CHIP[::-1])
    vcek("bad-product-milan", product="Milan-B0")
    vcek("bad-product-unknown", product="Rome")
    vcek("bad-tcb-older", tcb=(10, 0, 22, 84))
    vcek("bad-tcb-microcode-256", tcb=(10, 0, 23, 256))
    vcek("bad-tcb-fmc", fmc=0)
    vcek("bad-turin-without-fmc", by="SEV-Turin", product="Turin", tcb=(1, 0, 4, 81), hwid=CHIP_TURIN)
    vcek("bad-turin-hwid-64", by="SEV-Turin", product="Turin", tcb=(1, 0, 4, 81), fmc=0, hwid=CHIP_TURIN + bytes(56))
    vcek("bad-extension-twice", more=[extension(AMD + "2", tlv(0x16, b"Genoa"))])
    vcek("bad-extension-critical", more=[extension("1.2.3.4", b"\5\0", critical=True)])
    vcek("bad-vcek-by-asvk", by="SEV-VLEK-Genoa")
    vcek("bad-vlek-by-ask", subject="SEV-VLEK", hwid=None, csp="CN=a-cloud.example")
    vcek("bad-vlek-with-hwid", by="SEV-VLEK-Genoa", subject="SEV-VLEK", csp="CN=a-cloud.example")
    vcek("bad-vlek-without-provider", by="SEV-VLEK-Genoa", subject="SEV-VLEK", hwid=None)
    vcek("bad-signed-by-another", signer=other)
    vcek("bad-signed-by-the-root", signer=root)
    vcek("bad-key-rsa", key=issuer.public_key())
    vcek("bad-key-p256", key=ec.derive_private_key(7, ec.SECP256R1()).public_key())
    vcek("bad-hash-sha256", how={"algorithm": pss(SHA256), "hash_": hashes.SHA256()})
    vcek("bad-salt-32", how={"algorithm": pss(salt=32), "salt": 32})
    vcek("bad-salt-48-said-32-used", how={"salt": 32})
    vcek("bad-common-name", subject="SEV-VCEK\x1b[2J")
    vcek("bad-common-name-unknown", subject="SEV-Rome")

    turned = bytearray(files["vcek-genoa"])
    turned[-1] ^= 1
    files["bad-signature-turned"] = bytes(turned)
    files["bad-trailing-byte"] = files["vcek-genoa"] + b"\0"
    files["bad-cut"] = files["vcek-genoa"][:-1]

    files["crl-fresh"] = revocations(root, ark, [77])
    files["crl-empty"] = revocations(root, ark, [])
    files["crl-of-the-ask"] = revocations(issuer, ask, [77])
    files["crl-bad-revokes-ask"] = revocations(root, ark, [77, 2])
    files["crl-bad-revokes-vcek"] = revocations(issuer, ask, [0])
    files["crl-bad-stale"] = revocations(root, ark, [77], ("250101000000Z", "260101000000Z"))
    files["crl-bad-stale-revokes-ask"] = revocations(root, ark, [2], ("250101000000Z", "260101000000Z"))
    files["crl-bad-without-next"] = revocations(root, ark, [77], ("260101000000Z",))
    files["crl-bad-future"] = revocations(root, ark, [77], ("300101000000Z", "310101000000Z"))
    files["crl-bad-by-another"] = revocations(other, ark, [77])
    files["crl-bad-critical"] = revocations(root, ark, [77], more=[extension("2.5.29.28", seq(), critical=True)])
    files["crl-bad-entry-critical"] = revocations(root, ark, [77], entry_more=seq(extension("2.5.29.29", seq(), critical=True)))

    for label, der in files.items():
        (HERE / f"{label}.der").write_bytes(der)
    print(f"{len(files)} files in {HERE}")


if __name__ == "__main__":
    main()
