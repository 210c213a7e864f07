#!/usr/bin/env python3
"""Puts real reads into a run folder, for the demo and for tests.

The reads are genuine: bases and qualities an Illumina instrument wrote for NA12878, taken from a public BAM. The run folder is
ours: which well a pair lies in, its index reads, the flow cell, the four samples and the two projects are made here. What is
made, and what was changed, is listed in testing/demo/SOURCES.md.

Everything drawn at random is drawn from SHA-256 over the read's name, never from a generator whose stream may change, so the
same BAM gives the same run folder, byte for byte (given the same zlib: compressed bytes are its choice, what they hold is not).

    python3 testing/make_demo_run.py --bam NA12878.bam --reference 20.fa.gz --out testing/demo

Needs samtools; nothing from PyPI. Where the two inputs come from: testing/demo/SOURCES.md.
"""

import argparse
import gzip
import hashlib
import json
import math
import shutil
import struct
import subprocess
import zlib
from collections import Counter
from pathlib import Path

# What is taken from the BAM.
REGION = "20:5999958-6100000"
READ_CYCLES = 76
PAIRS = 7191

# What is taken from the reference: the region with a thousand bases on either side, so that no read hangs over an edge.
REFERENCE_FIRST, REFERENCE_LAST = 5_998_958, 6_101_000
REFERENCE_NAME = f"20_{REFERENCE_FIRST}_{REFERENCE_LAST}"
# The M5 of sequence 20 in the BAM's header: the reads were aligned to this very sequence.
SEQUENCE_20_MD5 = "0dec9660ec1efaaf33281c0d5ea2560f"

# The run that never was.
INSTRUMENT, RUN_NUMBER, FLOW_CELL = "A09999", 42, "HCHRNDRXX"
RUN_ID = f"261102_{INSTRUMENT}_{RUN_NUMBER:04d}_A{FLOW_CELL}"
LANE = 1
SURFACES = {1: (1101, 1102), 2: (2101, 2102)}
TILES = [tile for tiles in SURFACES.values() for tile in tiles]
WELLS = 1856  # of every tile: a patterned flow cell has as many on each, and one s.locs serves all

# Illumina's published TruSeq HT indexes: at least four bases apart in each read, so one error in each can never reach another.
SAMPLES = [
    # Sample_ID, Sample_Project, i7, i5, share of the pairs
    ("heron-1", "heron", "ATTACTCG", "TATAGCCT", 0.31),
    ("heron-2", "heron", "TCCGGAGA", "ATAGAGGC", 0.27),
    ("kestrel-1", "kestrel", "CGCTCATT", "GGCTCTGA", 0.23),
    ("kestrel-2", "kestrel", "GAGATTCC", "AGGCGAAG", 0.19),
]
INDEX_CYCLES = 8
LAYOUT = [("R", READ_CYCLES), ("I", INDEX_CYCLES), ("I", INDEX_CYCLES), ("R", READ_CYCLES)]

POLY_G, JUNK, HOPPED = 0.006, 0.005, 0.004  # shares of pairs that no sample gets: 1.5 % together
INDEX_ERROR = 0.02  # per index read; one error in ten is a no-call

# CBCL keeps two bits of quality. These are the bins and cuts a NovaSeq 6000 itself reports in QMetrics: 2-17, 18-29, 30-40.
BINS = [0, 11, 25, 37]
QUALITY_CUTS = [(2, 17, 11), (18, 29, 25), (30, 40, 37)]
# The wells of a NovaSeq 6000 lie at 2.96 million a square millimetre, so our few fill very little of one.
TILE_AREA_MM2 = WELLS / 2.96e6
# A NovaSeq knows which clusters pass after cycle 25 and from then on writes only those.
CYCLES_WITH_FAILING = 25

BASES = "ACGT"
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


def draw(*what):
    """A number in [0, 1) that depends on nothing but its arguments."""
    digest = hashlib.sha256("\0".join(map(str, what)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def bin_of(quality):
    return 1 if quality < 18 else 2 if quality < 30 else 3


def distance(a, b):
    return sum(x != y for x, y in zip(a, b, strict=True))


def call(base, quality_bin):
    """One cluster in one cycle as CBCL holds it; 0 is a no-call."""
    return 0 if base == "N" else BASES.index(base) | quality_bin << 2


def text(calls):
    """What a demultiplexer has to write for these calls: bases and qualities as letters."""
    bases = "".join("N" if c == 0 else BASES[c & 3] for c in calls)
    qualities = "".join("#" if c == 0 else chr(33 + BINS[c >> 2]) for c in calls)
    return bases, qualities


def pairs_of(bam):
    """Both mates of every pair whose primary records both lie in the region, as the instrument read them, by name."""
    mates = {}
    command = ["samtools", "view", "-F", "0x900", str(bam), REGION]
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        name, flag, *_, bases, qualities = line.split("\t")[:11]
        flag = int(flag)
        if len(bases) != READ_CYCLES or bases == "*" or qualities == "*":
            raise SystemExit(f"read {name} has {len(bases)} bases, not {READ_CYCLES}: the layout has no room for it")
        if flag & 16:
            bases, qualities = bases.translate(COMPLEMENT)[::-1], qualities[::-1]
        mates.setdefault(name, {})[1 if flag & 64 else 2] = (bases, qualities)
    whole = {name: pair for name, pair in mates.items() if set(pair) == {1, 2}}
    if len(whole) != PAIRS:
        raise SystemExit(f"{bam} gives {len(whole)} whole pairs in {REGION}, expected {PAIRS}")
    return whole


def index_reads(name):
    """The sample a pair is given to (None: nobody's), its two index reads, and how many of those hold an error."""
    u = draw("sample", name)
    for sample, (_, _, i7, i5, share) in enumerate(SAMPLES):
        if u < share:
            break
        u -= share
    u = draw("undetermined", name)
    if u < POLY_G:  # a dark cluster: two colours call no light as G
        return None, ["G" * INDEX_CYCLES] * 2, 0
    if u < POLY_G + JUNK:
        return None, [far_from([s[which] for s in SAMPLES], name) for which in (2, 3)], 0
    if u < POLY_G + JUNK + HOPPED:
        other = (sample + 1 + int(draw("hopped to", name) * (len(SAMPLES) - 1))) % len(SAMPLES)
        return None, [i7, SAMPLES[other][3]], 0
    reads, errors = [], 0
    for which, index in (("i7", i7), ("i5", i5)):
        if draw("error", which, name) < INDEX_ERROR:
            at = int(draw("error at", which, name) * INDEX_CYCLES)
            others = BASES.replace(index[at], "")
            wrong = "N" if draw("no-call", which, name) < 0.1 else others[int(draw("wrong", which, name) * 3)]
            index, errors = index[:at] + wrong + index[at + 1 :], errors + 1
        reads.append(index)
    return sample, reads, errors


def far_from(indexes, name):
    for attempt in range(1000):
        junk = "".join(BASES[int(draw("junk", name, attempt, indexes[0], at) * 4)] for at in range(INDEX_CYCLES))
        if all(distance(junk, index) >= 3 for index in indexes):
            return junk
    raise SystemExit("no junk index is far enough from the real ones")


def clusters_of(bam):
    """Every well of the flow cell in order: passing or not, its sample, errors in its index, its calls per segment."""
    clusters = []
    for name, mates in pairs_of(bam).items():
        sample, indexes, errors = index_reads(name)
        calls = []
        for number in (1, 2):
            bases, qualities = mates[number]
            calls.append([call(b, bin_of(ord(q) - 33)) for b, q in zip(bases, qualities, strict=True)])
        template = [None, None]
        if sample is not None:
            template = SAMPLES[sample][2:4]
        index_calls = [
            [
                call(base, 1 if right and base != right[at] else 3 if draw("dim", name, which, at) < 0.93 else 2)
                for at, base in enumerate(read)
            ]
            for which, (read, right) in enumerate(zip(indexes, template, strict=True))
        ]
        clusters.append((draw("well", name), True, sample, errors, [calls[0], *index_calls, calls[1]]))
    # The rest of the wells are empty or hold two molecules. What they "read" is noise made here, and none of it passes.
    for number in range(WELLS * len(TILES) - len(clusters)):
        noise = [
            [1 + int(draw("noise", number, segment, at) * 7) for at in range(length)]
            for segment, (_, length) in enumerate(LAYOUT)
        ]
        noise = [[c if c >= 4 else 0 for c in segment] for segment in noise]
        clusters.append((draw("empty well", number), False, None, 0, noise))
    clusters.sort(key=lambda cluster: cluster[0])
    return [cluster[1:] for cluster in clusters]


def gzip_member(plain):
    """A gzip member whose header names no time and no system."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = deflate.compress(plain) + deflate.flush()
    return b"\x1f\x8b\x08\0\0\0\0\0\x02\xff" + body + struct.pack("<2I", zlib.crc32(plain), len(plain))


def cbcl(tiles, passing_only):
    """One file: a cycle of one surface. `tiles` pairs each tile with its calls in that cycle."""
    records, blocks = b"", b""
    for tile, calls in tiles:
        even = calls + [0] * (len(calls) % 2)
        packed = bytes(low | high << 4 for low, high in zip(even[0::2], even[1::2], strict=True))
        block = gzip_member(packed)
        records += struct.pack("<4I", tile, len(calls), len(packed), len(block))
        blocks += block
    head = struct.pack("<2BI", 2, 2, len(BINS)) + b"".join(struct.pack("<2I", *pair) for pair in enumerate(BINS))
    head += struct.pack("<I", len(tiles)) + records + bytes([passing_only])
    return struct.pack("<HI", 1, len(head) + 6) + head + blocks


def well_positions():
    """The centre of each well as 32-bit floats, and the whole numbers that FASTQ headers give for it."""
    across = math.ceil(math.sqrt(WELLS))
    exact = [((well % across) * 1.8109 + 1.0, (well // across) * 1.8109 + 2.0) for well in range(WELLS)]
    floats = [struct.unpack("<2f", struct.pack("<2f", *at)) for at in exact]
    return floats, [tuple(round(10 * v + 1000) for v in at) for at in floats]


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def write_base_calls(run, clusters):
    calls_dir = run / f"Data/Intensities/BaseCalls/L{LANE:03d}"
    of_tile = {tile: clusters[n * WELLS : (n + 1) * WELLS] for n, tile in enumerate(TILES)}
    for tile, wells in of_tile.items():
        flags = bytes(passes for passes, *_ in wells)
        write(calls_dir / f"s_{LANE}_{tile}.filter", struct.pack("<3I", 0, 3, len(flags)) + flags)
    cycle = 0
    for segment, (_, length) in enumerate(LAYOUT):
        for at in range(length):
            cycle += 1
            passing_only = cycle > CYCLES_WITH_FAILING
            for surface, tiles in SURFACES.items():
                content = [
                    (tile, [calls[segment][at] for passes, _, _, calls in of_tile[tile] if passes or not passing_only])
                    for tile in tiles
                ]
                write(calls_dir / f"C{cycle}.1/L{LANE:03d}_{surface}.cbcl", cbcl(content, passing_only))
    floats, _ = well_positions()
    locs = struct.pack("<IfI", 1, 1.0, WELLS) + b"".join(struct.pack("<2f", *at) for at in floats)
    write(run / "Data/Intensities/s.locs", locs)


def write_metrics(run, clusters):
    """The two metrics files that can be told from the calls alone: TileMetrics version 3 and QMetrics version 7."""
    of_tile = {tile: clusters[n * WELLS : (n + 1) * WELLS] for n, tile in enumerate(TILES)}
    tile_metrics = struct.pack("<BBf", 3, 15, TILE_AREA_MM2)
    for tile, wells in of_tile.items():
        passing = sum(passes for passes, *_ in wells)
        tile_metrics += struct.pack("<HIcff", LANE, tile, b"t", WELLS, passing)
        for read in range(1, len(LAYOUT) + 1):  # nothing was aligned on the instrument
            tile_metrics += struct.pack("<HIcIf", LANE, tile, b"r", read, math.nan)
    write(run / "InterOp/TileMetricsOut.bin", tile_metrics)

    q_metrics = bytes([7, 8 + 4 * len(QUALITY_CUTS), 1, len(QUALITY_CUTS)])
    q_metrics += b"".join(bytes(cut) for cut in QUALITY_CUTS)
    cycle = 0
    for segment, (_, length) in enumerate(LAYOUT):
        for at in range(length):
            cycle += 1
            for tile, wells in of_tile.items():
                bins = Counter(calls[segment][at] >> 2 for passes, _, _, calls in wells if passes and calls[segment][at])
                histogram = [bins[n] for n in range(1, len(BINS))]
                q_metrics += struct.pack(f"<HIH{len(histogram)}I", LANE, tile, cycle, *histogram)
    write(run / "InterOp/QMetricsOut.bin", q_metrics)


def write_documents(run):
    reads = "".join(
        f'      <Read Number="{number}" NumCycles="{length}" IsIndexedRead="{"Y" if kind == "I" else "N"}" />\n'
        for number, (kind, length) in enumerate(LAYOUT, 1)
    )
    tiles = "".join(f"          <Tile>{LANE}_{tile}</Tile>\n" for tile in TILES)
    write(
        run / "RunInfo.xml",
        f"""<?xml version="1.0" encoding="utf-8"?>
<RunInfo xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" Version="5">
  <Run Id="{RUN_ID}" Number="{RUN_NUMBER}">
    <Flowcell>{FLOW_CELL}</Flowcell>
    <Instrument>{INSTRUMENT}</Instrument>
    <Date>11/2/2026 9:12:04 AM</Date>
    <Reads>
{reads}    </Reads>
    <FlowcellLayout LaneCount="1" SurfaceCount="2" SwathCount="1" TileCount="2" FlowcellSide="1">
      <TileSet TileNamingConvention="FourDigit">
        <Tiles>
{tiles}        </Tiles>
      </TileSet>
    </FlowcellLayout>
    <AlignToPhiX />
    <ImageDimensions Width="3200" Height="3607" />
    <ImageChannels>
      <Name>RED</Name>
      <Name>GREEN</Name>
    </ImageChannels>
  </Run>
</RunInfo>
""",
    )
    write(
        run / "RunParameters.xml",
        f"""<?xml version="1.0" encoding="utf-8"?>
<RunParameters xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <RunId>{RUN_ID}</RunId>
  <RunNumber>{RUN_NUMBER}</RunNumber>
  <InstrumentName>{INSTRUMENT}</InstrumentName>
  <Side>A</Side>
  <ExperimentName>Chorion demo: real reads, put into a run folder by us</ExperimentName>
  <ApplicationName>NovaSeq Control Software</ApplicationName>
  <ApplicationVersion>1.7.0</ApplicationVersion>
  <RtaVersion>v3.4.4</RtaVersion>
  <FlowCellMode>SP</FlowCellMode>
  <PlannedRead1Cycles>{LAYOUT[0][1]}</PlannedRead1Cycles>
  <PlannedIndex1ReadCycles>{LAYOUT[1][1]}</PlannedIndex1ReadCycles>
  <PlannedIndex2ReadCycles>{LAYOUT[2][1]}</PlannedIndex2ReadCycles>
  <PlannedRead2Cycles>{LAYOUT[3][1]}</PlannedRead2Cycles>
</RunParameters>
""",
    )
    rows = "".join(f"{LANE},{s[0]},{s[2]},{s[3]},{s[1]}\n" for s in SAMPLES)
    write(
        run / "SampleSheet.csv",
        f"""[Header]
FileFormatVersion,2
RunName,Chorion demo
InstrumentPlatform,NovaSeq
IndexOrientation,Forward

[Reads]
Read1Cycles,{LAYOUT[0][1]}
Read2Cycles,{LAYOUT[3][1]}
Index1Cycles,{LAYOUT[1][1]}
Index2Cycles,{LAYOUT[2][1]}

[BCLConvert_Settings]
SoftwareVersion,4.0.3
BarcodeMismatchesIndex1,1
BarcodeMismatchesIndex2,1

[BCLConvert_Data]
Lane,Sample_ID,Index,Index2,Sample_Project
{rows}""",
    )
    write(run / "RTAComplete.txt", "11/2/2026,18:04:11.207,RTA 3.4.4\n")
    write(run / "SequenceComplete.txt", "")
    write(run / "CopyComplete.txt", "")


def truth_of(clusters):
    """What a demultiplexer must find, computed from the clusters and not from the files."""
    names = [sample[0] for sample in SAMPLES] + ["Undetermined"]
    matches = dict(exact=0, one_mismatch=0, two_mismatch=0)
    counts = {name: dict(reads=0, bases=0, q30_bases=0) | matches for name in names[:-1]}
    counts[names[-1]] = dict(reads=0, bases=0, q30_bases=0)
    seqqual = {(name, read): hashlib.sha256() for name in names for read in ("R1", "R2")}
    fastq = {key: hashlib.sha256() for key in seqqual}
    multiset = dict.fromkeys(seqqual, 0)
    unknown, tiles = Counter(), Counter()
    _, positions = well_positions()
    for number, (passes, sample, errors, calls) in enumerate(clusters):
        if not passes:
            continue
        tile, (x, y) = TILES[number // WELLS], positions[number % WELLS]
        tiles[tile] += 1
        name = names[-1] if sample is None else names[sample]
        index = "+".join(text(calls[segment])[0] for segment in (1, 2))
        count = counts[name]
        count["reads"] += 1
        if sample is None:
            unknown[index] += 1
        else:
            count[list(matches)[errors]] += 1
        for read, segment in (("R1", 0), ("R2", 3)):
            bases, qualities = text(calls[segment])
            count["bases"] += len(bases)
            count["q30_bases"] += sum(q >= chr(33 + 30) for q in qualities)
            both = f"{bases}\n{qualities}\n".encode()
            seqqual[name, read].update(both)
            first = int.from_bytes(hashlib.sha256(both).digest()[:8], "little")
            multiset[name, read] = (multiset[name, read] + first) % 2**64
            header = f"@{INSTRUMENT}:{RUN_NUMBER}:{FLOW_CELL}:{LANE}:{tile}:{x}:{y} {read[1]}:N:0:{index}"
            fastq[name, read].update(f"{header}\n{bases}\n+\n{qualities}\n".encode())
    for name, read in seqqual:
        counts[name].setdefault("digest", {})[read] = {
            "seqqual_sha256": seqqual[name, read].hexdigest(),
            "multiset64": f"{multiset[name, read]:016x}",
            "fastq_sha256": fastq[name, read].hexdigest(),
        }
    return {
        "about": "seqqual_sha256: SHA-256 of SEQ, newline, QUAL, newline of every passing read in the order tile, well; "
        "fastq_sha256: of the whole FASTQ text; multiset64: order-free, the sum mod 2^64 of the first 8 bytes "
        "(little endian) of each read's SHA-256. Mismatches count errors in both indexes together.",
        "run_id": RUN_ID,
        "format": "cbcl",
        "layout": [list(segment) for segment in LAYOUT],
        "bins": BINS,
        "samples": [dict(id=s[0], project=s[1], index=s[2], index2=s[3]) for s in SAMPLES],
        "counts": counts,
        "tiles": [dict(lane=LANE, tile=tile, clusters=WELLS, pf=tiles[tile]) for tile in TILES],
        "total_clusters": len(clusters),
        "total_pf": sum(tiles.values()),
        "top_unknown": sorted(unknown.items(), key=lambda item: (-item[1], item[0]))[:20],
    }


def write_reference(whole_fasta, out):
    with gzip.open(whole_fasta, "rt") as lines:
        next(lines)
        sequence = "".join(line.strip() for line in lines if not line.startswith(">"))
    found = hashlib.md5(sequence.upper().encode()).hexdigest()
    if found != SEQUENCE_20_MD5:
        raise SystemExit(f"{whole_fasta} has the md5 {found}, the reads were aligned to {SEQUENCE_20_MD5}")
    part = sequence[REFERENCE_FIRST - 1 : REFERENCE_LAST].upper()
    lines = [f">{REFERENCE_NAME} GRCh37 20:{REFERENCE_FIRST}-{REFERENCE_LAST} offset={REFERENCE_FIRST - 1}"]
    lines += [part[at : at + 60] for at in range(0, len(part), 60)]
    write(out / f"reference/{REFERENCE_NAME}.fa.gz", gzip_member(("\n".join(lines) + "\n").encode()))


def check_indexes():
    for which in (2, 3):
        for a in SAMPLES:
            for b in SAMPLES:
                if a is not b and distance(a[which], b[which]) < 4:
                    raise SystemExit(f"the indexes of {a[0]} and {b[0]} are too close: {a[which]}, {b[which]}")


def main():
    options = argparse.ArgumentParser(description="put real reads into a run folder")
    options.add_argument("--bam", type=Path, required=True)
    options.add_argument("--reference", type=Path, default=Path("/usr/share/doc/vt/examples/ref/20.fa.gz"))
    options.add_argument("--out", type=Path, default=Path(__file__).parent / "demo")
    options = options.parse_args()

    check_indexes()
    clusters = clusters_of(options.bam)
    run = options.out / "runs" / RUN_ID
    if run.exists():
        shutil.rmtree(run)
    write_base_calls(run, clusters)
    write_metrics(run, clusters)
    write_documents(run)
    truth = truth_of(clusters)
    write(options.out / "truth.json", json.dumps(truth, indent=1) + "\n")
    write_reference(options.reference, options.out)
    size = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file())
    print(f"{run}: {truth['total_clusters']} wells, {truth['total_pf']} pass, {size / 2**20:.2f} MiB with everything")
    for name, count in truth["counts"].items():
        print(f"  {name}: " + ", ".join(f"{k} {v}" for k, v in count.items() if k != "digest"))


if __name__ == "__main__":
    main()
