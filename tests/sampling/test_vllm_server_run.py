"""A whole run with its own vLLM server, which dies; two processes continue the run with another server."""

import json
import os
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from rounding import LOGP

EXECUTABLE = os.environ.get("VLLM_EXECUTABLE") or (sys.executable if find_spec("vllm") else None)
pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="no vLLM (docs/vllm.md), nor one in $VLLM_EXECUTABLE")

ROOT = Path(__file__).resolve().parents[2]


def test_coevolution_whose_server_dies_is_resumed_by_two_processes(tmp_path):
    shutil.copytree(ROOT / "conf", tmp_path / "conf", ignore=shutil.ignore_patterns("local"))
    shutil.copytree(ROOT / "data" / "06_models" / "tiny-alfworld", tmp_path / "data" / "06_models" / "tiny-alfworld")
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "src").mkdir()
    parameters = {
        "sampling.engine": "vllm", "sampling.server.executable": EXECUTABLE, "run.name": "v", "run.threads": 1,
        "train.sampler_correction": "token_truncate", "coevolve.steps": 4, "coevolve.checkpoint_every": 2,
        "environment.pool.workers": 1,
    }  # fmt: skip
    given = ",".join(f"{name}={value}" for name, value in parameters.items())
    command = ["-m", "kedro", "run", "--env=smoke", f"--params={given}"]
    steps = tmp_path / "data" / "08_reporting" / "v" / "steps"

    run = subprocess.Popen(
        [sys.executable, *command], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while not (steps / "step_001.json").is_file():
        assert run.poll() is None, run.communicate()[0][-2000:]
        time.sleep(0.1)
    processes = psutil.Process(run.pid).children(recursive=True)
    guard = next(process for process in processes if "guard.py" in " ".join(process.cmdline()))
    for process in guard.children(recursive=True):
        process.kill()
    output = run.communicate()[0]
    assert run.returncode == 1
    assert "Traceback" not in output, output[-3000:]
    (sentence,) = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert "the vLLM server at http://127.0.0.1:" in sentence
    assert sentence.endswith("run the same command with --only-missing-outputs to continue")
    _, left = psutil.wait_procs(processes, timeout=10)
    assert not [process for process in left if process.status() != psutil.STATUS_ZOMBIE]
    Path(sentence.split("its log is ")[1].split(";")[0]).unlink()

    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    ended = subprocess.run(
        [*two, *command, "--only-missing-outputs"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    assert "shared by 2 processes" in ended.stdout + ended.stderr
    assert (steps.parent / "report.md").is_file()
    made = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(steps.glob("step_*.json"))]
    assert len(made) == 4
    assert any(step["training"].get("grad_norm_max", 0.0) > 0 for step in made)
    for step in made:
        # A server without the weights of the step before would show here.
        assert step["training"].get("logp_gap_max", 0.0) < LOGP
        assert step["seconds"]["sync"] > 0
