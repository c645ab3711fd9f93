"""benchmarks/first_gpu.py at its smallest size on a CPU."""

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from project_copy import REPOSITORY, ProjectCopy

sys.path += [str(REPOSITORY / "benchmarks"), str(REPOSITORY / "tests" / "sampling")]

pytestmark = pytest.mark.slow
TINY = REPOSITORY / "data/06_models/tiny-alfworld/base"


def first_gpu(folder: Path, *options: str) -> tuple[int, dict, str]:
    """Run the script in a project's folder; return its exit code, its JSON file and its page."""
    command = [sys.executable, str(REPOSITORY / "benchmarks/first_gpu.py"), "--device=cpu", "--size=tiny"]
    paths = os.pathsep.join([str(REPOSITORY / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    code = subprocess.run([*command, "--model=tiny", *options], cwd=folder, env=environment, check=False).returncode
    out = folder / "data/08_reporting/first_gpu"
    return code, json.loads((out / "first_gpu.json").read_text()), (out / "first_gpu.md").read_text()


def test_first_gpu_all_parts_write_their_results(tmp_path) -> None:
    from fake_vllm import running

    from sg_pipeline.policies.checkpoint import load_policy

    project = ProjectCopy(tmp_path)
    with running(load_policy(TINY)) as server:
        code, report, page = first_gpu(project.root, f"--vllm={server.url}")
    assert {name: part["status"] for name, part in report["parts"].items()} == dict.fromkeys(
        ("machine", "train", "profile", "sample", "coevolve", "vllm"), "done"
    )
    assert code == 0
    found = {name: part["results"] for name, part in report["parts"].items()}
    assert "CPU" in found["machine"]["device"]
    train, shape = found["train"], json.loads((TINY / "config.json").read_text())
    lengths = (48, 64, 96, 48)
    assert train["tokens"] == sum(lengths)
    assert train["tokens_per_second"] == pytest.approx(train["tokens"] / train["seconds"])
    assert train["mfu"] is train["peak_tflops"] is None
    count = train["parameters"] - shape["vocab_size"] * shape["hidden_size"]  # the output layer has a separate table
    pairs = sum(length**2 for length in lengths) / 2
    attention = 12 * shape["num_hidden_layers"] * shape["num_attention_heads"] * shape["head_dim"] * pairs
    expected = 6 * count * sum(lengths) + attention
    assert train["model_tflops"] * train["seconds"] * 1e12 == pytest.approx(expected)
    assert "aten::mm" in found["profile"]["operations"]
    assert found["sample"]["sampled_tokens"] == found["vllm"]["sampled_tokens"] == 2 * 2 * 4
    vllm = found["vllm"]
    assert vllm["fingerprint_changed"] is vllm["fingerprint_equals_policy"] is True
    assert vllm["update_seconds"] > 0
    assert vllm["largest_logprob_gap"] < 1e-3
    assert [step["total"] > step["training"] > 0 for step in found["coevolve"]["steps"]] == [True, True]
    memory = [row for part in found.values() for row in part.get("memory", ())]
    assert [row["phase"] for row in memory] == [
        "training step", "sampling", "coevolve, sampling", "coevolve, training", "coevolve, environments",
    ]  # fmt: skip
    assert all(row["gib"] > (row["formula_gib"] or 0) >= 0 for row in memory)
    assert "## Peak memory" in page
    # Neither the trial of the run nor a scratch folder is left.
    assert not list((project.root / "data").glob("*/trial"))
    assert not list((project.root / "data/08_reporting/first_gpu").glob("scratch_*"))


def test_first_gpu_failing_part_is_recorded_and_others_run(tmp_path) -> None:
    code, report, page = first_gpu(ProjectCopy(tmp_path).root, "--only", "vllm", "sample", "--vllm=/no/vllm")
    assert code == 1
    assert {name: part["status"] for name, part in report["parts"].items()} == {
        "machine": "done", "sample": "done", "vllm": "failed",
    }  # fmt: skip
    reason = report["parts"]["vllm"]["reason"]
    assert "sampling.server.executable is '/no/vllm', which is no program" in reason
    assert reason in page


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989), ("NVIDIA H100 PCIe", 756), ("NVIDIA A100-SXM4-80GB", 312), ("NVIDIA L4", 121),
        ("NVIDIA L40S", None), ("Tesla T4", None),
    ],
)  # fmt: skip
def test_peak_tflops_is_that_of_the_named_gpu(monkeypatch, name, peak) -> None:
    import first_gpu_parts
    import torch

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    settings = {"device": "cuda", "compute": "bfloat16", "peak_tflops": None}
    assert first_gpu_parts.peak_tflops(Namespace(**settings)) == peak
    assert first_gpu_parts.peak_tflops(Namespace(**{**settings, "peak_tflops": 50.0})) == 50
    assert first_gpu_parts.peak_tflops(Namespace(**{**settings, "compute": "weights"})) is None
    assert first_gpu_parts.peak_tflops(Namespace(**{**settings, "device": "cpu", "peak_tflops": 50.0})) is None
