#!/usr/bin/env python3
"""Region queries on a sealed BAM, against samtools on the plain file: process to process, warm cache, one thread each.

The BAM is the real one of CHORION_TEST_DATA, with its reads told many times over so that a query takes longer than a process to start
(the copies are shifted by whole windows of the contig, so regions hold different reads). Both give the same region as BAM; `view` to SAM text
is measured beside it. Answers are compared record by record before anything is measured.

    benches/query.py [--chorion target/release/chorion] [--copies 60] [--rounds 7]
"""

import argparse
import json
import os
import pathlib
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What has to be reached: samtools' time to ours, median of regions and rounds.
GOAL = 0.8


def run(*command, out=subprocess.DEVNULL):
    """Wall and CPU seconds of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run([str(part) for part in command], check=True, stdout=out, stderr=subprocess.DEVNULL)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"wall": wall, "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


def said(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


def make_bam(source, desk, copies):
    """The reads of one window of contig 11, laid down again and again along it."""
    header = said("samtools", "view", "-H", source)
    window, first = 60_000, 4_970_000
    reads = [line.split("\t") for line in said("samtools", "view", source, "11").splitlines()]
    lines = [header]
    for copy in range(copies):
        shift = copy * window - first
        for fields in reads:
            moved = list(fields)
            moved[0] = f"{fields[0]}.{copy}"
            moved[3] = str(int(fields[3]) + shift)
            if fields[6] in ("=", "11") and int(fields[7]):
                moved[7] = str(int(fields[7]) + shift)
            lines.append("\t".join(moved) + "\n")
    sam, bam = desk / "many.sam", desk / "many.bam"
    sam.write_text("".join(lines))
    said("samtools", "sort", "-o", bam, sam)
    said("samtools", "index", bam)
    sam.unlink()
    return bam, window * copies, window


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chorion", type=pathlib.Path, default=ROOT / "target/release/chorion")
    parser.add_argument("--copies", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    data = pathlib.Path(os.environ.get("CHORION_TEST_DATA", ROOT.parent / "shared/data"))
    source = data / "htsget/bam/htsnexus_test_NA12878.bam"
    if not source.exists() or not shutil.which("samtools"):
        print("skipped: not here (samtools, or htsget/bam below CHORION_TEST_DATA)")
        return
    if not arguments.chorion.exists():
        sys.exit(f"error: {arguments.chorion} is not built\n\nhint: cargo build --release -p chorion")
    (ROOT / "target").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-query-", dir=ROOT / "target") as name:
        desk, chorion = pathlib.Path(name), arguments.chorion.resolve()
        bam, span, window = make_bam(source, desk, arguments.copies)
        key = desk / "key"
        said(chorion, "keygen", "-o", key, "--no-passphrase")
        for file in (bam, pathlib.Path(f"{bam}.bai")):
            said(chorion, "seal", file, "-o", f"{file}.chorion", "--to", f"{key}.pub")
        # The plain files move away, so that a sealed one cannot be answered from them.
        plain = desk / "plain"
        plain.mkdir()
        for file in (bam, pathlib.Path(f"{bam}.bai")):
            file.rename(plain / file.name)
        bam, sealed = plain / bam.name, desk / f"{bam.name}.chorion"
        regions = {"1 window": (span // 2, span // 2 + window), "1/4 of all": (span // 4, span // 2), "all": (1, span * 2)}
        figures = {}
        for what, (start, end) in regions.items():
            region, out = f"11:{start}-{end}", desk / "out.bam"
            ours = [chorion, "query", sealed, "--identity", key, "--region", region, "-o", out, "--force"]
            theirs = ["samtools", "view", "-b", "-o", desk / "theirs.bam", bam, region]
            text = ["samtools", "view", "-o", desk / "theirs.sam", bam, region]
            run(*ours)
            run(*theirs)
            if said("samtools", "view", out) != said("samtools", "view", desk / "theirs.bam"):
                sys.exit(f"error: the answers for {region} differ")
            records = int(said("samtools", "view", "-c", out))
            rounds = []
            for _ in range(arguments.rounds):
                one = {}
                for side in random.sample(["ours", "theirs", "text"], 3):
                    one[side] = run(*{"ours": ours, "theirs": theirs, "text": text}[side])
                rounds.append(one)
            figures[what] = {"records": records, "rounds": rounds}
    verdict = []
    for what, of in figures.items():
        ratio = {
            f"{side} {kind}": [each[side][kind] / each["ours"][kind] for each in of["rounds"]]
            for side in ("theirs", "text")
            for kind in ("wall", "cpu")
        }
        verdict += ratio["theirs wall"]
        if not arguments.json:
            median = {side: statistics.median(each[side]["wall"] for each in of["rounds"]) for side in ("ours", "theirs", "text")}
            print(f"{what}: {of['records']} records; chorion on the sealed file {median['ours'] * 1e3:.0f} ms, "
                  f"samtools view -b {median['theirs'] * 1e3:.0f} ms, to text {median['text'] * 1e3:.0f} ms")  # fmt: skip
            print(f"  speed to samtools view -b: wall {spread(ratio['theirs wall'])}, CPU {spread(ratio['theirs cpu'])}; "
                  f"to samtools view: wall {spread(ratio['text wall'])}, CPU {spread(ratio['text cpu'])}")  # fmt: skip
    if arguments.json:
        print(json.dumps(figures))
    else:
        print(f"speed to samtools view -b over all: {spread(verdict)}; goal {GOAL} {'reached' if statistics.median(verdict) >= GOAL else 'MISSED'}")


if __name__ == "__main__":
    main()
