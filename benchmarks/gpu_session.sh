#!/usr/bin/env bash
# Trains the published model on a GPU, unattended, for as long as there is one; no longer.
#
#   benchmarks/gpu_session.sh 25                         # 25 minutes at scale mp
#   benchmarks/gpu_session.sh 25 --collect "$OUT"        # copies of the result JSON there as they come
#   benchmarks/gpu_session.sh 5 --scale mini             # the same on any machine
#
# The order is that of importance (benchmarks/gpu_session.py); started again, here or on another
# machine with a copy of the runs folder, it goes on. Result JSON is enough to know what is done:
# weights that did not travel are trained again only where something starts from them.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# -lt 1 ]; then
    sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
python="${PYTHON:-.venv/bin/python}"
if [ ! -x "$(command -v "$python")" ]; then
    make setup
    python=.venv/bin/python
fi
if command -v nvidia-smi >/dev/null; then
    nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv
    if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
        echo "error: torch does not see this GPU: install a build for CUDA that its driver knows" >&2
        exit 2
    fi
else
    echo "no GPU here: the CPU computes" >&2
fi
# what the set-up took is part of the time given
minutes=$(awk -v given="$1" -v seconds="$SECONDS" 'BEGIN { print given - seconds / 60 }')
exec "$python" benchmarks/gpu_session.py "$minutes" "${@:2}"
