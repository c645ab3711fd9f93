"""Runs that keep few checkpoints give the same figures, also after a kill; what needs a deleted one says so."""

import signal
from pathlib import Path

import pytest
from project_copy import written

from sg_pipeline.policies.checkpoint import is_pruned, is_whole

pytestmark = pytest.mark.slow

DRIVER = str(Path(__file__).with_name("self_killing_run.py"))
EVERY = {"coevolve.steps": 5, "coevolve.checkpoint_every": 1}
FEW = {**EVERY, "checkpoints.keep_last": 1, "checkpoints.keep_cross_checkpoint": "false"}


@pytest.fixture(scope="module")
def whole(project) -> str:
    """Return the name of a run that keeps all checkpoints."""
    project.run("coevolve", "keeps", EVERY)
    return "keeps"


@pytest.fixture(scope="module")
def pruned(project, whole) -> str:
    """Return the name of the same run with one checkpoint, made by a process that was killed while it pruned."""
    name = "prunes"
    arguments = project.arguments("coevolve", name, {**FEW, "checkpoints.best": "train_success"})
    process = project.process(*arguments, driver=(DRIVER, "in_pruning", "0"))
    output, _ = process.communicate(timeout=200)
    assert process.returncode == -signal.SIGKILL, output
    first = folder(project, name, 1)
    assert is_pruned(first)
    assert (first / "model.safetensors").exists()
    project.run("coevolve", name, {**FEW, "checkpoints.best": "train_success"}, "--only-missing-outputs")
    return name


def folder(project, run, after) -> Path:
    return project.data("06", run) / "checkpoints" / f"step_{after - 1:03d}"


def kept(project, run) -> list[int]:
    return [after for after in range(1, 5) if is_whole(folder(project, run, after))]


def test_a_run_that_prunes_ends_as_one_that_does_not(project, whole, pruned):
    assert kept(project, whole) == [1, 2, 3, 4]
    for name in ("model.safetensors", "optimizer.safetensors"):
        one, other = (project.data("06", run) / "final" / name for run in (pruned, whole))
        assert one.read_bytes() == other.read_bytes()
    after = project.json("06", pruned, "best.json")["after"]
    success = [project.json("08", whole, f"steps/step_{step:03d}.json")["success_rate"] for step in range(5)]
    assert success[after - 1] == max(success)
    assert kept(project, pruned) == sorted({4, after} - {5})
    assert all(is_pruned(folder(project, pruned, step)) for step in range(1, 5) if step not in {4, after})


def test_nothing_is_made_again_because_it_was_pruned(project, pruned):
    before = written(project, pruned, "06")
    card = project.data("06", pruned) / "final" / "README.md"
    card.write_text("of another evaluation")
    (project.data("08", pruned) / "evaluation_final.json").unlink()
    project.run("coevolve", pruned, FEW, "--only-missing-outputs")
    after = written(project, pruned, "06")
    assert {name for name in before if before[name] != after[name]} == {f"06_models/{pruned}/final/README.md"}
    assert before.keys() == after.keys()
    assert "model-index" in card.read_text()


def test_pipeline_that_needs_a_deleted_checkpoint_says_so_before_anything_runs(project, pruned):
    message = project.refuse("cross_checkpoint", pruned, FEW)
    assert "the pipeline cross_checkpoint needs the checkpoints of" in message
    assert "but they were pruned (checkpoints.keep_last)" in message
    message = project.refuse("validation", pruned, {**FEW, "validation.games": 1}, "--only-missing-outputs")
    assert "the pipeline validation needs the checkpoints of" in message


def test_a_checkpoint_is_validated_before_it_goes(project):
    given = {**FEW, "coevolve.steps": 3, "validation.games": 1}
    project.run("validation", "validated", given)
    reports = project.data("08", "validated") / "validation"
    assert sorted(path.stem for path in reports.iterdir()) == ["after_001", "after_002", "after_003"]
    assert kept(project, "validated") == [2]


def test_who_takes_steps_over_goes_on_from_the_donors_last_checkpoint(project, pruned):
    """The schedules part after the third step, whose checkpoint is gone unless it is the best."""
    parted = {"aggregate.schedule.annealing": 0.7, "run.share": "true"}
    for name, given in (("sharing-few", FEW), ("sharing-all", EVERY)):
        project.run("coevolve", name, {**given, **parted}, "--only-missing-outputs")
        (taken,) = project.json("08", name, "shared.json")
        assert taken["first"] == 0
        assert taken["last"] >= 2
        assert kept(project, name) == ([4] if given is FEW else [1, 2, 3, 4])
    assert project.weights("sharing-few") == project.weights("sharing-all")
