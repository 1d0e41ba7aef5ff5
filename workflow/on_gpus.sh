#!/bin/bash
# on_gpus.sh N COMMAND ...: run a command with N GPUs that no other job of this machine has been given so.
# Slurm gives a job its GPUs by itself; N is 0 for jobs without.
set -eu
wanted=$1
shift
if [ "$wanted" = 0 ] || [ -n "${SLURM_JOB_ID:-}" ]; then exec "$@"; fi
all=${CUDA_VISIBLE_DEVICES:-$(nvidia-smi --query-gpu=index --format=csv,noheader | paste -sd,)}
mine=()
for gpu in ${all//,/ }; do
    exec {lock}> "${TMPDIR:-/tmp}/msagcn-gpu-$gpu.lock"   # held until the command and all it started have ended
    if flock -n "$lock"; then mine+=("$gpu"); fi
    if [ ${#mine[@]} = "$wanted" ]; then
        CUDA_VISIBLE_DEVICES=$(IFS=,; echo "${mine[*]}") exec "$@"
    fi
done
echo "msagcn: $wanted GPUs are wanted, and of ${all:-none} only ${#mine[@]} are free" >&2
exit 2
