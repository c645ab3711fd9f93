"""The study as its user meets it: methods, shared steps, runs as processes of their own."""

import json

import pytest
from project_copy import ProjectCopy

# The first test of a project waits for its runs, each a separate process.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

TRUSTED = {"aggregate.schedule.activation": 0, "aggregate.schedule.full": 0}
LONG = {"aggregate.schedule.activation": 0.5, "aggregate.schedule.full": 0.5}


@pytest.fixture(scope="module")
def shared(tmp_path_factory, base_policy) -> ProjectCopy:
    """Return a project with one run without trust, and a checkpoint after each step."""
    project = ProjectCopy(tmp_path_factory.mktemp("study"), base_policy)
    project.run("coevolve", "steered", {"run.method": "grpo_sg", "coevolve.checkpoint_every": 1})
    return project


def test_shared_steps_equal_those_that_the_run_would_make(shared) -> None:
    trusting = {"run.method": "no_annealing", "coevolve.checkpoint_every": 1, **LONG}
    shared.run("coevolve", "group/sharing", {**trusting, "run.share": "true"}, "--only-missing-outputs")
    shared.run("coevolve", "alone", trusting)
    assert shared.weights("group/sharing") == shared.weights("alone")
    assert shared.weights("group/sharing") != shared.weights("steered")
    copied = [shared.data("03", run) / "step_001/trajectories.parquet" for run in ("steered", "group/sharing")]
    assert copied[0].read_bytes() == copied[1].read_bytes()
    # What is taken over was measured once: its seconds are the donor's.
    made = [shared.json("08", run, "steps/step_001.json") for run in ("steered", "group/sharing", "alone")]
    seconds = [step["seconds"] for step in made]
    assert seconds[0] == seconds[1] != seconds[2]
    for name in ("steps/step_003.json", "evaluation_final.json", "evaluation_base.json"):
        mine, theirs = (shared.json("08", run, name) for run in ("group/sharing", "alone"))
        for metrics in (mine, theirs):
            metrics.pop("seconds", None)
            metrics.pop("memory", None)
            metrics.get("training", {}).pop("seconds", None)
        assert mine == theirs


def test_changed_run_starts_over_only_when_asked(shared) -> None:
    first = {"run.method": "immediate", "coevolve.steps": 2, **TRUSTED}  # with trust, so that every step has a gradient
    shared.run("coevolve", "again", first)
    weights = shared.weights("again")
    message = shared.refuse("coevolve", "again", {**first, "train.learning_rate": 5e-3})
    assert "train.learning_rate was 0.001, is 0.005" in message
    assert shared.weights("again") == weights
    changed = {**first, "train.learning_rate": 5e-3, "run.when_changed": "start_over"}
    shared.run("coevolve", "again", changed, "--only-missing-outputs")
    assert shared.weights("again") != weights
    weights, step = shared.weights("again"), shared.json("08", "again", "steps/step_001.json")
    shared.run("coevolve", "again", {**changed, "evaluate.games": 1}, "--only-missing-outputs")
    assert shared.weights("again") == weights
    assert shared.json("08", "again", "steps/step_001.json") == step
    assert shared.json("08", "again", "summary.json")["final"]["valid_seen"]["episodes"] == 1


LITTLE = {
    "methods": ["grpo_sg", "grpo_sg_gr"], "offline": ["offline_sg"], "seeds": [1],
    "cross_checkpoint": ["grpo_sg_gr"], "guide": {"method": "grpo_sg_gr", "seed": 1},
}  # fmt: skip
GIVEN = {
    **LONG,
    "coevolve.checkpoint_every": 1,
    "evaluate.plain": "false",
    "distill.steps": 4,
    "distill.won_only": "false",
}


@pytest.fixture(scope="module")
def little(tmp_path_factory, base_policy) -> ProjectCopy:
    """Return a project whose study has three methods, made by one command."""
    project = ProjectCopy(tmp_path_factory.mktemp("little"), base_policy)
    project.configure("study", **LITTLE)
    project.run("study", "unused", GIVEN)
    return project


def test_study_makes_runs_guide_cross_checkpoints_and_comparison(little) -> None:
    runs = [f"study/{method}-seed1" for method in ("grpo_sg", "grpo_sg_gr", "offline_sg")]
    for run in runs:
        assert little.json("08", run, "summary.json")["steps"] == 4
        # What stood after --params was handed on.
        assert little.json("08", run, "run.json")["parameters"]["evaluate.plain"] is False
    guided = little.json("08", "study/offline_sg-seed1", "run.json")
    assert guided["parameters"]["rollout.guide"] == "data/06_models/study/distilled/guide"
    first, second = (little.json("08", run, "steps/step_000.json") for run in runs[:2])
    assert first == second  # to the last figure of its seconds: it was played once

    found = little.json("08", "study", "study.json")
    assert list(found["methods"]) == ["grpo_sg", "grpo_sg_gr", "offline_sg"]
    assert found["methods"]["grpo_sg_gr"]["title"] == "GRPO w/ SG & GR"
    assert {(cell["method"], cell["policy_step"]) for cell in found["cross_checkpoint"]["cells"]} == {("grpo_sg_gr", 2)}
    assert set(little.json("08", "study", "metrics.json")) == set(found["methods"])

    folder = little.data("08", "study")
    figures = {path.stem for path in (folder / "figures").glob("*.png")}
    assert figures >= {"dials", "comparison", "curves", "cross_checkpoint"}
    assert "GRPO w/ SG & GR" in (folder / "study.md").read_text()
    page = (folder / "study.html").read_text()
    assert "GRPO w/ SG &amp; GR" in page
    assert "DecompressionStream" in page  # which the viewer of trajectories needs


def test_study_again_makes_only_missing_runs(little) -> None:
    arguments = little.arguments("study", "unused", GIVEN)
    logs = [little.data("08", f"study/{method}-seed1") / "log.txt" for method in ("grpo_sg", "offline_sg")]
    before = [path.read_text() for path in logs]
    page = little.data("08", "study") / "study.html"
    content = page.read_text()
    page.write_text("of fewer runs")
    assert little.kedro(*arguments, "--only-missing-outputs").exit_code == 0
    assert [path.read_text() for path in logs] == before
    # The comparison is made anew: that there is one does not say of which runs.
    assert page.read_text() == content
    lost = little.data("08", "study/grpo_sg-seed1") / "summary.json"
    content = lost.read_bytes()
    lost.unlink()
    result = little.kedro(*arguments)
    assert result.exit_code == 0, result.output
    new, old = (json.loads(text) for text in (lost.read_bytes(), content))
    assert new["final"] == old["final"]


def test_failed_run_is_reported_with_its_own_error(little) -> None:
    lost = little.data("08", "study/grpo_sg-seed1") / "summary.json"
    content = lost.read_bytes()
    lost.unlink()
    message = little.refuse("study", "unused", {**GIVEN, "train.learning_rate": 7e-3}, "--only-missing-outputs")
    assert "run 'study/grpo_sg-seed1' failed: " in message
    assert "train.learning_rate was 0.001, is 0.007" in message
    assert "log.txt" in message
    lost.write_bytes(content)


def test_pipeline_that_cannot_remake_a_run_does_not_delete_it(shared) -> None:
    weights = shared.weights("steered")
    given = {"run.method": "grpo_sg", "train.learning_rate": 3e-3, "run.when_changed": "start_over"}
    message = shared.refuse("evaluate", "steered", {**given, "coevolve.checkpoint_every": 1}, "--only-missing-outputs")
    assert "run 'steered' has outputs that were made with other parameters (train.learning_rate was 0.001" in message
    assert shared.weights("steered") == weights


def test_cross_checkpoint_table_is_made_again_with_other_settings(little) -> None:
    table = little.data("08", "study/grpo_sg_gr-seed1") / "cross_checkpoint.json"
    content = table.read_bytes()
    given = {**GIVEN, "run.method": "grpo_sg_gr", "run.seed": 1}
    little.run("cross_checkpoint", "study/grpo_sg_gr-seed1", given, "--only-missing-outputs")
    assert table.read_bytes() == content
    given["cross_checkpoint.policy"] = 1
    little.run("cross_checkpoint", "study/grpo_sg_gr-seed1", given, "--only-missing-outputs")
    assert {row["policy_step"] for row in json.loads(table.read_bytes())} == {4}
    table.write_bytes(content)
