#!/usr/bin/env bash
# From a dataset to directions of findings beyond the heart, and the tables of docs/beyond-the-heart.md:
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
HEALTHY=${HEALTHY:-220}               # unseen PA films without a finding that are edited; of several of a patient one
ILL=${ILL:-25}                        # unseen PA films of each finding: how much of it survives in their codes
INVERSION=${INVERSION:-75}            # steps
GENERATED=${GENERATED:-512}
read -ra cxredit <<<"${CXREDIT:-cxredit}"
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

# Codes of films that nothing was trained on.
invert() {
    "${cxredit[@]}" invert "$DATASET" "${model[@]}" --split val --view PA --label "$1" --limit "$2" \
        --steps "$INVERSION" -o "$OUTPUT/unseen.h5" >"$OUTPUT/invert.log"
}
invert "No Finding" "$HEALTHY"
for name in "${findings[@]}"; do
    for label in ${name//+/ }; do invert "$label" "$ILL"; done
done

"${python[@]}" "$examples/beyond_the_heart.py" "$DATASET" "${model[@]}" --finder "$OUTPUT/finder.pt2" \
    --judge "$OUTPUT/judge.pt2" --codes "$OUTPUT/unseen.h5" --generated "$GENERATED" -o "$OUTPUT"
