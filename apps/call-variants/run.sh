#!/bin/sh
# All samples are called together, so that a site found in one is looked at in all.
set -eu
given=$(ls "$INPUT_REFERENCE"/*.f* | head -n 1)
# The index of a FASTA file lies beside it, and inputs are read-only. What gzip compressed cannot be indexed, so it is opened.
case $given in
    *.gz) reference=/tmp/$(basename "$given" .gz); gzip -dc "$given" > "$reference" ;;
    *) reference=/tmp/$(basename "$given"); ln -s "$given" "$reference" ;;
esac
samtools faidx "$reference"

pileup=/tmp/pileup.bcf
mkfifo "$pileup"
ls "$INPUT_ALIGNMENTS"/*.bam > /tmp/alignments.txt
bcftools mpileup --fasta-ref "$reference" --bam-list /tmp/alignments.txt --output-type u --threads "$CPUS" \
    --min-MQ "$PARAM_MINIMUM_MAPPING_QUALITY" --min-BQ "$PARAM_MINIMUM_BASE_QUALITY" \
    --max-depth "$PARAM_MAXIMUM_DEPTH" --annotate FORMAT/AD,FORMAT/DP > "$pileup" &
piling=$!
bcftools call --multiallelic-caller --variants-only --ploidy "$PARAM_PLOIDY" --output-type u "$pileup" \
    | bcftools view --include "QUAL>=$PARAM_MINIMUM_QUALITY" --output-type z --output "$OUTPUT/variants.vcf.gz" -
# A pipe would hide how it ended.
wait "$piling"
bcftools index --tbi "$OUTPUT/variants.vcf.gz"
bcftools stats --fasta-ref "$reference" "$OUTPUT/variants.vcf.gz" > "$OUTPUT/variants.stats.txt"
echo "$(bcftools view --no-header "$OUTPUT/variants.vcf.gz" | wc -l) variants"
