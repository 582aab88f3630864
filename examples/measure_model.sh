#!/usr/bin/env bash
# What the pages of docs/results say of the bundled model, in one go:
#
#   DATASET=dataset.h5 IMAGES=/data/nih/images examples/measure_model.sh
#   TABLES=docs/results/tables ...              # renews the tables of the documents
#   MODEL=model ALL_VIEWS=all.h5 ...            # another model; and with AP films, what controlling for the view does
#   FILMS="512=/data/512 AP=/data/ap" ...       # edits of films, by kind, at their own resolution
#
# DATASET is what the model was trained with, IMAGES the folder of its PNGs (hearts are enlarged on some). Writes to
# $OUTPUT. Stop it at any moment and start it again: it carries on with what is missing. Hours on one core, most of them
# for reconstructions; RECONSTRUCTED=100 saves half of it.
set -euo pipefail

CXREDIT=${CXREDIT:-cxredit}
PYTHON=${PYTHON:-python3}
OUTPUT=${OUTPUT:-measured}
DATASET=$(realpath "${DATASET:?a dataset of cxredit prepare}")
IMAGES=$(realpath "${IMAGES:?the folder of its images}")
ALL_VIEWS=${ALL_VIEWS:+$(realpath "$ALL_VIEWS")}
MODEL=${MODEL:+$(realpath "$MODEL")}
RECONSTRUCTED=${RECONSTRUCTED:-500} # unseen scans for realism; for reconstruction at most, one per patient
SCANS=${SCANS:-100}                 # unseen No Finding PA scans that are edited, one per patient
NEGATIVES=${NEGATIVES:-500}         # No Finding images of the labelled cohort
PAIRS=${PAIRS:-24}                  # films of training patients whose hearts are enlarged
TUNED=${TUNED:-32}                  # of the same kind, that the generator is tuned to
SWEEP=${SWEEP:--8:12:6}
TARGETS=${TARGETS:-0.42,0.46,0.5,0.55,0.6}
PRECISION=${PRECISION:-fp32}        # of the classifiers that are trained: bf16 where the processor has it
FILMS=${FILMS:-}                    # NAME=FOLDER of films, several with blanks between
TABLES=${TABLES:-$OUTPUT/tables}
mkdir -p "$TABLES"
TABLES=$(realpath "$TABLES")

examples=$(realpath "$(dirname "$0")")
read -ra cxredit <<<"$CXREDIT"
read -ra python <<<"$PYTHON"
model=()
[[ -n $MODEL ]] && model=(--model "$MODEL")
mkdir -p "$OUTPUT"
cd "$OUTPUT"

# step NAME COMMAND...: run it, with what it prints in NAME.txt, unless it was done before
step() {
    local name=$1
    shift
    [[ -e $name.done ]] && return
    echo "$name: $*" >&2
    "$@" >"$name.txt" 2>"$name.log" || { tail -n 3 "$name.log" >&2 && return 1; }
    touch "$name.done"
}
run() { "${cxredit[@]}" "$@" "${model[@]}"; }
partly() { "$@" || (($? == 1)); } # 1 says that single images could not be measured, and which
evaluate() { run evaluate --images "$DATASET" "$@"; }

# 1. Codes: unseen scans, and the labelled cohort in W and W+.
step scans run invert "$DATASET" --split val --label "No Finding" -o scans.h5
for space in w w+; do
    step "ill-$space" run invert "$DATASET" --label Cardiomegaly --space "$space" --steps 50 -o "cohort-$space.h5"
    step "healthy-$space" run invert "$DATASET" --label "No Finding" --limit "$NEGATIVES" --space "$space" --steps 50 \
        -o "cohort-$space.h5"
done

# 2. The bundled direction: dose and response, and a given cardiothoracic ratio, by networks that only judge.
step dose evaluate --dose -n "$SCANS" --codes scans.h5 --sweep "$SWEEP" -o dose.json
step dose-w evaluate --dose -n "$SCANS" --method hybrid --space w --sweep "$SWEEP" --randoms 0 -o dose-w.json
step target partly run apply scans.h5 --target-ctr "$TARGETS" -o target
step target-measured partly "${cxredit[@]}" measure target -o target.csv --anatomy judge
for films in $FILMS; do
    step "native-${films%%=*}" run evaluate --native --films "${films#*=}" -o "native-${films%%=*}.json"
done

# 3. Separability, in W and W+ and where the view is controlled.
shows=(--metric picture --metric anatomy)
step separability evaluate --separability --split all --codes cohort-w.h5 --codes cohort-w+.h5 "${shows[@]}" \
    -o separability.json
for space in w w+; do # what networks that see pictures tell from the same films, and from pictures of their codes
    step "cnn-$space" "${python[@]}" "$examples/train_classifier.py" "$DATASET" --folds 5 --precision "$PRECISION" \
        --codes "cohort-$space.h5" --reconstructions "${model[@]}" -o "cnn-$space.safetensors"
done
if [[ -n $ALL_VIEWS ]]; then
    step views cp cohort-w.h5 views.h5
    step views-ill run invert "$ALL_VIEWS" --view AP --label Cardiomegaly --space w --steps 50 -o views.h5
    step views-healthy run invert "$ALL_VIEWS" --view AP --label "No Finding" --limit 150 --space w --steps 50 -o views.h5
    step views-separability run evaluate --separability --images "$ALL_VIEWS" --split all --codes views.h5 \
        "${shows[@]}" --control view \
        -o views.json
    step views-means run direction find --codes views.h5 --labels "$ALL_VIEWS" --how means -o views-means.h5
    step views-held run direction find --codes views.h5 --labels "$ALL_VIEWS" --how means --control view -o views-held.h5
fi

# 4. Other ways to a direction, from patients whom no judgement is about: labels, pairs of films, regressions.
"${python[@]}" - "$DATASET" "$IMAGES" "$PAIRS" <<'PYTHON'
import csv, sys
from pathlib import Path
from cxredit_cli.storage.dataset import Dataset

dataset, folder = Dataset(sys.argv[1]), Path(sys.argv[2])
rows = dataset.indices("train")
with open("training.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["name", "label", "patient_id", "view"])
    for row in rows:
        table.writerow([dataset.names[row], dataset.labels[row], dataset.patient_ids[row], dataset.views[row]])
first = {dataset.patient_ids[row]: dataset.names[row] for row in reversed(dataset.indices("train", "PA", "No Finding"))}
with open("pairs.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["original", "edited"])
    for name in list(first.values())[: int(sys.argv[3])]:
        table.writerow([folder / Path(name).name, Path("enlarged") / Path(name).name])
PYTHON
mkdir -p enlarged
while IFS=, read -r original edited; do # where no heart can be outlined there is no pair
    [[ -e $edited ]] || "${cxredit[@]}" edit-heart "$original" --scale 1.3 -o "$edited" >/dev/null || continue
    [[ -n ${first:-} ]] || first=$original,$edited
done < <(tail -n +2 pairs.csv | tr -d '\r')
IFS=, read -r original edited <<<"$first"

find=(run direction find)
step pair-encoder "${find[@]}" "$original" "$edited" --method encoder -o pair-encoder.h5
step pair-hybrid "${find[@]}" "$original" "$edited" --method hybrid --space w --steps 75 -o pair-hybrid.h5
step pairs partly "${find[@]}" --pairs pairs.csv --method hybrid --space w --steps 75 -o pairs.h5
step means "${find[@]}" --codes cohort-w.h5 --labels training.csv --how means -o means.h5
step logistic-held "${find[@]}" --codes cohort-w.h5 --labels training.csv --how logistic -o logistic-held.h5 \
    --control thorax_width --control right_lung_height --control left_lung_height --control grey_p50
step ctr "${find[@]}" --from-measure ctr --hold "" --how regression -o ctr.h5
bundled=$("${python[@]}" -c 'import sys; from cxredit_cli.storage.models import load_model
from pathlib import Path; print(load_model(Path(sys.argv[1]) if sys.argv[1] else None).path)' "$MODEL")
found=(pair-encoder pair-hybrid pairs means logistic-held ctr)
step compare "${cxredit[@]}" direction compare "$bundled/directions/cardiomegaly.h5" "${found[@]/%/.h5}"
for name in "${found[@]}"; do
    step "dose-$name" evaluate --dose -n "$SCANS" --codes scans.h5 --sweep "$SWEEP" --randoms 0 --direction "$name.h5" \
        -o "dose-$name.json"
done

# 5. Realism and reconstruction, the long ones.
step realism evaluate --realism -n "$RECONSTRUCTED" -o realism.json
step code-error run evaluate --code-error -n 24 -o code-error.json --by encoder --by hybrid,w,75 --by optimize,w+,75
step reconstruction evaluate --reconstruction -n "$RECONSTRUCTED" -o reconstruction.json \
    --by encoder --by hybrid,w,50 --by optimize,w+,75 --by hybrid,w+,75

# 6. Pivotal tuning: how much nearer, and whether edits still follow.
few=(run invert "$DATASET" --split val --view PA --label "No Finding" --limit "$TUNED")
step untuned "${few[@]}" -o untuned.h5
step tuned "${few[@]}" --tune -o tuned.h5
step tuned-long "${few[@]}" --fit-noise --tune --tune-steps 200 --tune-rank 16 -o tuned-long.h5
for name in untuned tuned tuned-long; do
    step "dose-$name" evaluate --dose -n "$TUNED" --codes "$name.h5" --sweep 0:8:2 --randoms 0 -o "dose-$name.json"
done
"${python[@]}" "$examples/../docs/tools/model_tables.py" . --tables "$TABLES" --dataset "$DATASET" "${model[@]}" >tables.md
echo "Everything is in $OUTPUT, the tables in tables.md and $TABLES." >&2
