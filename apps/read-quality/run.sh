#!/bin/sh
# One report per pair of files, named as the pair.
set -eu
adapters=
[ "$PARAM_DETECT_ADAPTERS" = false ] || adapters=--detect_adapter_for_pe
for first in "$INPUT_READS"/*_R1*; do
    second=$(echo "$first" | sed 's/\(.*\)_R1/\1_R2/')
    name=$(basename "$first" | sed 's/_R1.*//')
    echo "fastp: $name"
    fastp --thread "$CPUS" --in1 "$first" --in2 "$second" $adapters \
        --qualified_quality_phred "$PARAM_QUALIFIED_QUALITY" --length_required "$PARAM_MINIMUM_LENGTH" \
        --json "$OUTPUT/$name.fastp.json" --html "$OUTPUT/$name.fastp.html" --report_title "$name"
done
