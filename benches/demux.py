#!/usr/bin/env python3
"""`chorion demux` beside picard on generated runs, CBCL and bgzf: paired, in turns, medians with spread.

Every round demultiplexes the same bytes once with each, in a new order; ratios of CPU seconds are taken within a round, so that a
slow minute of the machine slows both sides. What Chorion wrote is held against the digests of the run's truth file. picard needs
two programs for this work and both count.

    cargo build --release -p chorion; cargo build --release -p runfolder --example member_ceiling; testing/setup.sh bench
    CHORION_TEST_DATA=DIR benches/demux.py [--clusters 250000] [--rounds 3]

DIR/runs/make_run.py makes the runs, about 500 MB of them, under target/bench-runs; they are kept for the next time.
"""

import argparse
import gzip
import hashlib
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
JARS = ["/usr/share/java/picard.jar", "/usr/share/java/commons-lang.jar"]
# What has to be reached: median of the ratio of CPU seconds, picard's to ours.
GOAL = 10.0
# And the share of what one thread compresses where it does nothing else: text written in a CPU second, to text compressed in one.
CEILING_GOAL = 0.65


def run(command, folder):
    """CPU seconds, wall seconds and peak memory in MiB."""
    start = time.perf_counter()
    with open(folder / "said.txt", "wb") as said:
        child = subprocess.Popen([str(part) for part in command], cwd=folder, stdout=said, stderr=said)
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        text = (folder / "said.txt").read_text(errors="replace")
        sys.exit(f"error: {command[0]} failed:\n{text[-2000:]}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - start, usage.ru_maxrss / 1024


def make(data, form, clusters):
    folder = ROOT / "target/bench-runs" / f"{form}-{clusters}"
    if not (folder / "truth.json").exists():
        print(f"making a {form} run of {8 * clusters} clusters", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run(
            [sys.executable, data / "runs/make_run.py", "--out", folder, "--format", form, "--lanes", "1", "--tiles", "4",
             "--clusters", str(clusters), "--samples", "24", "--reads", "151,151", "--index", "8,8", "--no-multiset",
             "--fastq-digest", "--seed", "1"],
            check=True, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    return folder


def ours(chorion, threads, folder, desk):
    return run([chorion, "demux", folder, "-o", desk / "out", "--sample-sheet", folder / "SampleSheet_v2.csv", "--threads", threads], desk)


def picard(folder, desk):
    truth = json.loads((folder / "truth.json").read_text())
    _, instrument, number, flow_cell = truth["run_id"].split("_")
    structure = (folder / "picard/read_structure.txt").read_text()
    common = [f"B={folder}/Data/Intensities/BaseCalls", "L=1", f"RS={structure}", "NUM_PROCESSORS=2"]
    java = ["java", "-Xmx6g", "-cp", ":".join(JARS), "picard.cmdline.PicardCommandLine"]
    (desk / "barcodes").mkdir()
    (desk / "fastq").mkdir()
    first = run(
        [*java, "ExtractIlluminaBarcodes", *common, f"BARCODE_FILE={folder}/picard/barcodes.tsv", "METRICS_FILE=metrics.txt",
         "OUTPUT_DIR=barcodes", "MAX_MISMATCHES=2", "MIN_MISMATCH_DELTA=1", "MAX_NO_CALLS=2"], desk,
    )  # fmt: skip
    second = run(
        [*java, "IlluminaBasecallsToFastq", *common, f"BARCODES_DIR={desk}/barcodes", f"MULTIPLEX_PARAMS={folder}/picard/multiplex.tsv",
         f"MACHINE_NAME={instrument}", f"RUN_BARCODE={int(number)}", f"FLOWCELL_BARCODE={flow_cell}", "READ_NAME_FORMAT=CASAVA_1_8",
         "INCLUDE_NON_PF_READS=false", "COMPRESS_OUTPUTS=true", "APPLY_EAMSS_FILTER=false"], desk / "fastq",
    )  # fmt: skip
    return first[0] + second[0], first[1] + second[1], max(first[2], second[2])


def check(folder, out):
    """Every file's text has the digest that the truth file gives for it."""
    truth = json.loads((folder / "truth.json").read_text())
    for sample, counts in truth["counts"].items():
        for read, digests in counts["digest"].items():
            (path,) = out.glob(f"**/{sample}_S*_L001_{read}_001.fastq.gz")
            with gzip.open(path) as text:
                if hashlib.file_digest(text, "sha256").hexdigest() != digests["fastq_sha256"]:
                    sys.exit(f"error: {path.name} of {folder.name} is not what the truth file says")


def ceiling(program, out):
    """Bytes of text in a file of the output, and bytes a second that one thread compresses of them and does nothing else."""
    largest = max(out.glob("**/*_R1_001.fastq.gz"), key=lambda path: path.stat().st_size)
    with gzip.open(largest) as text:
        said = subprocess.run([program], input=text.read(), stdout=subprocess.PIPE, check=True).stdout
    return float(said.split()[0]) * 1e6


def text_bytes(out):
    total = 0
    for path in out.glob("**/*.fastq.gz"):
        with gzip.open(path) as text:
            while piece := text.read(1 << 20):
                total += len(piece)
    return total


def spread(values):
    return f"{statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f})"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--chorion", default=ROOT / "target/release/chorion", type=pathlib.Path)
    parser.add_argument("--ceiling", default=ROOT / "target/release/examples/member_ceiling", type=pathlib.Path)
    parser.add_argument("--clusters", type=int, default=250_000, help="clusters on each of 8 tiles")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", default="2")
    arguments = parser.parse_args()
    data = pathlib.Path(os.environ.get("CHORION_TEST_DATA", "/nowhere"))
    if not (data / "runs/make_run.py").exists():
        print("skipped: not here (CHORION_TEST_DATA names no folder with runs/make_run.py)")
        return
    peer = shutil.which("java") and all(os.path.exists(jar) for jar in JARS)
    if not peer:
        print("picard is missing: no ratio (testing/setup.sh bench installs it)")
    missed = False
    for form in ("cbcl", "bgzf"):
        folder = make(data, form, arguments.clusters)
        passing = json.loads((folder / "truth.json").read_text())["total_pf"]
        limit, written = None, 0
        figures = {"chorion": [], **({"picard": []} if peer else {})}
        for number in range(arguments.rounds):
            tools = list(figures)
            random.Random(number).shuffle(tools)
            for tool in tools:
                with tempfile.TemporaryDirectory(dir=ROOT / "target") as desk:
                    desk = pathlib.Path(desk)
                    if tool == "picard":
                        figures[tool].append(picard(folder, desk))
                    else:
                        figures[tool].append(ours(arguments.chorion.resolve(), arguments.threads, folder, desk))
                        if number == 0:
                            check(folder, desk / "out")
                            if arguments.ceiling.exists():
                                limit, written = ceiling(arguments.ceiling.resolve(), desk / "out"), text_bytes(desk / "out")
        print(f"{form}: {passing} clusters pass; what chorion wrote has the digests of the truth file")
        for tool, rounds in figures.items():
            cpu, wall, memory = zip(*rounds)
            speed = passing / statistics.median(cpu) / 1000
            print(f"  {tool:8} CPU s {spread(cpu):24} wall s {spread(wall):24} peak MiB {max(memory):6.0f}  {speed:6.1f} k clusters / CPU s")
        if limit:
            share = statistics.median(written / round[0] for round in figures["chorion"]) / limit
            missed |= share < CEILING_GOAL
            print(f"  of the ceiling of {limit / 1e6:.0f} MB/s: {share:.2f}, goal {CEILING_GOAL}: {'reached' if share >= CEILING_GOAL else 'MISSED'}")
        if peer:
            ratios = [theirs[0] / mine[0] for mine, theirs in zip(figures["chorion"], figures["picard"])]
            median = statistics.median(ratios)
            missed |= median < GOAL
            print(f"  picard / chorion, CPU: {spread(ratios)}, goal {GOAL}: {'reached' if median >= GOAL else 'MISSED'}")
    sys.exit(missed)


if __name__ == "__main__":
    main()
