#!/bin/sh
# Its program chooses by the processor, with bash and grep. Debian chooses among linear algebra libraries by a link that its packages do not hold: the reference ones are named here.
set -eu
libraries=$(echo /usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH="$libraries/blas:$libraries/lapack"
given=$(ls "$INPUT_VARIANTS"/* | head -n 1)
case $given in
    *.bcf) as=--bcf ;;
    *) as=--vcf ;;
esac
rule=
[ "$PARAM_MISSING" = mean ] || rule=no-mean-imputation
plink2 "$as" "$given" --threads "$CPUS" --memory 1000 --out "$OUTPUT/score" \
    --score "$(ls "$INPUT_WEIGHTS"/* | head -n 1)" 1 2 3 $rule cols=+scoresums
