"""A whole run whose turns vLLM writes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rounding import LOGP

pytest.importorskip("vllm", reason="vLLM is not installed (docs/vllm.md)")

ROOT = Path(__file__).resolve().parents[2]


def test_a_whole_coevolution(tmp_path):
    shutil.copytree(ROOT / "conf", tmp_path / "conf", ignore=shutil.ignore_patterns("local"))
    shutil.copytree(ROOT / "data" / "06_models" / "tiny-alfworld", tmp_path / "data" / "06_models" / "tiny-alfworld")
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "src").mkdir()
    parameters = {
        "sampling.engine": "vllm", "train.sampler_correction": "token_truncate", "run.name": "v", "run.threads": 1,
        "coevolve.steps": 4, "coevolve.checkpoint_every": 2, "environment.pool.workers": 1,
        "sampling.vllm.sleep": "true",
    }  # fmt: skip
    given = ",".join(f"{name}={value}" for name, value in parameters.items())
    command = [sys.executable, "-m", "kedro", "run", "--env=smoke", f"--params={given}"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    assert (ended.stdout + ended.stderr).count("sampling.vllm.sleep is ignored: on a CPU vLLM") == 1
    reports = tmp_path / "data" / "08_reporting" / "v"
    assert (reports / "report.md").is_file()
    identity = json.loads((reports / "run.json").read_text(encoding="utf-8"))
    assert identity["parameters"]["sampling.engine"] == "vllm"
    steps = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((reports / "steps").glob("step_*.json"))]
    assert len(steps) == 4
    assert any(step["training"].get("grad_norm_max", 0.0) > 0 for step in steps)
    for step in steps:
        # A step's engine that had not taken over the last one's weights would show here.
        assert step["training"].get("logp_gap_max", 0.0) < LOGP
        seconds = step["seconds"]
        assert seconds["total"] == pytest.approx(sum(value for name, value in seconds.items() if name != "total"))
        assert seconds["sync"] > 0
