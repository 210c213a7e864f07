#!/usr/bin/env python3
"""Compares FASTQ files with a truth.json as make_demo_run.py writes it; ends with status 1 when one differs.

    compare_fastq.py truth.json DIR [--headers] [--any-order]

Files are found by name below DIR: <Sample_ID>_S<n>_L001_R1_001.fastq.gz, or <Sample_ID>.1.fastq.gz as picard has it.
With --headers the whole text counts, with --any-order only which reads are there.
"""

import argparse
import gzip
import hashlib
import json
import re
import sys
from pathlib import Path


def digests(path):
    seqqual, whole, multiset, reads = hashlib.sha256(), hashlib.sha256(), 0, 0
    with gzip.open(path, "rb") as lines:
        while header := lines.readline():
            bases, plus, qualities = lines.readline(), lines.readline(), lines.readline()
            seqqual.update(bases + qualities)
            whole.update(header + bases + plus + qualities)
            first = int.from_bytes(hashlib.sha256(bases + qualities).digest()[:8], "little")
            multiset = (multiset + first) % 2**64
            reads += 1
    return reads, {
        "seqqual_sha256": seqqual.hexdigest(),
        "fastq_sha256": whole.hexdigest(),
        "multiset64": f"{multiset:016x}",
    }


def main():
    options = argparse.ArgumentParser(description="compare FASTQ files with the truth about a run")
    options.add_argument("truth", type=Path)
    options.add_argument("folder", type=Path)
    options.add_argument("--headers", action="store_true")
    options.add_argument("--any-order", action="store_true")
    options = options.parse_args()
    wanted = "multiset64" if options.any_order else "fastq_sha256" if options.headers else "seqqual_sha256"
    truth = json.loads(options.truth.read_text())
    wrong = 0
    for name, expected in truth["counts"].items():
        for read, digest in expected["digest"].items():
            pattern = re.compile(rf"{re.escape(name)}(_S\d+_L001_{read}_001|\.{read[1]})\.fastq\.gz")
            files = [path for path in options.folder.rglob("*.fastq.gz") if pattern.fullmatch(path.name)]
            if len(files) != 1:
                print(f"{name} {read}: {len(files)} files instead of one")
                wrong += 1
                continue
            reads, found = digests(files[0])
            same = reads == expected["reads"] and found[wanted] == digest[wanted]
            wrong += not same
            print(f"{name} {read}: {reads} reads, {'same' if same else f'NOT the same {wanted}'}")
    sys.exit(f"{wrong} files differ from {options.truth}" if wrong else 0)


if __name__ == "__main__":
    main()
