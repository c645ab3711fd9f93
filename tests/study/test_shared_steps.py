"""How far two runs are the same run."""

import json
from pathlib import Path

import pytest

from sg_pipeline import __version__
from sg_pipeline.config.loader import CONFIG_LOADER_ARGS, MethodConfigLoader
from sg_pipeline.config.tree import Parameters, check_parameters
from sg_pipeline.runs.identity import fingerprint
from sg_pipeline.runs.shared_steps import _files_of, common_steps, read_shared, take_over, validation_file

TRAPEZOID = {"kind": "trapezoid", "activation": 0.5, "full": 0.625, "annealing": 0.875, "peak": 1.0}


def recorded(schedule: dict | None = None, **values) -> dict:
    flat = {f"aggregate.schedule.{name}": value for name, value in (schedule or TRAPEZOID).items()}
    return {
        "run.seed": 0,
        "coevolve.steps": 80,
        "coevolve.checkpoint_every": 10,
        "evaluate.games": None,
        **flat,
        **values,
    }


@pytest.mark.parametrize(
    ("schedule", "steps"),
    [
        (TRAPEZOID, 80),
        ({"kind": "off"}, 41),  # lambda leaves 0 after step 40, where the ramp begins
        ({**TRAPEZOID, "annealing": 1.0}, 70),
        ({**TRAPEZOID, "peak": 0.5}, 41),
        ({**TRAPEZOID, "activation": 0.1875, "full": 0.3125}, 15),  # the phase has another name there
        ({**TRAPEZOID, "activation": 0.0, "full": 0.0}, 0),
        ({"kind": "constant", "value": 1.0}, 0),
    ],
)
def test_common_steps_end_where_the_schedules_part(schedule, steps) -> None:
    assert common_steps(recorded(), recorded(schedule)) == steps
    assert common_steps(recorded(schedule), recorded()) == steps


def test_common_steps_ignore_what_no_step_reads() -> None:
    assert common_steps(recorded(), recorded(**{"coevolve.checkpoint_every": 5, "evaluate.games": 10})) == 80


def test_common_steps_of_a_shorter_run_follow_its_fractions() -> None:
    # At 40 steps trust begins at step 20: until then lambda is 0 in both.
    assert common_steps(recorded(), recorded(**{"coevolve.steps": 40})) == 20


@pytest.mark.parametrize("name", ["run.seed", "train.learning_rate", "rollout.guidance", "tasks.panel"])
def test_common_steps_are_none_with_any_other_difference(name) -> None:
    assert common_steps(recorded(), recorded(**{name: 7})) == 0


def load(**given) -> Parameters:
    conf = str(Path(__file__).resolve().parents[2] / "conf")
    return check_parameters(
        MethodConfigLoader(conf, **{**CONFIG_LOADER_ARGS, "env": "base", "runtime_params": given})["parameters"]
    )


@pytest.fixture
def donated(tmp_path) -> Path:
    """Return a data folder in which a run without trust has made 30 steps, with checkpoints and validations."""
    donor = load(run={"name": "donor"}, aggregate={"schedule": {"kind": "off"}})
    reports = tmp_path / "08_reporting" / "donor"
    reports.mkdir(parents=True)
    (reports / "run.json").write_text(json.dumps({"version": __version__, "inputs": {}, **fingerprint(donor)}))
    for step in range(30):
        *files, checkpoint = _files_of(tmp_path, "donor", step, 80)
        for path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        if step % 10 == 9:
            checkpoint.mkdir(parents=True)
            path = validation_file(tmp_path, "donor", step + 1, 80)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return tmp_path


def late(activation: float, **given) -> Parameters:
    schedule = {"activation": activation, "full": 0.9, "annealing": 0.9}
    return load(run={"name": "group/late"}, aggregate={"schedule": schedule}, **given)


def test_take_over_notes_the_donor_and_copies_validations(donated) -> None:
    assert take_over(donated, late(0.25)) == 20  # the phase has another name from there on
    assert read_shared(donated, "group/late") == [{"donor": "donor", "first": 0, "last": 20}]
    there = [after for after in range(80) if validation_file(donated, "group/late", after, 80).exists()]
    assert there == [10, 20]
    assert take_over(donated, late(0.25)) == 0
    assert len(read_shared(donated, "group/late")) == 1


def test_take_over_leaves_a_validation_on_other_games(donated) -> None:
    assert take_over(donated, late(0.25, validation={"games": 3})) == 20
    assert not validation_file(donated, "group/late", 10, 80).exists()
