#!/usr/bin/env bash
# Everything in docs/results/performance.md and gpu.md, measured on this machine, in one go:
#
#   examples/measure_performance.sh
#   STYLEGAN2_ADA=stylegan2-ada-pytorch examples/measure_performance.sh     # on a GPU, beside a clone of that
#
# Writes one JSON for each measurement to $OUTPUT, all of them as Markdown to $OUTPUT/tables.md, and as tables of the
# documents to $TABLES ($OUTPUT/tables; TABLES=docs/results/tables renews those of the documents). Stop it at any moment
# and start it again: it carries on with what is missing. Let nothing else run meanwhile. OMP_NUM_THREADS=1 gives the
# figures of one core, and takes about half an hour on it.
set -euo pipefail

CXREDIT=${CXREDIT:-cxredit}
PYTHON=${PYTHON:-python3}
OUTPUT=${OUTPUT:-performance}
DEVICE=${DEVICE:-auto}
SECONDS_EACH=${SECONDS_EACH:-10} # for each name; three repetitions at least
STYLEGAN2_ADA=${STYLEGAN2_ADA:-}
TABLES=${TABLES:-$OUTPUT/tables}
examples=$(cd "$(dirname "$0")" && pwd)

mkdir -p "$OUTPUT"
read -ra cxredit <<<"$CXREDIT"
read -ra python <<<"$PYTHON"

# measure NAME OPTIONS...: one run of `cxredit bench`
measure() {
    local file=$OUTPUT/$1.json
    shift
    [[ -s $file ]] && return
    echo "$file: $*" >&2
    "${cxredit[@]}" bench --device "$DEVICE" --seconds "$SECONDS_EACH" -o "$file.part" "$@" >&2
    mv "$file.part" "$file"
}

if [[ $DEVICE == cuda* ]] || { [[ $DEVICE == auto ]] && "${python[@]}" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; }; then
    for precision in fp16 bf16 fp32; do
        measure "128-$precision" --resolution 128 --batch 32 --precision "$precision"
        measure "256-$precision" --resolution 256 --batch 32 --precision "$precision"
        # Large inputs, for the share of the bandwidth.
        measure "512-operations-$precision" --resolution 512 --batch 16 --channel-base 32768 --precision "$precision" \
            --only 'upfirdn2d*' --only 'bias_act*' --only 'modulated_conv2d*'
    done
    if [[ -n $STYLEGAN2_ADA && ! -s $OUTPUT/stylegan2-ada.json ]]; then
        echo "$OUTPUT/stylegan2-ada.json: beside $STYLEGAN2_ADA" >&2
        "${python[@]}" "$examples/compare_stylegan2_ada.py" "$STYLEGAN2_ADA" --device "$DEVICE" \
            >"$OUTPUT/stylegan2-ada.json.part"
        mv "$OUTPUT/stylegan2-ada.json.part" "$OUTPUT/stylegan2-ada.json"
    fi
else
    for precision in bf16 fp32; do
        for side in 64 128; do
            measure "$side-synthesis-$precision" --resolution $side --precision $precision --only 'generator*'
            measure "$side-inversion-$precision" --resolution $side --precision $precision --only 'inversion*'
        done
        measure "64-one-image-$precision" --resolution 64 --batch 1 --precision $precision --only generator_forward
        measure "64-training-$precision" --resolution 64 --batch 16 --channel-base 4096 --channel-max 128 \
            --precision $precision --only 'training*'
        measure "64-training-no-path-length-$precision" --resolution 64 --batch 16 --channel-base 4096 \
            --channel-max 128 --pl-weight 0 --precision $precision --only 'training*'
        measure "128-operations-$precision" --resolution 128 --precision $precision \
            --only 'upfirdn2d*' --only 'bias_act*' --only 'modulated_conv2d*'
        # With the fast path's memory settings for the reference too.
        measure "64-same-process-$precision" --resolution 64 --precision $precision --only 'generator*' --same-process
        measure "64-one-image-same-process-$precision" --resolution 64 --batch 1 --precision $precision \
            --only generator_forward --same-process
    done
fi

"${python[@]}" "$examples/../docs/tools/performance_tables.py" "$OUTPUT" "$TABLES" | tee "$OUTPUT/tables.md"
