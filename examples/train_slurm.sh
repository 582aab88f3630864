#!/usr/bin/env bash
# Train a generator on the GPUs of several machines of a Slurm cluster, and carry on when the job's time is over.
#
#   sbatch --nodes 2 examples/train_slurm.sh dataset.h5 model --batch 512
#
# Words after the model go to `cxredit train-gan`. COMMAND=train-encoder trains the encoder of the model instead. The data
# set and the model must lie where all machines see them. Submit the same line again to carry on from the checkpoint.
#SBATCH --job-name=cxredit
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --open-mode=append
set -euo pipefail

dataset=${1:?a dataset of cxredit prepare}
model=${2:?the model folder to write}
shift 2
COMMAND=${COMMAND:-train-gan}
PORT=${PORT:-29500}
into=--output
[[ $COMMAND == train-encoder ]] && into=--model

# torchrun on each machine starts a process for each of its GPUs; they meet at the first machine.
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
srun torchrun --nnodes "$SLURM_NNODES" --nproc-per-node "$SLURM_GPUS_ON_NODE" --rdzv-id "$SLURM_JOB_ID" \
    --rdzv-backend c10d --rdzv-endpoint "$first:$PORT" \
    -m cxredit_cli "$COMMAND" "$dataset" "$into" "$model" "$@"
