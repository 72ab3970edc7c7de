#!/bin/sh
# Run the tests of a card and the bench on it: sh tests/acceptance/gpu.sh [tests] [bench]. Nothing stops at a failure.
#   OUT     folder for logs, tests.xml, memory.xml and bench.json (default .)
#   PYTHON  the Python that has torch for CUDA (default python3)
#   TESTS_SECONDS, MEMORY_SECONDS, BENCH_SECONDS   most that each part may take (default 110, 60 and 240)
#   WORKERS, THREADS   processes of the tests, and threads of each (default half of the cores, and 2)
#   PYTEST_ARGS, BENCH_ARGS   more arguments, such as -k bf16; sections of the bench (default p2 p3 p4)
# Needs of the project's packages: torch, transformers, tokenizers, safetensors, accelerate, lm-eval with its own needs,
# datasets, evaluate, rapidfuzz, sqlalchemy, platformdirs, msgpack, typer, rich; peft, torchao and trl if there. No Qt.
set -u
cd "$(dirname "$0")/../.."
OUT="${OUT:-.}"; PYTHON="${PYTHON:-python3}"; mkdir -p "$OUT"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
export CUBLAS_WORKSPACE_CONFIG="${CUBLAS_WORKSPACE_CONFIG:-:4096:8}" TRIPTYCH_TEST_DEVICE="${TRIPTYCH_TEST_DEVICE:-cuda}"
export TRIPTYCH_HOME="${TRIPTYCH_HOME:-$(mktemp -d)}"
parts="${*:-tests bench}"; started=$(date +%s)

machine() {
    nvidia-smi -L 2>/dev/null
    "$PYTHON" - <<'PY'
import importlib.metadata as known
import platform
print("python", platform.python_version())
for name in ("torch", "transformers", "tokenizers", "safetensors", "accelerate", "peft", "torchao", "trl", "bitsandbytes",
             "lm_eval", "datasets", "huggingface_hub", "numpy", "pyarrow", "pytest"):
    try:
        print(name, known.version(name))
    except known.PackageNotFoundError:
        print(name, "is not there")
import torch
print("cuda", torch.version.cuda, torch.cuda.is_available(), "TF32", torch.backends.cuda.matmul.allow_tf32)
PY
}

run_tests() {  # NAME SECONDS ARGUMENTS...
    name="$1" seconds="$2"; shift 2; begun=$(date +%s)
    timeout -s INT -k 10 "$seconds" env OMP_NUM_THREADS="${THREADS:-2}" MKL_NUM_THREADS="${THREADS:-2}" "$PYTHON" -m pytest \
        -c tests/acceptance/gpu.ini --rootdir . --confcutdir . -p no:cacheprovider -v --tb=short --durations=12 \
        --junitxml "$OUT/$name.xml" $limit "$@" ${PYTEST_ARGS:-} >"$OUT/$name.log" 2>&1
    echo "$name: exit code $?, $(($(date +%s) - begun)) s" | tee -a "$OUT/summary.txt"
    grep -E "^(FAILED|ERROR) |^=.* (passed|failed|error)" "$OUT/$name.log" | cut -c1-300 | tail -60 | tee -a "$OUT/summary.txt"
}

tests() {  # those that fill the card's memory run by themselves, behind the others
    workers="" limit=""
    cores=$(nproc 2>/dev/null || echo 4)
    "$PYTHON" -c 'import xdist' 2>/dev/null && workers="-n ${WORKERS:-$(((cores + 1) / 2))} --dist load --maxschedchunk 1"
    "$PYTHON" -c 'import pytest_timeout' 2>/dev/null && limit="--timeout 75"
    run_tests tests "${TESTS_SECONDS:-110}" $workers tests/gpu/test_training.py tests/gpu/test_engine.py tests/gpu/test_scoring.py \
        tests/gpu/test_devices.py tests/gpu/test_operations.py
    run_tests memory "${MEMORY_SECONDS:-60}" tests/gpu/test_memory.py
}

bench() {
    begun=$(date +%s)
    timeout -s INT "${BENCH_SECONDS:-240}" "$PYTHON" -m tests.bench --device "${TRIPTYCH_TEST_DEVICE}" --output "$OUT/bench.json" \
        ${BENCH_ARGS:-p2 p3 p4} >"$OUT/bench.log" 2>&1
    echo "bench: exit code $?, $(($(date +%s) - begun)) s" | tee -a "$OUT/summary.txt"
    grep -E "^(PASS|MISS|skipped)|broke off|Error" "$OUT/bench.log" | tee -a "$OUT/summary.txt"
}

: >"$OUT/summary.txt"
machine 2>&1 | tee "$OUT/machine.txt"
for part in $parts; do "$part"; done
echo "$(($(date +%s) - started)) s in all" | tee -a "$OUT/summary.txt"
