#!/bin/sh
# The wheel alone, in an empty environment and another folder: it must hold the assets and run the demo without a window.
# Not part of `make test`.   sh tests/acceptance/wheel.sh [PYTHON]
set -eu
python="${1:-python3}"
source="$(cd "$(dirname "$0")/../.." && pwd)"
place="$(mktemp -d)"
trap 'rm -rf "$place"' EXIT
"$python" -m venv "$place/build" && "$place/build/bin/pip" install -q build
git clone -q "$source" "$place/source"
"$place/build/bin/python" -m build -q --wheel --outdir "$place/dist" "$place/source"
"$python" -m venv "$place/env"
"$place/env/bin/pip" install -q --only-binary=:all: 'torch==2.13.0+cpu' 2>/dev/null || true
"$place/env/bin/pip" install -q "$place"/dist/*.whl
mkdir "$place/elsewhere" && cd "$place/elsewhere"
TRIPTYCH_HOME="$place/home" "$place/env/bin/triptych" demo --headless --output out
ls -la out
"$place/env/bin/python" - <<'PY'
import json
results = json.load(open("out/results.json"))
assert results["cells"] and results["comparisons"], "no scores"
print(len(results["cells"]), "scores,", len(results["comparisons"]), "comparisons")
PY
