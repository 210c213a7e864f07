#!/usr/bin/env python3
"""Reads a CBCL run folder the plain way and compares what it finds with truth.json.

An independent reader: it shares no code with make_demo_run.py nor with Chorion, knows only what the folder says (RunInfo, the
sample sheet, filters, positions, CBCL headers), and is slow. It shows that the committed folder is sound by itself, so that a
disagreement between `chorion demux` and truth.json is Chorion's. With --fastq it also writes what it read.

    python3 testing/check_demo_run.py testing/demo [--fastq DIR]
"""

import argparse
import csv
import gzip
import hashlib
import json
import struct
import sys
import xml.etree.ElementTree as ElementTree
import zlib
from pathlib import Path


def segments_of(run):
    info = ElementTree.parse(run / "RunInfo.xml").getroot()
    reads = [(r.get("IsIndexedRead") == "Y", int(r.get("NumCycles"))) for r in info.iter("Read")]
    tiles = [tile.text.split("_") for tile in info.iter("Tile")]
    name = (next(info.iter("Instrument")).text, info.find("Run").get("Number"), next(info.iter("Flowcell")).text)
    return reads, [(int(lane), int(tile)) for lane, tile in tiles], name


def sheet_of(run):
    rows, section = [], None
    for row in csv.reader((run / "SampleSheet.csv").open()):
        if row and row[0].startswith("["):
            section = row[0]
        elif row and section == "[BCLConvert_Data]":
            rows.append(row)
    return [dict(zip(rows[0], row)) for row in rows[1:]]


def cycle_calls(path, wanted_tile):
    """The calls of one tile in one cycle as (base, quality) characters, and whether only passing clusters are there."""
    data = path.read_bytes()
    version, head_size, base_bits, quality_bits, bins = struct.unpack_from("<HIBBI", data)
    assert (version, base_bits, quality_bits) == (1, 2, 2), f"{path}: version or bits are not the known ones"
    at = 12
    quality_of = dict(struct.unpack_from("<2I", data, at + 8 * n) for n in range(bins))
    at += 8 * bins
    (tiles,) = struct.unpack_from("<I", data, at)
    records = [struct.unpack_from("<4I", data, at + 4 + 16 * n) for n in range(tiles)]
    only_passing = data[at + 4 + 16 * tiles] == 1
    assert at + 5 + 16 * tiles == head_size, f"{path}: its header is not as long as it says"
    assert head_size + sum(r[3] for r in records) == len(data), f"{path}: blocks and file length disagree"
    block = head_size
    for tile, clusters, plain, packed in records:
        if tile == wanted_tile:
            nibbles = zlib.decompress(data[block : block + packed], wbits=31)
            assert len(nibbles) == plain == (clusters + 1) // 2, f"{path}: tile {tile} has another size than stated"
            calls = [n >> shift & 15 for n in nibbles for shift in (0, 4)][:clusters]
            return [("N", "#") if c == 0 else ("ACGT"[c & 3], chr(33 + quality_of[c >> 2])) for c in calls], only_passing
        block += packed
    raise AssertionError(f"{path} has no tile {wanted_tile}")


def clusters_of(run):
    """Header stem, read number to (bases, qualities), index reads; passing clusters only, in order."""
    reads, tiles, (instrument, number, flow_cell) = segments_of(run)
    calls_dir = run / "Data/Intensities/BaseCalls"
    locs = (run / "Data/Intensities/s.locs").read_bytes()
    one, version, wells = struct.unpack_from("<IfI", locs)
    assert (one, version, len(locs)) == (1, 1.0, 12 + 8 * wells), "s.locs: header or length is wrong"
    positions = [struct.unpack_from("<2f", locs, 12 + 8 * n) for n in range(wells)]
    for lane, tile in tiles:
        filters = (calls_dir / f"L{lane:03d}/s_{lane}_{tile}.filter").read_bytes()
        zero, version, count = struct.unpack_from("<3I", filters)
        assert (zero, version, count, len(filters)) == (0, 3, wells, 12 + wells), f"filter of tile {tile} is wrong"
        passing = [n for n in range(wells) if filters[12 + n] & 1]
        columns = []
        for cycle in range(1, sum(length for _, length in reads) + 1):
            path = calls_dir / f"L{lane:03d}/C{cycle}.1/L{lane:03d}_{str(tile)[0]}.cbcl"
            calls, only_passing = cycle_calls(path, tile)
            assert len(calls) == (len(passing) if only_passing else wells), f"{path}: counts disagree with the filter"
            columns.append(calls if only_passing else [calls[n] for n in passing])
        for row, well in enumerate(passing):
            x, y = (round(10 * v + 1000) for v in positions[well])
            at, texts, indexes = 0, [], []
            for is_index, length in reads:
                cut = [columns[c][row] for c in range(at, at + length)]
                at += length
                bases, qualities = "".join(b for b, _ in cut), "".join(q for _, q in cut)
                indexes.append(bases) if is_index else texts.append((bases, qualities))
            yield f"@{instrument}:{number}:{flow_cell}:{lane}:{tile}:{x}:{y}", texts, indexes


def sample_of(sheet, indexes):
    """At most one mismatch in each index, an N is a mismatch. The number of mismatches comes with it."""
    for row in sheet:
        off = [sum(a != b for a, b in zip(read, row[key])) for read, key in zip(indexes, ("Index", "Index2"))]
        if max(off) <= 1:
            return row["Sample_ID"], sum(off)
    return "Undetermined", None


def main():
    options = argparse.ArgumentParser(description="read a CBCL run folder the plain way")
    options.add_argument("demo", type=Path)
    options.add_argument("--fastq", type=Path)
    options = options.parse_args()
    truth = json.loads((options.demo / "truth.json").read_text())
    run = options.demo / "runs" / truth["run_id"]
    sheet = sheet_of(run)

    found, files = {}, {}
    for stem, texts, indexes in clusters_of(run):
        name, off = sample_of(sheet, indexes)
        count = found.setdefault(name, dict(reads=0, bases=0, q30_bases=0, matches=[0, 0, 0], seqqual={}, fastq={}))
        count["reads"] += 1
        if off is not None:
            count["matches"][off] += 1
        for number, (bases, qualities) in enumerate(texts, 1):
            count["bases"] += len(bases)
            count["q30_bases"] += sum(ord(q) >= 63 for q in qualities)
            record = f"{stem} {number}:N:0:{'+'.join(indexes)}\n{bases}\n+\n{qualities}\n".encode()
            count["seqqual"].setdefault(f"R{number}", hashlib.sha256()).update(f"{bases}\n{qualities}\n".encode())
            count["fastq"].setdefault(f"R{number}", hashlib.sha256()).update(record)
            if options.fastq:
                files.setdefault((name, number), []).append(record)
    for (name, number), records in files.items():
        options.fastq.mkdir(parents=True, exist_ok=True)
        (options.fastq / f"{name}_R{number}.fastq.gz").write_bytes(gzip.compress(b"".join(records), 1, mtime=0))

    wrong = 0
    for name, expected in truth["counts"].items():
        count = found.get(name) or sys.exit(f"{name}: nothing was found for it")
        matches = dict(zip(("exact", "one_mismatch", "two_mismatch"), count["matches"]))
        got = {key: count[key] for key in ("reads", "bases", "q30_bases")} | matches
        got["digest"] = {
            read: dict(seqqual_sha256=count["seqqual"][read].hexdigest(), fastq_sha256=count["fastq"][read].hexdigest())
            for read in count["seqqual"]
        }
        for read in expected["digest"].values():
            read.pop("multiset64")
        same = all(got[key] == value for key, value in expected.items())
        wrong += not same
        print(f"{name}: {count['reads']} reads, {'as in truth.json' if same else 'NOT as in truth.json'}")
    sys.exit(f"{wrong} of {len(truth['counts'])} disagree" if wrong else 0)


if __name__ == "__main__":
    main()
