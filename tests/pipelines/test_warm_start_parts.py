"""A warm start in the graph: its parts, what they leave, and that a killed one resumes from the last of them."""

import shutil

import pytest

pytestmark = pytest.mark.slow

WARM = {"base_model.source": "warm_start", "validation.games": 1}


def test_parts_leave_checkpoints_reports_and_validations_and_resume(warm_project):
    run = warm_project.copied("warm", "parted")
    first, second = (warm_project.json("08", run, f"warm_start/part_00{part}.json") for part in (0, 1))
    assert (first["part"], second["part"]) == (1, 2)
    assert 40_000 <= first["tokens"] < second["tokens"]
    assert second["held_out_loss"] < first["held_out_loss"]
    assert not (warm_project.data("08", run) / "warm_start" / "part_000_validation.json").exists()
    assert warm_project.json("08", run, "warm_start/part_001_validation.json")["episodes"] == 1
    before = warm_project.weights(run, "base")
    shutil.rmtree(warm_project.data("06", run) / "base")
    warm_project.run("base_model", run, WARM, "--only-missing-outputs")
    assert warm_project.weights(run, "base") == before
    assert warm_project.json("08", run, "warm_start/part_000.json") == first
