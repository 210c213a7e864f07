#!/usr/bin/env python3
"""Lets picard demultiplex the demo run and compares its reads with truth.json.

picard writes reads sorted by name, so their order is not compared; it counts mismatches over both indexes joined, which for these
indexes gives the same samples. Needs `testing/setup.sh bench`.

    picard.py testing/demo OUT
"""

import json
import subprocess
import sys
from pathlib import Path

JARS = "/usr/share/java/picard.jar:/usr/share/java/commons-lang.jar"


def picard(folder, *arguments):
    command = ["java", "-Xmx2g", "-cp", JARS, "picard.cmdline.PicardCommandLine", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"picard {arguments[0]} failed with {done.returncode}:\n{done.stderr[-2000:]}")


def main():
    demo, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    truth = json.loads((demo / "truth.json").read_text())
    calls = demo / "runs" / truth["run_id"] / "Data/Intensities/BaseCalls"
    _, instrument, number, flow_cell = truth["run_id"].split("_")
    structure = "".join(f"{length}{'T' if kind == 'R' else 'B'}" for kind, length in truth["layout"])
    for folder in ("barcodes", "fastq"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    rows = [(s["index"], s["index2"], s["id"]) for s in truth["samples"]]
    (out / "barcodes.tsv").write_text(
        "barcode_sequence_1\tbarcode_sequence_2\tbarcode_name\tlibrary_name\n"
        + "".join(f"{i7}\t{i5}\t{name}\t{name}\n" for i7, i5, name in rows)
    )
    (out / "multiplex.tsv").write_text(
        "OUTPUT_PREFIX\tBARCODE_1\tBARCODE_2\n"
        + "".join(f"{name}\t{i7}\t{i5}\n" for i7, i5, name in rows)
        + "Undetermined\tN\tN\n"
    )
    common = [f"B={calls}", "L=1", f"RS={structure}", "NUM_PROCESSORS=2"]
    picard(
        out, "ExtractIlluminaBarcodes", *common, "BARCODE_FILE=barcodes.tsv", "METRICS_FILE=metrics.txt",
        "OUTPUT_DIR=barcodes", "MAX_MISMATCHES=2", "MIN_MISMATCH_DELTA=1", "MAX_NO_CALLS=2",
    )  # fmt: skip
    picard(
        out / "fastq", "IlluminaBasecallsToFastq", *common, f"BARCODES_DIR={out}/barcodes",
        f"MULTIPLEX_PARAMS={out}/multiplex.tsv", f"MACHINE_NAME={instrument}", f"RUN_BARCODE={int(number)}",
        f"FLOWCELL_BARCODE={flow_cell[1:]}", "READ_NAME_FORMAT=CASAVA_1_8", "INCLUDE_NON_PF_READS=false",
        "COMPRESS_OUTPUTS=true", "APPLY_EAMSS_FILTER=false",
    )  # fmt: skip
    compare = Path(__file__).with_name("compare_fastq.py")
    sys.exit(subprocess.call([sys.executable, compare, demo / "truth.json", out / "fastq", "--any-order"]))


if __name__ == "__main__":
    main()
