#!/bin/sh
# Each lane is aligned under a read group of its own; the lanes of the sample become one sorted, indexed BAM.
set -eu
reference=$(ls "$INPUT_REFERENCE"/* | head -n 1)
lanes=/tmp/lanes
mkdir "$lanes"
sample=$PARAM_SAMPLE
# Sorting takes half of the memory; the other half is minimap2's.
sort_memory=$((MEMORY_MIB / 2 / CPUS))M

for first in "$INPUT_READS"/*_R1*; do
    second=$(echo "$first" | sed 's/\(.*\)_R1/\1_R2/')
    lane=$(basename "$first" | sed 's/_R1.*//')
    # Demultiplexers name files SAMPLE_S1_L001_R1_001.fastq.gz.
    [ -n "$sample" ] || sample=$(echo "$lane" | sed 's/_S[0-9][0-9]*\(_L[0-9]*\)\{0,1\}$//')
    group="@RG\\tID:$lane\\tSM:$sample\\tLB:$PARAM_LIBRARY\\tPL:ILLUMINA\\tPU:$lane"
    echo "aligning $lane as sample $sample"
    mkfifo "$lanes/$lane.sam"
    minimap2 -a -x sr -t "$CPUS" -R "$group" "$reference" "$first" "$second" > "$lanes/$lane.sam" &
    aligner=$!
    if [ "$PARAM_MARK_DUPLICATES" = true ]; then
        samtools fixmate -u -m "$lanes/$lane.sam" - \
            | samtools sort -u -@ "$CPUS" -m "$sort_memory" -T "/tmp/sort.$lane" -o "$lanes/$lane.bam" -
    else
        samtools sort -u -@ "$CPUS" -m "$sort_memory" -T "/tmp/sort.$lane" -o "$lanes/$lane.bam" "$lanes/$lane.sam"
    fi
    # A pipe would hide how the aligner ended.
    wait "$aligner"
    rm "$lanes/$lane.sam"
done

bam=$OUTPUT/$sample.bam
merged=/tmp/merged.bam
samtools merge -u -@ "$CPUS" -o "$merged" "$lanes"/*.bam
rm "$lanes"/*.bam
if [ "$PARAM_MARK_DUPLICATES" = true ]; then
    samtools markdup -@ "$CPUS" -T /tmp/duplicates "$merged" "$bam"
else
    samtools view -b -@ "$CPUS" -o "$bam" "$merged"
fi
rm "$merged"
samtools index -@ "$CPUS" "$bam"
samtools flagstat "$bam" > "$OUTPUT/$sample.flagstat.txt"
samtools stats -@ "$CPUS" "$bam" > "$OUTPUT/$sample.stats.txt"
cat "$OUTPUT/$sample.flagstat.txt"
