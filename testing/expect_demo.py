#!/usr/bin/env python3
"""What samtools, bcftools and fastp say about the reads of the demo run, outside Chorion: testing/demo/expected.json.

The FASTQ comes from check_demo_run.py, so neither our demultiplexer nor our sandbox has a hand in the figures. The commands
stand in expected.json beside what they gave: an app that runs the same commands must arrive at the same figures.

    python3 testing/check_demo_run.py testing/demo --fastq target/demo-fastq
    python3 testing/expect_demo.py testing/demo target/demo-fastq [--check]

With --check nothing is written: the figures are compared with the file there, and a difference ends with exit status 1.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ALIGN = (
    "minimap2 -t 1 -a -x sr -R '@RG\\tID:{name}\\tSM:{name}' reference.fa {name}_R1.fastq.gz {name}_R2.fastq.gz"
    " | samtools sort -o {name}.bam - && samtools index {name}.bam"
)
CALL = "bcftools mpileup -f reference.fa {bams} | bcftools call -m -v --ploidy 2 -O v -o {name}.vcf -"
QUALITY = "fastp -w 1 -i {name}_R1.fastq.gz -I {name}_R2.fastq.gz -j {name}.json -h {name}.html"


def run(command, folder):
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"this failed with {done.returncode}: {command}\n{done.stderr}")
    return done.stdout


def variants(name, folder):
    rows = [line.split("\t") for line in (folder / f"{name}.vcf").read_text().splitlines() if not line.startswith("#")]
    return {
        "variants": len(rows),
        "snvs": sum(not row[7].startswith("INDEL") for row in rows),
        "quality_20_or_more": sum(float(row[5]) >= 20 for row in rows),
        "sites": [f"{row[1]} {row[3]}>{row[4]}" for row in rows],
    }


def figures_of(name, folder):
    run(ALIGN.format(name=name), folder)
    run(CALL.format(name=name, bams=f"{name}.bam"), folder)
    run(QUALITY.format(name=name), folder)
    flags = json.loads(run(f"samtools flagstat -O json {name}.bam", folder))["QC-passed reads"]
    coverage = run(f"samtools coverage {name}.bam", folder).splitlines()[1].split("\t")
    quality = json.loads((folder / f"{name}.json").read_text())["summary"]
    return {
        "reads": flags["primary"],
        "mapped": flags["primary mapped"],
        "mapped_percent": round(100 * flags["primary mapped"] / flags["primary"], 2),
        "covered_percent": float(coverage[5]),
        "mean_depth": float(coverage[6]),
        "fastp": {
            "reads": quality["before_filtering"]["total_reads"],
            "q30_rate": quality["before_filtering"]["q30_rate"],
            "reads_kept": quality["after_filtering"]["total_reads"],
        },
        **variants(name, folder),
    }


def main():
    options = argparse.ArgumentParser(description="figures about the demo run from programs that are not ours")
    options.add_argument("demo", type=Path)
    options.add_argument("fastq", type=Path)
    options.add_argument("--check", action="store_true")
    options = options.parse_args()
    truth = json.loads((options.demo / "truth.json").read_text())
    samples = [sample["id"] for sample in truth["samples"]]
    versions = {
        "minimap2": run("minimap2 --version", "."),
        "samtools": run("samtools --version | head -1", "."),
        "bcftools": run("bcftools --version | head -1", "."),
        "fastp": run("fastp --version 2>&1", "."),
    }
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (fasta,) = (options.demo / "reference").glob("*.fa.gz")
        run(f"gzip -dc {fasta.resolve()} > reference.fa && samtools faidx reference.fa", folder)
        for read in (1, 2):
            for name in [*samples, "Undetermined"]:
                source = options.fastq / f"{name}_R{read}.fastq.gz"
                (folder / source.name).write_bytes(source.read_bytes())
            for name, parts in (("together", samples), ("everything", [*samples, "Undetermined"])):
                members = b"".join((folder / f"{part}_R{read}.fastq.gz").read_bytes() for part in parts)
                (folder / f"{name}_R{read}.fastq.gz").write_bytes(members)
        figures = {name: figures_of(name, folder) for name in [*samples, "together", "everything"]}
        joint = CALL.format(name="joint", bams=" ".join(f"{name}.bam" for name in samples))
        run(joint, folder)
        figures["joint"] = variants("joint", folder)
    expected = {
        "about": "together: the four samples' FASTQ joined in the order of the sheet; everything: with Undetermined, "
        "all 7,191 pairs; joint: one call over the four samples' BAM. Positions are in the bundled contig: add "
        "5,998,957 for chromosome 20 of GRCh37.",
        "versions": {name: version.strip() for name, version in versions.items()},
        "commands": {"align": ALIGN, "call": CALL, "quality": QUALITY, "joint": joint},
        "figures": figures,
    }
    path = options.demo / "expected.json"
    if options.check:
        before = json.loads(path.read_text())
        different = [name for name in figures if figures[name] != before["figures"].get(name)]
        for name in different:
            print(f"{name}: {figures[name]} instead of {before['figures'].get(name)}", file=sys.stderr)
        if different and before["versions"] != expected["versions"]:
            print(f"the programs differ too: {expected['versions']} instead of {before['versions']}", file=sys.stderr)
        sys.exit(1 if different else 0)
    path.write_text(json.dumps(expected, indent=1) + "\n")
    for name, found in figures.items():
        print(name, {key: value for key, value in found.items() if key != "sites"})


if __name__ == "__main__":
    main()
