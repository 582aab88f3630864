#!/usr/bin/env bash
# The commands that made the model in cxredit_cli/bundled, on two cores of a processor without a GPU. Its card,
# docs/results/model-card.md, says how far each was run. IMAGES is a folder or zip of NIH ChestX-ray14, LABELS its table.
set -euo pipefail
IMAGES=${IMAGES:?a folder or zip of NIH images}
LABELS=${LABELS:?Data_Entry_2017.csv}
KIMG=${KIMG:-64}
FURTHER_KIMG=${FURTHER_KIMG:-60}
LAST_KIMG=${LAST_KIMG:-78}
ENCODER_MINUTES=${ENCODER_MINUTES:-40}

cxredit prepare "$IMAGES" --labels "$LABELS" --view PA --resolution 128 -o dataset.h5

# 20 kimg at 32x32, 32 at 64x64, the rest at 128x128.
cxredit train-gan dataset.h5 -o begun --preset small --grow-from 32 --grow-kimg 20,32 --no-augment --pl-weight 0 \
    --kimg "$KIMG" --name nih-cxr-128
python "$(dirname "$0")/bundle_model.py" begun begun-half

# On at 128x128 with path length regularisation and adaptive augmentation.
cxredit train-gan dataset.h5 -o trained --preset small --init-from begun-half --kimg "$FURTHER_KIMG" --name nih-cxr-128

# And on, from networks that were tried in between.
python "$(dirname "$0")/bundle_model.py" trained trained-half
cxredit train-gan dataset.h5 -o longer --preset small --init-from trained-half --kimg "$LAST_KIMG" --name nih-cxr-128 \
    --seed 5

# Half precision first: encoder and directions belong to the generator as it is stored.
python "$(dirname "$0")/bundle_model.py" longer half
cxredit train-encoder dataset.h5 --model half --depth 18 --width 24 --batch 8 --lr 5e-4 --minutes "$ENCODER_MINUTES"

# The direction of a wider heart, with thorax width, lung heights and tone held and the rest spared; no labels. Then what
# one unit of it does, on generated images and on healthy films of training patients.
mkdir -p half/directions
direction=half/directions/cardiomegaly.h5
cxredit direction --model half --from-measure heart_width --n 2048 --name cardiomegaly -o "$direction"
cxredit invert dataset.h5 --model half --split train --label "No Finding" --limit 96 -o healthy.h5
cxredit direction calibrate "$direction" --model half -n 64 --codes healthy.h5

python "$(dirname "$0")/bundle_model.py" half bundled
