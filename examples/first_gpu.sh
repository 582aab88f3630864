#!/usr/bin/env bash
# The first quarter of an hour on a GPU that nobody has tried this on: are the kernels right, how fast is the work, and
# then training until the time is over.
#
#   examples/first_gpu.sh dataset.h5
#   MINUTES=30 STYLEGAN2_ADA=stylegan2-ada-pytorch examples/first_gpu.sh dataset.h5
#
# A stage that takes longer than its limit is stopped and the next one begins. What each one printed is in $OUTPUT, a file
# a stage and a .log beside it; summary.txt says how each ended. The figures become tables of the documents in $TABLES
# ($OUTPUT/tables). Training goes to $OUTPUT/model and can be carried on with.
set -uo pipefail

dataset=${1:?a dataset of cxredit prepare}
CXREDIT=${CXREDIT:-cxredit}
PYTHON=${PYTHON:-python3}
OUTPUT=${OUTPUT:-first-gpu}
TABLES=${TABLES:-$OUTPUT/tables}
DEVICE=${DEVICE:-cuda}
MINUTES=${MINUTES:-15}
FILMS=${FILMS:-350}
BATCH=${BATCH:-64}                # of the training: a small batch leaves a large GPU waiting for its processor
STYLEGAN2_ADA=${STYLEGAN2_ADA:-} # a clone of that, to measure beside
INIT_FROM=${INIT_FROM:-}         # a model whose networks the training starts from
examples=$(cd "$(dirname "$0")" && pwd)

mkdir -p "$OUTPUT"
: >"$OUTPUT/summary.txt"
read -ra cxredit <<<"$CXREDIT"
read -ra python <<<"$PYTHON"

# stage FILE LIMIT COMMAND...: one stage, of at most LIMIT seconds, with what it prints in FILE
stage() {
    local file=$1 name=${1%.*} limit=$2 begun=${EPOCHREALTIME/,/.} status=0
    shift 2
    timeout --kill-after=10 "$limit" "$@" >"$OUTPUT/$file" 2>"$OUTPUT/$name.log" || status=$?
    local outcome="ended with $status"
    [[ $status == 0 ]] && outcome=done
    [[ $status == 124 || $status == 137 ]] && outcome="stopped at its limit of $limit s"
    local took=$(awk "BEGIN { printf \"%.1f\", ${EPOCHREALTIME/,/.} - $begun }")
    echo "$name: $outcome after $took s" | tee -a "$OUTPUT/summary.txt"
}

bench() {
    local name=$1 limit=$2
    shift 2
    stage "$name.json" "$limit" "${cxredit[@]}" bench --device "$DEVICE" --batch 32 --json "$@"
}

stage doctor.txt 120 "${cxredit[@]}" doctor
stage tests.txt 120 "${python[@]}" -m pytest -q -m gpu "$examples/../tests/ops/test_kernel_gpu.py"
# Each by itself, so that one that takes too long does not cost the others' figures.
bench resampling 30 --seconds 1 --only 'upfirdn2d*'
bench activation 20 --seconds 1 --only 'bias_act*'
bench convolution 40 --seconds 1 --only 'modulated*'
bench synthesis 40 --seconds 2 --only 'generator*'
bench inversion-step 40 --seconds 2 --only inversion_step
bench training-iteration 90 --seconds 4 --only training_iteration
bench training-iteration-of-small-networks 90 --seconds 4 --only training_iteration --batch 64 --channel-base 4096 \
    --precision bf16
if [[ -n $STYLEGAN2_ADA ]]; then
    stage stylegan2-ada.json 120 "${python[@]}" "$examples/compare_stylegan2_ada.py" "$STYLEGAN2_ADA" --device "$DEVICE"
fi
stage films.txt 120 "${cxredit[@]}" invert "$dataset" --split val --limit "$FILMS" --batch "$FILMS" --space w+ --device "$DEVICE" \
    -o "$OUTPUT/codes.h5"

left=$((MINUTES * 60 - SECONDS - 20)) # twenty for the last checkpoint
if ((left > 30)); then
    start=()
    [[ -n $INIT_FROM ]] && start=(--init-from "$INIT_FROM")
    stage training.txt $((left + 20)) "${cxredit[@]}" train-gan "$dataset" -o "$OUTPUT/model" --preset small --grow-from 0 \
        --batch "$BATCH" --precision bf16 --device "$DEVICE" --snapshot-kimg 50 "${start[@]}" \
        --minutes "$(awk "BEGIN { print $left / 60 }")"
fi
"${python[@]}" "$examples/../docs/tools/performance_tables.py" "$OUTPUT" "$TABLES" >"$OUTPUT/tables.md"
