#!/usr/bin/env bash
# Lets other programs judge demultiplexing of the demo run, one after the other:
# a plain Python reader, picard, and, on what Chorion wrote, minimap2, samtools, bcftools and fastp.
#
#   testing/peers/demultiplexing.sh target/debug/chorion
set -euo pipefail
cd "$(dirname "$0")/../.."
chorion=$PWD/${1:-target/debug/chorion}
demo=$PWD/testing/demo
run=$(echo "$demo"/runs/*)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "== a plain Python reader"
python3 testing/check_demo_run.py "$demo"

echo "== picard"
python3 testing/peers/picard.py "$demo" "$work/picard"

echo "== chorion demux"
"$chorion" demux "$run" -o "$work/chorion" --sample-sheet "$run/SampleSheet.csv"
python3 testing/peers/compare_fastq.py "$demo/truth.json" "$work/chorion" --headers
mkdir "$work/fastq"
find "$work/chorion" -name '*_001.fastq.gz' | while read -r file; do
    name=$(basename "$file")
    # heron-1_S1_L001_R1_001.fastq.gz and its like, under the names expect_demo.py uses
    cp "$file" "$work/fastq/$(sed -E 's/_S[0-9]+_L001_(R[12])_001/_\1/' <<<"$name")"
done

echo "== minimap2, samtools, bcftools and fastp on what chorion demux wrote"
python3 testing/expect_demo.py "$demo" "$work/fastq" --check
echo "as in expected.json"
