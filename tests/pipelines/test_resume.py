"""`kill -9` at any moment, then the same command with --only-missing-outputs: the bits of an uninterrupted run."""

import json
import signal
from pathlib import Path

import pytest
from project_copy import wait_for, written

from sg_pipeline.errors import ConfigurationError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # six processes, one after the other, on a busy machine

DRIVER = str(Path(__file__).with_name("self_killing_run.py"))
# Where no episode is won, verdicts alone teach; and what a step hands on to the next must lie on the disk.
REWARDS = {
    "aggregate.schedule.kind": "constant", "aggregate.schedule.value": 0.5,
    "aggregate.credit.kind": "turn", "aggregate.truth.kind": "brier",
}  # fmt: skip
LONGER = {"coevolve.steps": 5, **REWARDS}


@pytest.fixture(scope="module")
def whole(project):
    """Return the name of the uninterrupted run."""
    project.run("coevolve", "whole", LONGER)
    return "whole"


def test_a_run_that_is_killed_again_and_again_ends_as_the_uninterrupted_one(project, whole):
    """Checkpoints follow steps 1 and 3; each line is a new process that goes on where the last one was killed."""
    run, only_missing = "killed", ()
    recorded: dict[str, int] = {}
    for moment, step, exist, missing in (
        ("in_rollout", 1, "03/step_000/trajectories.parquet", "03/step_001/trajectories.parquet"),
        ("in_checkpoint", 1, "08/steps/step_001.json", "06/checkpoints/step_001"),
        ("in_train", 3, "03/step_003/rollout_report.json", "08/steps/step_003.json"),
        ("before_rename", 4, "06/checkpoints/step_003/policy.json", "03/step_004/trajectories.parquet"),
    ):
        arguments = project.arguments("coevolve", run, LONGER, *only_missing)
        process = project.process(*arguments, driver=(DRIVER, moment, str(step)))
        output, _ = process.communicate(timeout=200)
        assert process.returncode == -signal.SIGKILL, output
        wait_for(lambda: not project.orphans())
        assert (project.data(exist[:2], run) / exist[3:]).exists(), moment
        assert not (project.data(missing[:2], run) / missing[3:]).exists(), moment
        trajectories = written(project, run, "03", "trajectories.parquet")
        assert recorded.items() <= trajectories.items(), "trajectories were rolled out twice"
        recorded, only_missing = trajectories, ("--only-missing-outputs",)
    process = project.process(*project.arguments("coevolve", run, LONGER, *only_missing))
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    assert recorded.items() <= written(project, run, "03", "trajectories.parquet").items()
    for policy in ("base", "checkpoints/step_001", "checkpoints/step_003", "final"):
        for name in ("model.safetensors", "optimizer.safetensors"):
            one, other = (project.data("06", which) / policy / name for which in (run, whole))
            if policy != "base" or name.startswith("model"):
                assert one.read_bytes() == other.read_bytes(), one
    assert _figures(project, run) == _figures(project, whole)
    assert not list(project.data("06", run).rglob(".*")), "half-written folders were left"


def test_page_gives_the_result_once(project, whole):
    page = (project.data("08", whole) / "report.html").read_text(encoding="utf-8")
    for split in ("valid_seen", "valid_unseen"):
        assert page.count(f"<strong>{split}</strong>: the final policy ") == 1


def test_only_what_is_missing_is_made(project, whole):
    before = written(project, whole)
    project.run("coevolve", whole, LONGER, "--only-missing-outputs")
    assert written(project, whole) == before
    (project.data("08", whole) / "evaluation_final.json").unlink()
    project.run("coevolve", whole, LONGER, "--only-missing-outputs")
    after = written(project, whole)
    changed = {name for name in before if before[name] != after[name]}
    # What reports it is made with it, the card beside the weights too.
    assert changed == {"06_models/whole/final/README.md", *("08_reporting/whole/" + name for name in (
        "report.md", "report.html", "summary.json", "learning_curve.png", "evaluation_final.json", "clock.json"
    ))}  # fmt: skip


@pytest.mark.parametrize(("moment", "number"), [("in_train", 2), ("in_deletion", 9)])
def test_a_run_made_again_and_killed_ends_without_anything_of_the_earlier_making(project, whole, moment, number):
    run, few = f"again-{moment}", {**LONGER, "checkpoints.keep_last": 1, "checkpoints.best": "train_success"}
    project.copied(whole, run)
    project.run("coevolve", run, few, "--only-missing-outputs")
    earlier = written(project, run)
    process = project.process(*project.arguments("coevolve", run, few), driver=(DRIVER, moment, str(number)))
    output, _ = process.communicate(timeout=200)
    assert process.returncode == -signal.SIGKILL, output
    assert f"run '{run}' is made again: " in " ".join(output.split())
    left = written(project, run)
    assert not any(name.startswith(f"08_reporting/{run}/report") for name in left)
    assert moment == "in_deletion" or f"06_models/{run}/final/policy.json" not in left
    project.run("coevolve", run, few, "--only-missing-outputs")
    after = written(project, run)
    assert after.keys() == earlier.keys()
    if moment == "in_train":
        kept = {name for name in after if after[name] == earlier[name]}
        assert kept == {f"08_reporting/{run}/run.json"}
    assert project.weights(run) == project.weights(whole)
    assert _figures(project, run) == _figures(project, whole)


def test_a_start_that_fails_before_its_first_output_loses_nothing(project, whole, monkeypatch):
    from sg_pipeline.environments.alfworld.benchmark import AlfworldBenchmark

    def fail(*_):
        raise ConfigurationError("the games are gone")

    before = written(project, whole)
    with monkeypatch.context() as patched:
        patched.setattr(AlfworldBenchmark, "prepare", fail)
        assert "the games are gone" in project.refuse("coevolve", whole, LONGER)
        assert "train.beta was 0.0, is 0.5" in project.refuse("coevolve", whole, {**LONGER, "train.beta": 0.5})
    after = written(project, whole)
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    # The base policy is the same again.
    assert all(name.startswith((f"06_models/{whole}/base/", f"08_reporting/{whole}/clock.json")) for name in changed)


def _figures(project, run):
    """Everything that the run measured, clocks apart."""
    folder = project.data("08", run)
    files = sorted([*folder.glob("steps/*.json"), *folder.glob("evaluation_*.json")])
    figures = {path.name: json.loads(path.read_text()) for path in files}
    for measured in figures.values():
        measured.pop("seconds", None)
        measured.pop("memory", None)
    assert len(figures) == 5 + 2
    return figures
