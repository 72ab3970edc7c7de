#!/bin/sh
# Set up a virtual environment: sh setup.sh PYTHON VENV base|dev
# A torch that suits the machine comes first, because an unpinned one may pull gigabytes of CUDA where there is no GPU.
set -eu
python="$1"; venv="$2"; kind="$3"

"$python" - <<'PY' || { echo "Triptych needs Python 3.11 or newer: install it, or name one, as in 'make demo PYTHON=python3.12'." >&2; exit 1; }
import sys
sys.exit(sys.version_info < (3, 11))
PY

install_system() {  # the Debian packages named, if they are missing and may be installed
    missing=""
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
    [ -z "$missing" ] && return 0
    if [ "$(id -u)" = 0 ]; then run=""; elif sudo -n true 2>/dev/null; then run="sudo"; else
        echo "Missing Debian packages:$missing. Install them with: sudo apt-get install$missing" >&2
        return 0
    fi
    echo "Installing Debian packages:$missing"
    $run apt-get update -qq || true
    DEBIAN_FRONTEND=noninteractive $run apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
        echo "These could not be installed; please install them yourself:$missing" >&2
}

if [ "$(uname -s)" = Linux ] && command -v dpkg-query >/dev/null 2>&1; then
    glib=libglib2.0-0
    apt-cache show libglib2.0-0t64 >/dev/null 2>&1 && glib=libglib2.0-0t64
    venvpackage="python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    "$python" -c 'import ensurepip' 2>/dev/null || install_system "$venvpackage"
    install_system libgl1 libegl1 libopengl0 libxkbcommon0 libxkbcommon-x11-0 libdbus-1-3 libfontconfig1 "$glib" \
        libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0 libxcb-image0 libxcb-render-util0 libxcb-xinerama0 \
        libxcb-randr0 fontconfig fonts-dejavu-core fonts-noto-cjk fonts-noto-color-emoji
fi

[ -x "$venv/bin/python" ] || { echo "Creating $venv"; "$python" -m venv "$venv"; }
pip="$venv/bin/python -m pip install -q"

if ! "$venv/bin/python" -c 'import torch' 2>/dev/null; then
    if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1; then
        echo "Installing torch (CUDA build: a GPU was found)"
        $pip 'torch>=2.10'
    elif [ "$(uname -s)" = Darwin ]; then
        echo "Installing torch"
        $pip 'torch>=2.10'
    else
        echo "Installing torch (CPU build: no GPU was found)"
        # A CPU wheel that pip can already see is taken; else uv knows where the CPU builds are; else what the index has.
        $pip --only-binary=:all: 'torch==2.13.0+cpu' 2>/dev/null ||
            { $pip uv 2>/dev/null && "$venv/bin/uv" pip install -q --python "$venv/bin/python" --torch-backend cpu 'torch>=2.10' 2>/dev/null; } ||
            $pip 'torch>=2.10'
    fi
fi
echo "Installing Triptych ($kind)"
if [ "$kind" = dev ]; then $pip -e '.[dev]'; else $pip -e '.[gguf]'; fi
