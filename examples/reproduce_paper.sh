#!/usr/bin/env bash
# The whole path of Saboo et al. 2020, "Towards disease-aware image editing of chest X-rays" (arXiv 2109.01071), from a
# folder of labelled chest X-rays to measured edits of patients that no network was trained on.
#
#   IMAGES=/data/nih/images LABELS=/data/nih/Data_Entry_2017.csv examples/reproduce_paper.sh
#
# Everything is written to $WORK. Stop it at any moment and start it again with the same words: it carries on.
# At these defaults it takes days on one GPU. To see the path in an hour or two without one, with pictures that are
# rough, use RESOLUTION=64 GAN_KIMG=60 ENCODER_KIMG=10 ENCODER_OPTIONS='--depth 18 --width 16' NEGATIVES=60 STEPS=100.
set -euo pipefail

: "${IMAGES:?the folder of images, such as IMAGES=/data/nih/images}"
: "${LABELS:?the label table: a CSV of NIH or CheXpert, or one with name, label, patient_id and view}"
WORK=${WORK:-paper}
RESOLUTION=${RESOLUTION:-256}
VIEW=${VIEW:-PA} # projection changes the size of the heart's shadow, so keep to one
VAL_FRACTION=${VAL_FRACTION:-0.1} # of the patients
POSITIVE=${POSITIVE:-Cardiomegaly}
NEGATIVE=${NEGATIVE:-No Finding}
GAN_KIMG=${GAN_KIMG:-5000} # thousand images; reasonable from about here, better up to 25000
GAN_OPTIONS=${GAN_OPTIONS:-}
ENCODER_KIMG=${ENCODER_KIMG:-500}
ENCODER_OPTIONS=${ENCODER_OPTIONS:---depth 101}
STEPS=${STEPS:-500}          # of optimisation an inverted image
NEGATIVES=${NEGATIVES:-1000} # images of the negative class in the test of separability
LDA_OPTIONS=${LDA_OPTIONS:-}
EDITED=${EDITED:-16} # held-out images to edit
SWEEP=${SWEEP:--3:3:7}
# A radiograph and one of the same patient with the disease (or an edited copy with the disease painted in). By
# default patient 8 of NIH ChestX-ray14: at 70 without a finding, and with cardiomegaly.
HEALTHY=${HEALTHY:-$(find "$IMAGES" -name 00000008_001.png -print -quit)}
DISEASED=${DISEASED:-$(find "$IMAGES" -name 00000008_000.png -print -quit)}
: "${HEALTHY:?an image without the disease}" "${DISEASED:?an image of the same patient with the disease}"

read -ra gan_options <<<"$GAN_OPTIONS"
read -ra encoder_options <<<"$ENCODER_OPTIONS"
read -ra lda_options <<<"$LDA_OPTIONS"
IMAGES=$(realpath "$IMAGES") LABELS=$(realpath "$LABELS") HEALTHY=$(realpath "$HEALTHY") DISEASED=$(realpath "$DISEASED")
mkdir -p "$WORK"
cd "$WORK"

# 1. One dataset of all images at one size, split by patient. Exit code 1 means that single files could not be read:
#    dataset_skipped.csv names them, and the dataset is made of the others.
cxredit prepare "$IMAGES" --labels "$LABELS" --view "$VIEW" --resolution "$RESOLUTION" \
    --val-fraction "$VAL_FRACTION" || [[ -f dataset.h5 ]]

# 2. G, a StyleGAN2 of one channel, on the training patients. Grids of samples are in model/training.
cxredit train-gan --kimg "$GAN_KIMG" "${gan_options[@]}"

# 3. E, with G frozen: two updates an iteration, one on synthetic images with known codes, one on real images. The
#    held-out figures that it prints answer the paper's third criterion, invertibility.
cxredit train-encoder --kimg "$ENCODER_KIMG" "${encoder_options[@]}"

# 4. First criterion, sufficiency: can G make any radiograph? E's code of held-out patients, then optimised.
cxredit invert dataset.h5 --split val --label "$NEGATIVE" --limit "$EDITED" --steps "$STEPS" \
    --output codes.h5 --grid reconstructions.png

# 5. The direction of the disease from one pair of images, v = (E(I*) - E(I)) / |E(I*) - E(I)|. It says how much longer
#    the difference is than what noise alone makes.
cxredit direction "$HEALTHY" "$DISEASED" --name "$POSITIVE" --output pair.h5

# 6. Second criterion, disentanglement: is the disease a direction of W? The in-sample separation is the paper's
#    figure; only the held-out one beside it says something, since in as many dimensions any labels separate in sample.
#    The encoder's codes are used: with them every image is treated alike.
cxredit invert dataset.h5 --label "$POSITIVE" --method encoder --output cohort.h5
cxredit invert dataset.h5 --label "$NEGATIVE" --limit "$NEGATIVES" --method encoder --output cohort.h5
cxredit lda cohort.h5 --labels dataset.h5 --positive "$POSITIVE" --negative "$NEGATIVE" --output lda.h5 --plot lda.png \
    "${lda_options[@]}"

# 7. Move the held-out patients along both directions. Each <name>_sheet.png shows the original, its reconstruction, the
#    edits and what changed; manifest.csv holds the figures.
cxredit apply codes.h5 --direction pair.h5 --sweep "$SWEEP" --output edited-by-pair
cxredit apply codes.h5 --direction lda.h5 --sweep "$SWEEP" --output edited-by-lda
