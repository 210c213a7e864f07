#!/usr/bin/env python3
"""Writes the vectors beside it, from the pages of spec/ alone.

A second implementation of the formats, on pyca/cryptography 50 and argon2-cffi: the Rust code is judged by what it makes.
Each file has one case and at most one fault. Wrapped keys have fresh randomness in every run, so a new run makes new
vectors that hold as well; the ones kept are not made again without need.

    pip install cryptography==50.0.2 argon2-cffi==25.1.0
    python3 vectors/sealed-object/generate.py
"""

import base64
import hashlib
import hmac
import json
import pathlib
import zlib

from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HERE = pathlib.Path(__file__).parent
SEGMENT = 65_536
SLOT = SEGMENT + 16


def seeded(name, length):
    """Bytes that look random and are the same in every run."""
    return hashlib.shake_256(b"chorion vectors " + name.encode()).digest(length)


def expand(key, info, length):
    return HKDFExpand(hashes.SHA512(), length, info).derive(key)


class Object:
    """spec/sealed-object.md, sections 3 to 5."""

    def __init__(self, name, lengths=None, plaintext=None, suite=1, power=16, key=None, last=True):
        self.key = key or seeded(name + " key", 32)
        self.id = seeded(name + " id", 16)
        salt = seeded(name + " salt", 32)
        self.head = b"CHORION\x01" + suite.to_bytes(2, "big") + bytes([power]) + bytes(5) + self.id
        info = b"chorion.object/1+AEAD_AES_256_GCM\0" + salt + self.head
        material = expand(self.key, info, 76)
        self.cipher, self.base, commitment = AESGCM(material[:32]), material[32:44], material[44:]
        self.commitment = commitment
        self.prefix = self.head + salt + commitment + bytes(32)
        if plaintext is not None:
            pieces = [plaintext]
        else:
            # The plaintext is the cipher's own key stream: the ciphertext is zeros, and the vector is small.
            pieces = [self.stream(index, length) for index, length in enumerate(lengths)]
        self.plaintext = b"".join(pieces)
        self.slots = [self.seal(index, piece) for index, piece in enumerate(pieces)]

    def nonce(self, index):
        return (int.from_bytes(self.base, "big") ^ index).to_bytes(12, "big")

    def stream(self, index, length):
        return self.cipher.encrypt(self.nonce(index), bytes(length), None)[:length]

    def seal(self, index, piece):
        return self.cipher.encrypt(self.nonce(index), piece, None)

    def bytes(self, prefix=None, slots=None):
        return (self.prefix if prefix is None else prefix) + b"".join(self.slots if slots is None else slots)


def flip(data, at, bit=0):
    data = bytearray(data)
    data[at] ^= 1 << bit
    return bytes(data)


class Recipient:
    """X-Wing from its seed: SHAKE256(seed) is ML-KEM-768 seed 64, X25519 secret 32."""

    def __init__(self, name):
        self.seed = seeded(name, 32)
        grown = hashlib.shake_256(self.seed).digest(96)
        pq = mlkem.MLKEM768PrivateKey.from_seed_bytes(grown[:64])
        classic = x25519.X25519PrivateKey.from_private_bytes(grown[64:])
        self.secret = hpke.MLKEM768X25519PrivateKey(pq, classic)
        self.public = pq.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw) + classic.public_key().public_bytes(
            Encoding.Raw, PublicFormat.Raw
        )
        self.text = "chorion1" + base32(self.public + hashlib.sha256(self.public).digest()[:4])

    def wrap(self, info, key):
        suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
        return suite.encrypt(key, self.secret.public_key(), info)


def base32(data):
    return base64.b32encode(data).decode().rstrip("=").lower()


def file_header(obj, recipients):
    """spec/offline-file.md, sections 3 to 5."""
    info = b"chorion.file/1\0" + obj.id + obj.commitment
    return seal_header(obj, [recipient.wrap(info, obj.key) for recipient in recipients])


def seal_header(obj, wrapped):
    head = b"CHORFIL\x01" + (36 + 1168 * len(wrapped)).to_bytes(4, "big")
    head += len(wrapped).to_bytes(2, "big") + bytes(2) + b"".join(wrapped)
    mac_key = expand(obj.key, b"chorion.file/1 header\0", 32)
    return head + hmac.digest(mac_key, head + obj.prefix, "sha256")


def wrap(under, place, key, nonce):
    wrapping = expand(under, b"wrap\0" + place, 32)
    return nonce + AESGCM(wrapping).encrypt(nonce, key, place)


def label(key, purpose, text, salt):
    material = expand(key, b"chorion.label/1\0" + salt, 44)
    return salt + AESGCM(material[:32]).encrypt(material[32:], text, purpose.encode())


def key_file(content):
    return "# a line for people\nchorion-secret1" + base32(content + hashlib.sha256(content).digest()[:4]) + "\n"


def packed(data):
    return base64.b64encode(zlib.compress(data, 9)).decode()


def write(name, kind, note, expect, **fields):
    case = {"kind": kind, "note": note, **fields, "expect": expect}
    (HERE / f"{name}.json").write_text(json.dumps(case, indent=1) + "\n")


def write_object(name, note, obj, expect, sealed=None, key=None, asked=None):
    if expect == "opens":
        expect = {"opens": {"bytes": len(obj.plaintext), "sha256": hashlib.sha256(obj.plaintext).hexdigest()}}
    write(
        "object-" + name, "object", note, expect,
        key=(key or obj.key).hex(), id=(asked or obj.id).hex(),
        sealed_zlib=packed(obj.bytes() if sealed is None else sealed),
    )


def objects():
    for name, note, lengths in [
        ("valid-empty", "no plaintext: one empty segment", [0]),
        ("valid-one-byte", "one byte", [1]),
        ("valid-one-short", "one byte less than a segment", [SEGMENT - 1]),
        ("valid-one-full", "a full segment, then an empty last one", [SEGMENT, 0]),
        ("valid-one-full-and-one-byte", "a full segment, then one byte", [SEGMENT, 1]),
        ("valid-three-segments", "two full segments and a short one", [SEGMENT, SEGMENT, 1000]),
        ("valid-seventeen-segments", "more segments than a batch of sixteen", [SEGMENT] * 17 + [7]),
    ]:
        write_object(name, note, Object(name, lengths), "opens")
    write_object("valid-text", "bytes that are not a key stream", Object("text", plaintext=b"GATTACA" * 40), "opens")

    obj = Object("refused", [SEGMENT, SEGMENT, 1000])
    other = Object("refused other", [SEGMENT, SEGMENT, 1000])
    whole, slots = obj.bytes(), obj.slots
    broken = lambda index: {"error": "BrokenSegment", "segment": index}
    for name, note, expect, sealed in [
        ("flipped-mark", "a bit of the mark", {"error": "NotSealed"}, flip(whole, 3)),
        ("flipped-version", "the version says 3", {"error": "UnknownVersion"}, flip(whole, 7, 1)),
        ("flipped-suite", "the suite says 3", {"error": "UnknownSuite"}, flip(whole, 9, 1)),
        ("flipped-segment-size", "the segment size says 2^17", {"error": "UnknownSegmentSize"}, flip(whole, 10)),
        ("flipped-reserved-early", "a reserved byte before the id", {"error": "ReservedSet"}, flip(whole, 15)),
        ("flipped-id", "a bit of the id", {"error": "OtherObject"}, flip(whole, 20)),
        ("flipped-salt", "a bit of the salt", {"error": "WrongKey"}, flip(whole, 40)),
        ("flipped-commitment", "a bit of the commitment", {"error": "WrongKey"}, flip(whole, 95, 7)),
        ("flipped-reserved-late", "a reserved byte after the commitment", {"error": "ReservedSet"}, flip(whole, 127)),
        ("flipped-first-segment", "a bit of segment 0", broken(0), flip(whole, 128)),
        ("flipped-first-tag", "a bit of the tag of segment 0", broken(0), flip(whole, 128 + SLOT - 1)),
        ("flipped-second-segment", "a bit of segment 1", broken(1), flip(whole, 128 + SLOT + 500)),
        ("flipped-last-tag", "a bit of the last tag", broken(2), flip(whole, -1)),
        ("cut-to-nothing", "no byte left", {"error": "NotSealed"}, b""),
        ("cut-inside-mark", "five bytes left", {"error": "CutShort"}, whole[:5]),
        ("cut-inside-prefix", "127 bytes left", {"error": "CutShort"}, whole[:127]),
        ("cut-to-prefix", "the prefix only", {"error": "CutShort"}, whole[:128]),
        ("cut-inside-first-segment", "40 bytes of segment 0 left", broken(0), whole[: 128 + 40]),
        ("cut-inside-first-tag", "segment 0 without its last byte", broken(0), whole[: 128 + SLOT - 1]),
        ("cut-after-first-segment", "segments 1 and 2 missing", {"error": "CutShort"}, whole[: 128 + SLOT]),
        ("cut-after-second-segment", "the last segment missing", {"error": "CutShort"}, whole[: 128 + 2 * SLOT]),
        ("cut-to-fifteen-bytes-of-last", "15 bytes of the last left", {"error": "CutShort"}, whole[: 128 + 2 * SLOT + 15]),
        ("cut-to-sixteen-bytes-of-last", "16 bytes of the last left", broken(2), whole[: 128 + 2 * SLOT + 16]),
        ("cut-by-one-byte", "the last byte missing", broken(2), whole[:-1]),
        ("extended-by-one-byte", "one byte more", broken(2), whole + b"\0"),
        ("extended-by-a-tag", "16 bytes more", broken(2), whole + bytes(16)),
        ("extended-by-a-segment", "a full segment of zeros more", broken(2), whole + bytes(SLOT)),
        ("swapped", "segments 0 and 1 swapped", broken(0), obj.bytes(slots=[slots[1], slots[0], slots[2]])),
        ("doubled", "segment 0 stands twice", broken(1), obj.bytes(slots=[slots[0], slots[0], slots[1], slots[2]])),
        ("doubled-in-place", "segment 0 instead of segment 1", broken(1), obj.bytes(slots=[slots[0], slots[0], slots[2]])),
        ("dropped-first", "segment 0 missing", broken(0), obj.bytes(slots=slots[1:])),
        ("dropped-second", "segment 1 missing", broken(1), obj.bytes(slots=[slots[0], slots[2]])),
        ("spliced", "segment 1 of another object", broken(1), obj.bytes(slots=[slots[0], other.slots[1], slots[2]])),
        ("other-prefix", "the prefix of another object", {"error": "OtherObject"}, obj.bytes(prefix=other.prefix)),
    ]:
        write_object(name, note, obj, expect, sealed=sealed)
    write_object("wrong-key", "the key of another object", obj, {"error": "WrongKey"}, key=other.key)
    write_object("other-id-asked", "another id than the one asked for", obj, {"error": "OtherObject"}, asked=other.id)
    write_object(
        "flipped-id-asked-so", "a bit of the id, and asked for by the flipped id", obj, {"error": "WrongKey"},
        sealed=flip(whole, 20), asked=flip(whole, 20)[16:32],
    )
    same_key = Object("refused same key", [SEGMENT, SEGMENT, 1000], key=obj.key)
    write_object(
        "spliced-same-key", "segment 1 of another object that was wrongly sealed under the same key", obj, broken(1),
        sealed=obj.bytes(slots=[slots[0], same_key.slots[1], slots[2]]),
    )
    for name, note, made, error in [
        ("other-suite", "sealed whole as suite 2", Object("suite", [10], suite=2), "UnknownSuite"),
        ("other-segment-size", "sealed whole with 2^14", Object("power", [10], power=14), "UnknownSegmentSize"),
        ("no-empty-last", "one full segment and no last one", Object("full", [SEGMENT]), "CutShort"),
    ]:
        write_object(name, note, made, {"error": error})


def files():
    anna, bert, carla = Recipient("anna"), Recipient("bert"), Recipient("carla")
    obj = Object("file", plaintext=b"GATTACA" * 100)
    one, two = file_header(obj, [anna]), file_header(obj, [anna, bert])
    opens = {"opens": {"bytes": 700, "sha256": hashlib.sha256(obj.plaintext).hexdigest()}}
    other = Object("other file", plaintext=b"GATTACA" * 100)
    stanza = lambda header, n: header[16 + 1168 * n : 16 + 1168 * (n + 1)]
    body = obj.bytes()
    swapped = two[:16] + stanza(two, 1) + stanza(two, 0) + two[-32:]
    removed = one[:16] + stanza(two, 0) + two[-32:]
    added = two[:16] + stanza(two, 0) + carla.wrap(b"chorion.file/1\0" + obj.id + obj.commitment, seeded("k", 32)) + one[-32:]
    altered, refused = {"error": "HeaderAltered"}, {"error": "NotForThisKey"}
    bad = {"error": "BadHeader"}
    for name, note, expect, data, who in [
        ("valid-one-recipient", "one recipient", opens, one + body, anna),
        ("valid-first-of-two", "two recipients, opened by the first", opens, two + body, anna),
        ("valid-second-of-two", "two recipients, opened by the second", opens, two + body, bert),
        ("for-somebody-else", "opened by nobody's secret", refused, two + body, carla),
        ("flipped-wrapped-key", "a bit of the one wrapped key", refused, flip(one, 700) + body, anna),
        ("flipped-other-wrapped-key", "a bit of somebody else's wrapped key", altered, flip(two, 1500) + body, anna),
        ("flipped-mac", "a bit of the MAC", altered, flip(one, -1) + body, anna),
        ("swapped-recipients", "the two wrapped keys swapped", altered, swapped + body, anna),
        ("removed-recipient", "the second wrapped key removed", altered, removed + body, anna),
        ("added-recipient", "a wrapped key added by a stranger", altered, added + body, anna),
        ("other-header", "the header of another file", refused, file_header(other, [anna]) + body, anna),
        ("mark", "a bit of the mark", {"error": "NotAFile"}, flip(one, 2) + body, anna),
        ("bare-object", "no header at all", {"error": "BareObject"}, body, anna),
        ("version", "the version says 3", {"error": "UnknownVersion"}, flip(one, 7, 1) + body, anna),
        ("length-not-whole", "the header length is one more", bad, flip(one, 11) + body, anna),
        ("length-zero-recipients", "the header has no recipient", bad, seal_header(obj, []) + body, anna),
        ("length-huge", "the header claims 4 GiB", bad, one[:8] + b"\xff" * 4 + one[12:] + body, anna),
        ("count-differs", "the count says 0", bad, flip(one, 13) + body, anna),
        ("reserved-set", "a reserved byte", bad, flip(one, 15) + body, anna),
        ("cut-inside-lead", "ten bytes left", {"error": "CutShort"}, one[:10], anna),
        ("cut-inside-header", "half the header left", {"error": "CutShort"}, one[:600], anna),
        ("cut-after-header", "the header only", {"error": "CutShort"}, one, anna),
        ("cut-inside-prefix", "the header and 127 bytes", {"error": "CutShort"}, one + body[:127], anna),
        ("cut-to-prefix", "header and prefix only", {"error": "CutShort"}, one + body[:128], anna),
        ("flipped-prefix", "a bit of the salt", altered, one + flip(body, 40), anna),
        ("flipped-commitment", "a bit of the commitment", refused, one + flip(body, 70), anna),
        ("flipped-body", "a bit of segment 0", {"error": "BrokenSegment", "segment": 0}, one + flip(body, 200), anna),
        ("extended", "one byte more", {"error": "BrokenSegment", "segment": 0}, one + body + b"\0", anna),
    ]:
        write("file-" + name, "file", note, expect, seed=who.seed.hex(), sealed_zlib=packed(data))

    write("recipient-valid", "recipient", "a public string", {"opens": {"sha256": hashlib.sha256(anna.public).hexdigest()}},
          text=anna.text, seed=anna.seed.hex())
    changed = anna.text[:500] + ("b" if anna.text[500] == "a" else "a") + anna.text[501:]
    for name, note, text, error in [
        ("one-letter-changed", "one letter changed", changed, "BadCheck"),
        ("one-letter-lost", "one letter lost", anna.text[:-1], "BadCheck"),
        ("upper-case", "in upper case after the mark", "chorion1" + anna.text[8:].upper(), "BadCheck"),
        ("padded", "with padding", anna.text + "====", "BadCheck"),
        ("age", "of another tool", "age1" + anna.text[8:], "NotARecipient"),
        ("no-key", "whole, but no key: ML-KEM coefficients past the modulus",
         "chorion1" + base32(b"\xff" * 1216 + hashlib.sha256(b"\xff" * 1216).digest()[:4]), "BadKey"),
    ]:
        write("recipient-" + name, "recipient", note, {"error": error}, text=text)


def keys():
    under, key, nonce = seeded("under", 32), seeded("wrapped", 32), seeded("nonce", 12)
    dataset, project, card, epoch = seeded("dataset", 16), seeded("project", 16), seeded("card", 32), 7
    obj, commitment = seeded("object", 16), seeded("commitment", 32)
    opens = {"opens": {"key": key.hex()}}
    refused = {"error": "DoesNotOpen"}
    length = {"error": "Length"}

    def data_key(name, note, expect, wrapped, **changed):
        place = {"dataset": dataset, "object": obj, "commitment": commitment, "under": under, **changed}
        write("data-key-" + name, "data-key", note, expect, epoch=changed.get("epoch", epoch), wrapped=wrapped.hex(),
              **{k: v.hex() for k, v in place.items() if k != "epoch"})

    place = b"chorion.data-key/1\0" + dataset + epoch.to_bytes(4, "big") + obj + commitment
    wrapped = wrap(under, place, key, nonce)
    data_key("valid", "a data key in its place", opens, wrapped)
    for field, value in [("dataset", flip(dataset, 0)), ("object", flip(obj, 15)), ("commitment", flip(commitment, 31)),
                         ("epoch", 8), ("under", flip(under, 0))]:
        data_key("other-" + field, f"another {field}", refused, wrapped, **{field: value})
    data_key("flipped-nonce", "a bit of the nonce", refused, flip(wrapped, 0))
    data_key("flipped-key", "a bit of the ciphertext", refused, flip(wrapped, 20))
    data_key("flipped-tag", "a bit of the tag", refused, flip(wrapped, 59))
    data_key("short", "59 bytes", length, wrapped[:59])
    data_key("long", "61 bytes", length, wrapped + b"\0")

    def dataset_key(name, note, expect, wrapped, **changed):
        place = {"dataset": dataset, "project": project, "card_digest": card, "under": under, **changed}
        write("dataset-key-" + name, "dataset-key", note, expect, epoch=changed.get("epoch", epoch), wrapped=wrapped.hex(),
              **{k: v.hex() for k, v in place.items() if k != "epoch"})

    place = b"chorion.dataset-key/1\0" + dataset + project + card + epoch.to_bytes(4, "big")
    wrapped = wrap(under, place, key, nonce)
    dataset_key("valid", "a dataset key in its place", opens, wrapped)
    for field, value in [("dataset", flip(dataset, 0)), ("project", flip(project, 15)), ("card_digest", flip(card, 31)),
                         ("epoch", 6), ("under", flip(under, 0))]:
        dataset_key("other-" + field, f"another {field}", refused, wrapped, **{field: value})
    dataset_key("short", "59 bytes", length, wrapped[:59])

    anna, bert = Recipient("anna"), Recipient("bert")

    def to_recipient(name, note, expect, wrapped, who=anna, at=place):
        write("to-recipient-" + name, "to-recipient", note, expect, seed=who.seed.hex(), info=at.hex(), wrapped=wrapped.hex())

    wrapped = anna.wrap(place, key)
    to_recipient("valid", "a dataset key to a recipient", opens, wrapped)
    to_recipient("other-recipient", "another secret", refused, wrapped, who=bert)
    to_recipient("other-info", "another place", refused, wrapped, at=flip(place, -1))
    to_recipient("flipped-encapsulation", "a bit of the encapsulation", refused, flip(wrapped, 100))
    to_recipient("flipped-classical-half", "a bit of the X25519 share", refused, flip(wrapped, 1100))
    to_recipient("flipped-tag", "a bit of the tag", refused, flip(wrapped, -1))
    to_recipient("short", "one byte less", length, wrapped[:-1])

    salt = seeded("label salt", 24)
    sealed = label(under, "sample name", "NA12878 · Ünal".encode(), salt)

    def a_label(name, note, expect, sealed, purpose="sample name", key=under):
        write("label-" + name, "label", note, expect, key=key.hex(), purpose=purpose, sealed=sealed.hex())

    a_label("valid", "a label", {"opens": {"text": "NA12878 · Ünal"}}, sealed)
    a_label("valid-empty", "an empty label", {"opens": {"text": ""}}, label(under, "note", b"", salt), purpose="note")
    a_label("other-purpose", "another purpose", refused, sealed, purpose="project name")
    a_label("other-key", "another dataset's key", refused, sealed, key=key)
    a_label("flipped-salt", "a bit of the salt", refused, flip(sealed, 0))
    a_label("flipped-text", "a bit of the text", refused, flip(sealed, 30))
    a_label("short", "39 bytes", length, sealed[:39])

    seed = anna.seed
    cost = [(8 * 1024), 1, 1]
    lock = b"\1" + b"".join(part.to_bytes(4, "big") for part in cost) + seeded("key file salt", 16)
    locking = hash_secret_raw("Wörter sind länger".encode(), lock[13:], cost[1], cost[0], cost[2], 32, Type.ID, 0x13)
    locked = lock + AESGCM(locking).encrypt(bytes(12), seed, lock)
    opens = {"opens": {"seed": seed.hex()}}

    def a_key_file(name, note, expect, text, passphrase=None):
        write("key-file-" + name, "key-file", note, expect, text=text, passphrase=passphrase)

    a_key_file("valid-bare", "a bare secret", opens, key_file(b"\0" + seed))
    a_key_file("valid-locked", "a locked secret", opens, key_file(locked), "Wörter sind länger")
    a_key_file("wrong-passphrase", "another passphrase", {"error": "WrongPassphrase"}, key_file(locked), "Wörter sind kurz")
    a_key_file("flipped-cost", "other passes than it was locked with", {"error": "WrongPassphrase"},
               key_file(flip(locked, 8, 1)), "Wörter sind länger")
    a_key_file("cost-too-high", "four TiB of memory asked for", {"error": "BadCost"},
               key_file(b"\1\xff\xff\xff\xff" + locked[5:]), "Wörter sind länger")
    a_key_file("no-passes", "no pass asked for", {"error": "BadCost"},
               key_file(locked[:5] + bytes(4) + locked[9:]), "Wörter sind länger")
    a_key_file("no-key", "comments only", {"error": "NoKey"}, "# nothing here\n")
    a_key_file("two-keys", "two key lines", {"error": "SeveralKeys"}, key_file(b"\0" + seed) * 2)
    a_key_file("bad-check", "one letter changed", {"error": "BadCheck"}, key_file(b"\0" + seed)[:-3] + "aa\n")
    a_key_file("unknown-form", "form 2", {"error": "UnknownForm"}, key_file(b"\2" + seed))
    a_key_file("bare-too-long", "33 bytes of seed", {"error": "UnknownForm"}, key_file(b"\0" + seed + b"\0"))


if __name__ == "__main__":
    for old in HERE.glob("*.json"):
        old.unlink()
    objects()
    files()
    keys()
