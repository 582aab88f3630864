#!/usr/bin/env bash
# Train a generator on the GPUs of two machines. Run this on both, with the name of the first one:
#
#   examples/train_two_nodes.sh first-machine dataset.h5 model --batch 512
#
# Words after the model go to `cxredit train-gan`. The data set and the model must lie where both machines see them. Run it
# again on both to carry on from the checkpoint.
set -euo pipefail

first=${1:?the name of the first machine}
dataset=${2:?a dataset of cxredit prepare}
model=${3:?the model folder to write}
shift 3
GPUS=${GPUS:-8} # of each machine
PORT=${PORT:-29500}

torchrun --nnodes 2 --nproc-per-node "$GPUS" --rdzv-id "$model" --rdzv-backend c10d --rdzv-endpoint "$first:$PORT" \
    -m cxredit_cli train-gan "$dataset" --output "$model" "$@"
