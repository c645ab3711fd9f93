"""Planning a run: by a trial of its first steps, by its own recorded steps, or by the memory formula alone."""

import pytest

from sg_pipeline.errors import DataError
from sg_pipeline.planning import plan as planning
from sg_pipeline.planning.trial import read_steps

pytestmark = pytest.mark.slow


def test_plan_of_new_run_measures_a_trial_and_deletes_it(project) -> None:
    project.run("plan", "planned")
    plan = project.json("08", "planned", "plan.json")
    measured, whole = plan["measured"], plan["whole_run"]
    assert (measured["run"], measured["steps"], whole["steps"]) == ("trial/planned", 2, 4)
    assert {"sampling", "training", "environment"} <= measured["first_step"].keys()
    assert {"sampling", "training", "environments"} <= measured["memory_gib"].keys()
    first, later = measured["first_step"]["total"], measured["later_steps"]["total"]
    assert whole["seconds"]["total"] == pytest.approx(first + 3 * later)
    assert whole["evaluation_episodes"] == 2 * 2 * 2 * 2  # policies, modes, splits, games
    assert whole["start_seconds"] > 0
    together = whole["seconds"]["total"] + whole["evaluation_seconds"] + whole["start_seconds"]
    assert whole["total_seconds"] == pytest.approx(together)
    assert plan["disk"]["checkpoint_gb"] > 2 * plan["disk"]["gb"]["base policy"]  # with the optimizer's state
    text = (project.data("08", "planned") / "plan.md").read_text()
    assert "| part | first step, s | second step, s | 4 steps |" in text
    # Nothing is left but the plan, and the name of the run is bound to nothing.
    assert not list((project.root / "data").glob("*/trial"))
    assert sorted(path.name for path in project.data("08", "planned").iterdir()) == ["plan.json", "plan.md"]


def test_trial_is_the_run_with_its_schedule(project, monkeypatch) -> None:
    monkeypatch.setattr(planning, "delete_trial", lambda run, data: None)
    given = {"aggregate.schedule.full": 0.5, "coevolve.steps": 8}
    project.run("plan", "scheduled", given)
    trial = [project.json("08", "trial/scheduled", f"steps/step_00{step}.json")["lambda"] for step in range(2)]
    twice = {**given, "coevolve.checkpoint_every": 2}
    project.run("coevolve", "scheduled", twice, "--to-nodes=phase_2_activation.step_001.train")
    run = [project.json("08", "scheduled", f"steps/step_00{step}.json")["lambda"] for step in range(2)]
    assert trial == run == [0.0, 0.25]
    # A plan with other parameters replaces a trial that was left behind.
    monkeypatch.undo()
    pruned = {"coevolve.checkpoint_every": 1, "checkpoints.keep_last": 1, "checkpoints.keep_cross_checkpoint": "false"}
    project.run("plan", "scheduled", {"plan.trial_steps": 1, "rollout.max_turns": 2, **pruned})
    plan = project.json("08", "scheduled", "plan.json")
    assert plan["measured"]["steps"] == 1
    # The last checkpoint that stays, and the one that is written next.
    assert (plan["disk"]["checkpoints_written"], plan["disk"]["checkpoints_kept"]) == (3, 2)
    assert not list((project.root / "data").glob("*/trial"))


def test_plan_of_finished_run_uses_its_own_steps(project, finished, monkeypatch) -> None:
    monkeypatch.setattr(planning, "start_trial", lambda *_: pytest.fail("a trial was started"))
    before = {name: (project.data("08", finished) / name).read_bytes() for name in ("run.json", "clock.json")}
    project.run("plan", finished)
    plan = project.json("08", finished, "plan.json")
    steps = [project.json("08", finished, f"steps/step_{step:03d}.json") for step in range(4)]
    assert (plan["measured"]["run"], plan["measured"]["steps"]) == (finished, 4)
    assert plan["whole_run"]["seconds"]["total"] == pytest.approx(sum(step["seconds"]["total"] for step in steps))
    assert plan["whole_run"]["finished_seconds"] == project.json("08", finished, "summary.json")["wall_seconds"]
    assert plan["measured"]["memory_gib"]["training"] == max(step["memory"]["training"] for step in steps)
    assert plan["disk"]["checkpoints_written"] == plan["disk"]["checkpoints_kept"] == 1
    assert {name: (project.data("08", finished) / name).read_bytes() for name in before} == before


def test_plan_without_trial_has_the_formula_alone(project, finished) -> None:
    # The steps of a run with other parameters are not those of this one.
    for name, given in (("formula", {}), (finished, {"rollout.max_turns": 2})):
        project.run("plan", name, {"plan.trial": "false", **given})
        plan = project.json("08", name, "plan.json")
        assert plan["measured"] is plan["whole_run"] is plan["disk"] is None
        assert plan["memory"]["gib"]["weights"] > 0
        assert "plan.trial is false" in (project.data("08", name) / "plan.md").read_text()


@pytest.mark.parametrize(
    ("free", "parameters", "sentence"),
    [
        (1e-6, {}, "the run cannot fit: weights, gradients and optimizer state alone take"),
        (None, {"base_model.device": "cuda"}, "this machine has no such GPU"),
        (1e6, {"distributed.ranks": 2}, "--to-outputs=phase_3_full.step_001.metrics, then plan again"),
    ],
)
def test_impossible_trial_is_not_started_and_the_reason_is_written(
    project, monkeypatch, free, parameters, sentence
) -> None:
    monkeypatch.setattr(planning, "start_trial", lambda *_: pytest.fail("a trial was started"))
    monkeypatch.setattr(planning, "free_memory", lambda device: free)
    project.run("plan", "impossible", parameters)
    plan = project.json("08", "impossible", "plan.json")
    assert sentence in plan["verdict"]
    assert plan["measured"] is None


def test_failed_trial_is_reported_with_the_error_of_the_run(project) -> None:
    message = project.refuse("plan", "mistaken", {"evaluate.splits": "null", "rollout.prompts": "nobody"})
    assert "run 'trial/mistaken' failed: " in message


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", r"step_000\.json cannot be read"), ('{"seconds": {"total": 1}}', "does not hold the metrics of a step")],
)
def test_damaged_step_raises(tmp_path, content, message) -> None:
    path = tmp_path / "08_reporting/broken/steps/step_000.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_steps(tmp_path, "broken", 4)
