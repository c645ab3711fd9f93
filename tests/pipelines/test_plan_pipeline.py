"""The plan as its user meets it: before a run, beside it, and for devices that are not there."""

import pytest


def test_a_plan_binds_a_run_to_nothing(project):
    project.run("plan", "foretold")
    plan = project.json("08", "foretold", "plan.json")
    assert plan["memory"]["fits"]
    assert plan["step"]["measured"] is plan["comparison"] is None
    assert plan["lengths"]["source"] == "assumed (plan.lengths)"
    assert "## Memory, GiB per device" in (project.data("08", "foretold") / "plan.md").read_text()
    assert not (project.data("08", "foretold") / "run.json").exists()
    project.run("tasks", "foretold", {"train.learning_rate": 5e-4})
    project.run("plan", "foretold", {"train.minibatch": 8}, "--only-missing-outputs")
    again = project.json("08", "foretold", "plan.json")
    assert again["memory"] != plan["memory"]  # made anew, also where one lies there


def test_a_finished_runs_own_steps_take_the_place_of_assumptions(project, finished):
    identity = (project.data("08", finished) / "run.json").read_bytes()
    spent = (project.data("08", finished) / "clock.json").read_bytes()
    project.run("plan", finished)
    plan = project.json("08", finished, "plan.json")
    assert plan["lengths"]["source"] == f"measured in 4 steps of run '{finished}'"
    assert plan["lengths"]["turns"] <= 3
    compared = plan["comparison"]
    assert compared["steps"] == 4
    assert compared["seconds"]["together"]["measured"] == plan["step"]["measured_total"]
    steps = [project.json("08", finished, f"steps/step_{step:03d}.json")["memory"] for step in range(4)]
    for part, pair in compared["gib"].items():
        assert pair["measured"] == max(step[part] for step in steps) > 0
        # A process that runs other tests too holds more than the interpreter; a worker of a small panel less.
        assert 0 < pair["predicted"] < 5 * pair["measured"]
    assert "| training |" in (project.data("08", finished) / "plan.md").read_text().split("## Peak memory of a step")[1]
    assert plan["step"]["measured_total"] > plan["step"]["measured"]["training"] > 0
    assert plan["run_seconds"]["steps"] == pytest.approx(4 * plan["step"]["measured_total"])
    project.run("plan", finished, {"rollout.max_turns": 2})
    assert project.json("08", finished, "plan.json")["step"]["measured"] is None
    project.run("plan", finished, {"rollout.max_turns": 2, "plan.lengths_of": finished})
    other = project.json("08", finished, "plan.json")
    assert other["step"]["measured"] is None
    assert other["lengths"]["source"] == f"measured in 4 steps of run '{finished}'"
    project.run("plan", finished, {"plan.measured": "false"})
    assert project.json("08", finished, "plan.json")["lengths"]["source"] == "assumed (plan.lengths)"
    assert (project.data("08", finished) / "run.json").read_bytes() == identity
    assert (project.data("08", finished) / "clock.json").read_bytes() == spent


def test_the_papers_setting_is_planned_without_its_model_or_its_games(project, monkeypatch):
    monkeypatch.setenv("ALFWORLD_DATA", "nowhere")
    result = project.kedro("run", "--env=paper", "--pipeline=plan")
    assert result.exit_code == 0, result.output
    plan = project.json("08", "paper", "plan.json")
    assert plan["model"]["parameters"] == 1_720_574_976
    assert plan["devices"]["kind"] == "h200"
    assert plan["memory"]["fits"]
    assert not plan["ways"]


def test_what_does_not_fit_is_told_with_ways_out(project, monkeypatch):
    monkeypatch.setenv("ALFWORLD_DATA", "nowhere")
    result = project.kedro("run", "--env=paper", "--pipeline=plan", "--params=base_model.compute=weights")
    assert result.exit_code == 0, result.output
    plan = project.json("08", "paper", "plan.json")
    assert not plan["memory"]["fits"]
    assert plan["ways"]


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"plan.devices.kind": "h300"}, "parameter plan.devices.kind: "),
        ({"plan.devices.kind": "h100"}, "base_model.device is 'cpu', so the run would not use it"),
        ({"plan.devices.count": 2}, "parallel is 'none', which uses one"),
        ({"plan.device.kind": "cpu"}, "did you mean plan.devices?"),
        ({"plan.lengths_of": "nobody"}, "plan.lengths_of is 'nobody'"),
        ({"base_model.source": "warm_start"}, "make it first with --pipeline=base_model"),
    ],
)
def test_mistakes_are_one_sentence(project, parameters, told):
    assert told in project.refuse("plan", "mistaken", parameters)
