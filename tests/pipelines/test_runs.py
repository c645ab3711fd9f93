"""Whole runs, small ones, on the real engine."""

import json

import pytest
from project_copy import SMALL

pytestmark = pytest.mark.slow

STEPS = SMALL["coevolve.steps"]


def test_the_main_job_leaves_what_the_report_promises(project, finished):
    summary = project.json("08", finished, "summary.json")
    assert summary["run"] == finished
    assert summary["fingerprint"] == project.json("08", finished, "run.json")["fingerprint"]
    assert summary["environment"] == "alfworld"
    assert summary["panel_sha256"] == project.json("02", finished, "panel.json")["sha256"]
    assert summary["steps"] == STEPS
    assert summary["wall_seconds"] > 0
    assert summary["quarantined"] == 0
    for policy in ("base", "final"):
        for split in ("valid_seen", "valid_unseen"):
            score = summary[policy][split]
            low, high = score["ci95"]
            assert 0 <= low <= score["success_rate"] <= high <= 1
            assert score["episodes"] == SMALL["evaluate.games"]
            assert summary[policy]["without_guidance"][split]["episodes"] == SMALL["evaluate.games"]
    for name in ("learning_curve.png", "report.md"):
        assert (project.data("08", finished) / name).stat().st_size > 1000


def test_lambda_follows_the_schedule_and_each_step_has_its_figures(project, finished):
    # activation at 0, full trust from 0.25, annealing from 0.875 on: of 4 steps the first lies on the ramp
    assert project.json("08", finished, "summary.json")["lambda"] == pytest.approx([0.0, 1.0, 1.0, 1.0])
    phases = ["phase_2_activation", *["phase_3_full"] * 3]
    for step in range(STEPS):
        metrics = project.json("08", finished, f"steps/step_{step:03d}.json")
        assert (metrics["step"], metrics["phase"]) == (step, phases[step])
        assert {"success_rate", "r_env", "r_sg", "training", "seconds", "memory", "rollout"} <= set(metrics)
        folder = project.data("03", finished) / f"step_{step:03d}"
        assert {path.name for path in folder.iterdir()} == {
            "trajectories.parquet",
            "rollout_report.json",
            "quarantined.parquet",
        }


def test_the_policy_learns_and_transformers_reads_it(project, finished):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from sg_pipeline.policies.checkpoint import load_policy

    assert project.weights(finished, "base") != project.weights(finished)
    folder = project.data("06", finished)
    assert AutoModelForCausalLM.from_pretrained(folder / "final").config.model_type == "qwen3"
    assert AutoTokenizer.from_pretrained(folder / "final").chat_template
    assert load_policy(folder / "final").step == STEPS
    assert [path.name for path in sorted((folder / "checkpoints").iterdir())] == ["step_001"]
    assert load_policy(folder / "checkpoints" / "step_001").step == 2


def test_the_same_seed_gives_the_same_bits_whatever_the_workers(project, finished):
    project.run("coevolve", "again", {"environment.pool.workers": 2})
    assert project.weights("again") == project.weights(finished)
    one, other = (project.json("08", run, "summary.json") for run in ("again", finished))
    assert _results(one) == _results(other)


def test_another_seed_gives_another_policy(project, finished):
    project.run("coevolve", "seed1", {"run.seed": 1})
    assert project.weights("seed1", "base") == project.weights(finished, "base")
    assert project.weights("seed1") != project.weights(finished)


def _results(summary):
    """What must repeat: everything but names and the clock."""
    timed = {"run", "wall_seconds", "seconds"}
    kept = {key: value for key, value in summary.items() if key not in timed}
    kept["curve"] = {
        name: value for name, value in summary["curve"].items() if not name.startswith(("seconds.", "memory."))
    }
    return json.dumps(kept, sort_keys=True)
