#!/usr/bin/env bash
# From a dataset to directions of findings beyond the heart, and the tables of docs/results/beyond-the-heart.md:
#
#   DATASET=all.h5 examples/beyond_the_heart.sh
#   MODEL=model OUTPUT=beyond ...               # another model; the classifiers are of films alone and are kept
#
# DATASET is of `cxredit prepare` with labels, age, sex and view, all views, split by patient as for the model. What holds
# lies in $OUTPUT/directions afterwards: copy it into the model's folder. Stop it and start it again: it carries on. On
# one core some 20 minutes for the classifiers, 15 for the codes and 15 for the directions.
set -euo pipefail

DATASET=${DATASET:?a dataset of cxredit prepare}
OUTPUT=${OUTPUT:-beyond}
PRECISION=${PRECISION:-fp32}          # bf16 where the processor has it
STEPS=${STEPS:-3000}                  # of either classifier
HEALTHY=${HEALTHY:-150}               # unseen patients without a finding whose PA films are edited
ILL=${ILL:-25}                        # unseen patients of each finding: how much of it survives in their codes
GENERATED=${GENERATED:-512}
read -ra python <<<"${PYTHON:-python3}"
examples=$(dirname "$0")
model=()
[[ -n ${MODEL:-} ]] && model=(--model "$MODEL")
mkdir -p "$OUTPUT"

findings=(Effusion Atelectasis Infiltration Emphysema Pneumothorax Mass+Nodule Pleural_Thickening Cardiomegaly)
labels=()
for name in "${findings[@]}" Age Sex View; do labels+=(--label "$name"); done

# Two networks that are not alike: one finds directions, the other, of another make and resolution, judges them.
learn() {
    [[ -e $OUTPUT/$1.report.json ]] && return
    "${python[@]}" "$examples/train_findings.py" "$DATASET" -o "$OUTPUT/$1.pt2" "${labels[@]}" --steps "$STEPS" \
        --precision "$PRECISION" "${@:2}"
}
learn finder --architecture residual --resolution 64 --batch 48 --seed 1
learn judge --architecture plain --resolution 128 --seed 2

"${python[@]}" "$examples/beyond_the_heart.py" "$DATASET" "${model[@]}" --finder "$OUTPUT/finder.pt2" \
    --judge "$OUTPUT/judge.pt2" --generated "$GENERATED" --patients "$HEALTHY" --ill "$ILL" -o "$OUTPUT"
