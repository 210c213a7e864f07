#!/usr/bin/env python3
"""Makes vectors/evidence/measured: a small firmware with OVMF's tables, and what it is measured as, by another program.

The firmware starts nothing; its tables are those that tianocore's OvmfPkg/AmdSev has. The judge is sev-snp-measure (Apache-2.0).

    pip install sev-snp-measure==0.0.13
    python3 vectors/evidence/generate_measurements.py
"""

import hashlib
import pathlib
import struct
import tempfile
import uuid

from sevsnpmeasure import guest, vcpu_types
from sevsnpmeasure.sev_mode import SevMode

HERE = pathlib.Path(__file__).resolve().parent / "measured"
SIZE = 8192
# Address, bytes, kind: as OVMF has them, with an SVSM calling area so that each kind is there.
SECTIONS = [
    (0x800000, 0x9000, 1),
    (0x80A000, 0x3000, 1),
    (0x80D000, 0x1000, 2),
    (0x80E000, 0x1000, 3),
    (0x80F000, 0x1000, 0x10),
    (0x810000, 0x1000, 4),
    (0x811000, 0xF000, 1),
]
HASHES_AT = 0x80FC00
RESET_AT = 0x80B004
CASES = [
    (1, 25, 17, 0, 1, "", "", "kernel"),
    (1, 25, 17, 0, 1, "console=ttyS0 chorion.vault", "initrd", "kernel"),
    (4, 25, 17, 0, 1, "console=ttyS0 chorion.vault", "initrd", "kernel"),
    (2, 25, 1, 1, 1, "quiet", "initrd", "kernel"),
    (2, 26, 0, 0, 1, "quiet", "initrd", "kernel"),
    (1, 23, 49, 0, 0x21, "quiet", "initrd", "another kernel"),
    (64, 26, 17, 0, 1, "quiet", "another initrd", "kernel"),
]


def entry(guid, data):
    return data + struct.pack("<H", len(data) + 18) + uuid.UUID(guid).bytes_le


def firmware():
    body = hashlib.shake_256(b"chorion firmware that starts nothing").digest(SIZE - 512)
    metadata = b"ASEV" + struct.pack("<III", 16 + 12 * len(SECTIONS), 1, len(SECTIONS))
    metadata += b"".join(struct.pack("<III", *section) for section in SECTIONS)
    end = bytes(32)
    table = (
        entry("00f771de-1a7e-4fcb-890e-68c77e2fb44e", struct.pack("<I", RESET_AT))
        + entry("7255371f-3a3b-4b04-927b-1da6efa8d454", struct.pack("<II", HASHES_AT, 0x400))
        + entry("4c2eb361-7d9b-4cc3-8081-127c90d3d294", bytes(8))
    )
    # The offset of the metadata is counted from the firmware's end and is itself in the table.
    after = len(table) + 4 + 18 + 18 + len(end)
    table += entry("dc886566-984a-4798-a75e-5585a7bf67cc", struct.pack("<I", after + len(metadata)))
    footer = entry("96b582de-1fb2-45f7-baea-a366c55a082d", b"")
    footer = struct.pack("<H", len(table) + 18) + footer[2:]
    tail = metadata + table + footer + end
    return body + bytes(512 - len(tail)) + tail


def main():
    HERE.mkdir(exist_ok=True)
    path = HERE / "firmware.bin"
    path.write_bytes(firmware())
    lines = ["# vcpus\tfamily\tmodel\tstepping\tfeatures\tcommand line\tinitrd\tkernel\tmeasurement"]
    with tempfile.TemporaryDirectory() as folder:
        for vcpus, family, model, stepping, features, line, initrd, kernel in CASES:
            files = []
            for name, text in (("kernel", kernel), ("initrd", initrd)):
                file = pathlib.Path(folder) / name
                file.write_text(text)
                files.append(str(file))
            digest = guest.calc_launch_digest(
                SevMode.SEV_SNP, vcpus, vcpu_types.cpu_sig(family, model, stepping), str(path), *files, line, features
            )
            lines.append("\t".join(map(str, (vcpus, family, model, stepping, features, line, initrd, kernel, digest.hex()))))
    (HERE / "cases.tsv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
