#!/usr/bin/env bash
# Does `cxredit explain` catch a classifier that learnt a shortcut? Two classifiers of one finding are trained on the same
# films, one of them on films where the ill carry a marker in a corner; both are explained on unseen films without one.
# DATASET is of `cxredit prepare` with labels. What it gave on NIH's films stands in docs/results/classifiers.md.
set -euo pipefail
DATASET=${DATASET:?a dataset.h5 of cxredit prepare}
POSITIVE=${POSITIVE:-Effusion}
COUNT=${COUNT:-12}
STEPS=${STEPS:-800}
here=$(dirname "$0")

python "$here/mark_the_ill.py" "$DATASET" --positive "$POSITIVE" -o marked.h5 --films unseen --count "$COUNT"
for kind in honest shortcut; do
    images=$DATASET
    [[ $kind == honest ]] || images=marked.h5
    python "$here/train_classifier.py" "$images" --positive "$POSITIVE" -o "$kind.safetensors" --export "$kind.pt2" \
        --steps "$STEPS" --precision "${PRECISION:-fp32}"
    cxredit explain unseen --classifier "$kind.pt2" -o "explained-$kind.json"
done

# The share of the score's change from outside heart and lungs, and from the corner where the marker was.
python - <<'PYTHON'
import json
import statistics

print("| classifier | films that crossed | of the score's change, from outside heart and lungs | from the upper left corner |")
print("|---|---|---|---|")
for kind in ("honest", "shortcut"):
    with open(f"explained-{kind}.json") as file:
        found = json.load(file)
    reached = [film for film in found["explanations"] if film["reached"]]
    if not reached:
        print(f"| {kind} | 0 of {found['films']} | | |")
        continue
    elsewhere = statistics.median(film["score_by_region"]["elsewhere"] for film in reached)
    corner = statistics.median(sum(film["score_by_tile"][0][:2]) + sum(film["score_by_tile"][1][:2]) for film in reached)
    print(f"| {kind} | {len(reached)} of {found['films']} | {elsewhere:.0%} | {corner:.0%} |".replace("%", " %"))
PYTHON
