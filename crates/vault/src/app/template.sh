#!/bin/sh
# Inputs: $INPUT_TEXT is a folder. Form: $PARAM_MINIMUM. Outputs: $OUTPUT. Also $CPUS and $MEMORY_MIB.
set -eu
for file in "$INPUT_TEXT"/*; do
    lines=$(wc -l < "$file")
    [ "$lines" -lt "$PARAM_MINIMUM" ] || echo "$lines ${file##*/}"
done > "$OUTPUT/counts.txt"
