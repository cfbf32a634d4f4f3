#!/usr/bin/env bash
# A virtual environment with this project in it: environment.sh PYTHON FOLDER WHAT PIP INSTALLS...
# Where there is no NVIDIA GPU, PyTorch's CPU build comes first: on Linux a plain range would
# bring the CUDA build, gigabytes that nothing there can use.
set -euo pipefail
python=$1 folder=$2
shift 2
torch='torch==2.13.0'

if ! "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))'; then
  echo "$python is $("$python" --version 2>&1): 3.10 to 3.14 is wanted; make PYTHON=python3.12" >&2
  exit 2
fi
"$python" -m venv "$folder" || {
  echo "no virtual environment can be made: on Debian or Ubuntu, apt install python3-venv" >&2
  exit 1
}
. "$folder/bin/activate"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1
if [ "$(uname -s)" = Linux ] && ! nvidia-smi >/dev/null 2>&1; then
  cpu=${POSEMAMBA_TORCH_INDEX:-https://download.pytorch.org/whl/cpu}
  pip install --retries 0 --timeout 15 --index-url "$cpu" "$torch" 2>/dev/null ||
    pip install "$torch" # where only another index can be reached
fi
pip install "$@"
