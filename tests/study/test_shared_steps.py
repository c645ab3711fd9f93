"""How far two runs are the same run, and what the later one takes over."""

import json
from pathlib import Path

import pytest
from configured import load

from sg_pipeline import __version__
from sg_pipeline.config.tree import Parameters
from sg_pipeline.runs.identity import fingerprint
from sg_pipeline.runs.shared_steps import _files_of, common_steps, read_shared, take_over, validation_file

PAPERS = {"credit": {"kind": "trajectory"}}
TRAPEZOID = {"kind": "trapezoid", "activation": 0.5, "full": 0.625, "annealing": 0.875, "peak": 1.0}


def recorded(schedule: dict | None = None, **values) -> dict:
    own = {f"aggregate.schedule.{name}": value for name, value in (schedule or TRAPEZOID).items()}
    length = {"coevolve.steps": 80, "coevolve.checkpoint_every": 10}
    return {"run.seed": 0, **length, "evaluate.games": None, **own, **values}


@pytest.mark.parametrize(
    ("schedule", "changes", "steps"),
    [
        (TRAPEZOID, {"coevolve.checkpoint_every": 5, "evaluate.games": 10}, 80),  # no step reads these
        (TRAPEZOID, {"coevolve.steps": 40}, 20),  # trust begins at step 20 of 40; until then lambda is 0 in both
        ({"kind": "off"}, {}, 41),  # lambda leaves 0 after step 40, where the ramp begins
        ({**TRAPEZOID, "annealing": 1.0}, {}, 70),
        ({**TRAPEZOID, "peak": 0.5}, {}, 41),
        ({**TRAPEZOID, "activation": 0.1875, "full": 0.3125}, {}, 15),  # the phase has another name there
        ({**TRAPEZOID, "activation": 0.0, "full": 0.0}, {}, 0),
        ({"kind": "constant", "value": 1.0}, {}, 0),
        *((TRAPEZOID, {name: 7}, 0) for name in ("run.seed", "train.learning_rate", "rollout.guidance", "tasks.panel")),
        (TRAPEZOID, {"rollout.prompts content": "f0"}, 0),
        ({"kind": "earned"}, {}, 0),  # lambda is 0 in the first step of both, but only one hands on its evidence
    ],
)
def test_common_steps_end_where_the_runs_part(schedule, changes, steps) -> None:
    assert common_steps(recorded(), recorded(schedule, **changes)) == steps
    assert common_steps(recorded(schedule, **changes), recorded()) == steps


def test_runs_whose_trust_or_pay_depends_on_their_length_or_past_share_all_or_nothing() -> None:
    earned, truth = recorded({"kind": "earned"}), recorded(**{"aggregate.truth.kind": "outcome"})
    assert common_steps(earned, earned) == common_steps(truth, truth) == 80
    assert common_steps(earned, {**earned, "coevolve.steps": 40}) == 0
    assert common_steps(truth, {**truth, "coevolve.steps": 40}) == 0


def write_identity(data: Path, parameters: Parameters, **inputs: str) -> None:
    path = data / "08_reporting" / parameters.run.name / "run.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": __version__, "inputs": inputs, **fingerprint(parameters)}))


@pytest.fixture
def donated(tmp_path) -> Path:
    """Return a data folder in which a run without trust has made 30 steps, with checkpoints and validations."""
    write_identity(tmp_path, load(run={"name": "donor"}, aggregate={**PAPERS, "schedule": {"kind": "off"}}), tasks="f0")
    paths = [tmp_path / "08_reporting/donor/evaluation_base.json"]
    for step in range(30):
        *files, checkpoint = _files_of(tmp_path, "donor", step, 80)
        paths += files
        if step % 10 == 9:
            checkpoint.mkdir(parents=True)
            paths.append(validation_file(tmp_path, "donor", step + 1, 80))
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def late(data: Path, tasks: str | None = "f0", **given) -> Parameters:
    """Return a run that trusts from step 20 on; its phase has another name from there on."""
    schedule = {"kind": "trapezoid", "activation": 0.25, "full": 0.9, "annealing": 0.9}
    parameters = load(run={"name": "group/late"}, aggregate={**PAPERS, "schedule": schedule}, **given)
    write_identity(data, parameters, **({"tasks": tasks} if tasks else {}))
    return parameters


def test_take_over_notes_the_donor_and_copies_validations(donated) -> None:
    assert take_over(donated, late(donated)) == 20
    assert read_shared(donated, "group/late") == [{"donor": "donor", "first": 0, "last": 20}]
    there = [after for after in range(80) if validation_file(donated, "group/late", after, 80).exists()]
    assert there == [10, 20]
    assert take_over(donated, late(donated)) == 0
    assert len(read_shared(donated, "group/late")) == 1


def test_take_over_leaves_a_validation_on_other_games(donated) -> None:
    assert take_over(donated, late(donated, validation={"games": 3})) == 20
    assert not validation_file(donated, "group/late", 10, 80).exists()


@pytest.mark.parametrize(
    ("tasks", "changes", "base"),
    [("f0", {"train": {"learning_rate": 0.5}}, True), ("f1", {}, False), (None, {}, False)],
)
def test_take_over_of_another_training_shares_the_base_and_of_other_content_nothing(
    donated, tasks, changes, base
) -> None:
    assert take_over(donated, late(donated, tasks, **changes)) == 0
    assert (donated / "08_reporting/group/late/evaluation_base.json").exists() == base
