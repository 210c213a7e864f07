#!/usr/bin/env python3
"""`chorion demux` beside picard on generated runs, CBCL and bgzf: paired, in turns, medians with spread.

Every round demultiplexes the same bytes once with each, in a new order; ratios of CPU seconds are taken within a round, so that a
slow minute of the machine slows both sides. What Chorion wrote is held against the digests of the run's truth file. picard needs
two programs for this work and both count.

    cargo build --release -p chorion; cargo build --release -p runfolder --example member_ceiling; testing/setup.sh bench
    CHORION_TEST_DATA=DIR benches/demux.py [--clusters 250000] [--rounds 3] [--isa-l] [--bcl2fastr PROGRAM] [--bounds]

DIR/runs/make_run.py makes the runs, about 500 MB of them, under target/bench-runs; they are kept for the next time. bcl2fastr is on no
registry: whoever has built it names it. `--bounds` measures memory on tiles of 400,000 and of 4 million clusters and 5,000 samples
under a limit of 64 open files; its runs take 2.5 GB and some minutes to make. `--isa-l` wants programs built with that feature.
`--chorion` may also name the example `folder_to_fastq` of crate runfolder, which is the library alone.
"""

import argparse
import gzip
import hashlib
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
JARS = ["/usr/share/java/picard.jar", "/usr/share/java/commons-lang.jar"]
# What has to be reached with libdeflate and with ISA-L: medians of the ratios of CPU seconds, the peer's to ours,
GOALS = {"picard": (10.0, 14.0), "bcl2fastr": (8.0, 11.0)}
# and of wall seconds of picard to ours,
WALL_GOAL = 14.0
# and the share of what one thread compresses where it does nothing else: text written in a CPU second, to text compressed in one.
CEILING_GOALS = (0.65, 0.50)
# Peak memory in MiB: with small tiles, and for each thread; with tiles of 4 million clusters.
SMALL_TILES, PER_THREAD, LARGE_TILES = 256, 128, 1.2 * 1024


def run(command, folder, files=None):
    """CPU seconds, wall seconds and peak memory in MiB; with at most so many open files."""
    start = time.perf_counter()
    limit = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))) if files else None
    with open(folder / "said.txt", "wb") as said:
        child = subprocess.Popen([str(part) for part in command], cwd=folder, stdout=said, stderr=said, preexec_fn=limit)
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        text = (folder / "said.txt").read_text(errors="replace")
        sys.exit(f"error: {command[0]} failed:\n{text[-2000:]}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - start, usage.ru_maxrss / 1024


def make(data, name, form, tiles, clusters, samples=24, index="8,8"):
    folder = ROOT / "target/bench-runs" / name
    if not (folder / "truth.json").exists():
        print(f"making a {form} run of {2 * tiles * clusters} clusters", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run(
            [sys.executable, data / "runs/make_run.py", "--out", folder, "--format", form, "--lanes", "1", "--tiles", str(tiles),
             "--clusters", str(clusters), "--samples", str(samples), "--reads", "151,151", "--index", index, "--no-multiset",
             "--fastq-digest", "--seed", "1"],
            check=True, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    return folder


def ours(program, threads, isa_l, folder, desk, files=None):
    sheet, out = folder / "SampleSheet_v2.csv", desk / "out"
    if program.name.startswith("folder_to_fastq"):
        command = [program, folder, sheet, out, threads, *(["isa-l"] if isa_l else [])]
    else:
        command = [program, "demux", folder, "-o", out, "--sample-sheet", sheet, "--threads", threads, *(["--isa-l"] if isa_l else [])]
    return run(command, desk, files)


def bcl2fastr(program, folder, desk):
    (desk / "fastr").mkdir()
    sheet = folder / "SampleSheet.csv"
    return run([program, "--run-path", folder, "--samplesheet", sheet, "--output", desk / "fastr", "--threads", "2", "--read-chunks", "4"], desk)


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


def check(folder, out, headers=True):
    """Every file's text has the digest that the truth file gives for it, or its sequences and qualities alone have."""
    truth = json.loads((folder / "truth.json").read_text())
    for sample, counts in truth["counts"].items():
        for read, digests in counts["digest"].items():
            (path,) = out.glob(f"**/{sample}_S*_L001_{read}_001.fastq.gz")
            with gzip.open(path) as text:
                if headers:
                    same = hashlib.file_digest(text, "sha256").hexdigest() == digests["fastq_sha256"]
                else:
                    digest = hashlib.sha256()
                    for number, line in enumerate(text):
                        if number % 2:
                            digest.update(line)
                    same = digest.hexdigest() == digests["seqqual_sha256"]
                if not same:
                    sys.exit(f"error: {path.name} of {folder.name} is not what the truth file says")


def size(out):
    """Bytes of all FASTQ files of samples, and of undetermined reads."""
    files = [(path.name.startswith("Undetermined"), path.stat().st_size) for path in out.glob("**/*.fastq.gz")]
    return sum(bytes for undetermined, bytes in files if not undetermined), sum(bytes for undetermined, bytes in files if undetermined)


def bounds(data, arguments):
    """Peak memory with large tiles, and very many samples under a limit of open files. Whether something was missed."""
    missed = False
    threads = int(arguments.threads)
    for name, tiles, clusters, samples, index, most, files in (
        ("cbcl-t400k", 1, 400_000, 24, "8,8", SMALL_TILES + PER_THREAD * threads, None),
        ("cbcl-t4m", 1, 4_000_000, 24, "8,8", LARGE_TILES, None),
        ("cbcl-5000", 1, 100_000, 5000, "10,10", SMALL_TILES + PER_THREAD * threads, 64),
    ):
        folder = make(data, name, "cbcl", tiles, clusters, samples, index)
        with tempfile.TemporaryDirectory(dir=ROOT / "target") as desk:
            desk = pathlib.Path(desk)
            cpu, wall, memory = ours(arguments.chorion.resolve(), arguments.threads, arguments.isa_l, folder, desk, files)
            # Far out on a large tile coordinates lie half-way between two whole ones: the generator rounds them to even, picard and we up.
            check(folder, desk / "out", headers=clusters <= 400_000)
        missed |= memory > most
        limit = f", at most {files} open files" if files else ""
        print(f"{name}: tiles of {clusters} clusters, {samples} samples{limit}: CPU {cpu:.1f} s, peak {memory:.0f} MiB of {most:.0f}; digests are right")
    return missed


def ceiling(program, out, isa_l):
    """Bytes of text in a file of the output, and bytes a second that one thread compresses of them and does nothing else."""
    largest = max(out.glob("**/*_R1_001.fastq.gz"), key=lambda path: path.stat().st_size)
    with gzip.open(largest) as text:
        said = subprocess.run([program, *(["isa-l"] if isa_l else [])], input=text.read(), stdout=subprocess.PIPE, check=True).stdout
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
    parser.add_argument("--isa-l", action="store_true", help="compress with ISA-L")
    parser.add_argument("--bcl2fastr", type=pathlib.Path, help="a program that was built elsewhere")
    parser.add_argument("--formats", default="cbcl,bgzf")
    parser.add_argument("--bounds", action="store_true", help="memory and open files instead of speed")
    arguments = parser.parse_args()
    data = pathlib.Path(os.environ.get("CHORION_TEST_DATA", "/nowhere"))
    if not (data / "runs/make_run.py").exists():
        print("skipped: not here (CHORION_TEST_DATA names no folder with runs/make_run.py)")
        return
    if arguments.bounds:
        sys.exit(bounds(data, arguments))
    peers = {}
    if shutil.which("java") and all(os.path.exists(jar) for jar in JARS):
        peers["picard"] = picard
    else:
        print("picard is missing: no ratio (testing/setup.sh bench installs it)")
    if arguments.bcl2fastr:
        peers["bcl2fastr"] = lambda folder, desk: bcl2fastr(arguments.bcl2fastr.resolve(), folder, desk)
    else:
        print("bcl2fastr is missing: no ratio (it is on no registry; --bcl2fastr names a program)")
    missed = False
    for form in arguments.formats.split(","):
        folder = make(data, f"{form}-{arguments.clusters}", form, 4, arguments.clusters)
        passing = json.loads((folder / "truth.json").read_text())["total_pf"]
        limit, written, sizes = None, 0, {}
        figures = {"chorion": [], **{peer: [] for peer in peers if peer != "bcl2fastr" or form == "cbcl"}}
        for number in range(arguments.rounds):
            tools = list(figures)
            random.Random(number).shuffle(tools)
            for tool in tools:
                with tempfile.TemporaryDirectory(dir=ROOT / "target") as desk:
                    desk = pathlib.Path(desk)
                    if tool != "chorion":
                        figures[tool].append(peers[tool](folder, desk))
                    else:
                        figures[tool].append(ours(arguments.chorion.resolve(), arguments.threads, arguments.isa_l, folder, desk))
                        if number == 0:
                            check(folder, desk / "out")
                            if arguments.ceiling.exists():
                                limit = ceiling(arguments.ceiling.resolve(), desk / "out", arguments.isa_l)
                                written = text_bytes(desk / "out")
                    sizes[tool] = size(desk)
        print(f"{form}: {passing} clusters pass; what chorion wrote has the digests of the truth file")
        for tool, rounds in figures.items():
            cpu, wall, memory = zip(*rounds)
            speed = passing / statistics.median(cpu) / 1000
            of_samples, of_others = (bytes / 1e6 for bytes in sizes[tool])
            print(f"  {tool:9} CPU s {spread(cpu):24} wall s {spread(wall):24} peak MiB {max(memory):6.0f}  {speed:6.1f} k clusters / CPU s"
                  f"  samples {of_samples:.1f} MB, undetermined {of_others:.1f} MB")  # fmt: skip
        if limit:
            goal = CEILING_GOALS[arguments.isa_l]
            share = statistics.median(written / round[0] for round in figures["chorion"]) / limit
            missed |= share < goal
            print(f"  of the ceiling of {limit / 1e6:.0f} MB/s: {share:.2f}, goal {goal}: {'reached' if share >= goal else 'MISSED'}")
        for peer in list(figures)[1:]:
            kinds = [("CPU", 0, GOALS[peer][arguments.isa_l])] + ([("wall", 1, WALL_GOAL)] if peer == "picard" and arguments.threads == "2" else [])
            for kind, column, goal in kinds:
                ratios = [theirs[column] / mine[column] for mine, theirs in zip(figures["chorion"], figures[peer])]
                median = statistics.median(ratios)
                missed |= median < goal
                print(f"  {peer} / chorion, {kind}: {spread(ratios)}, goal {goal}: {'reached' if median >= goal else 'MISSED'}")
    sys.exit(missed)


if __name__ == "__main__":
    main()
