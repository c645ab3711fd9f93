"""Runs of earlier versions go on: what they did not know had the effect of its default."""

import json
from pathlib import Path

import pytest

from sg_pipeline.configuration import CONFIG_LOADER_ARGS, MethodConfigLoader
from sg_pipeline.errors import RunIdentityError
from sg_pipeline.identity import claim_run, completed
from sg_pipeline.parameters import Parameters, check_parameters, default_of

TRAPEZOID = {"aggregate.schedule.kind": "trapezoid", "aggregate.schedule.activation": 0.5}
NOW = (*TRAPEZOID, "aggregate.schedule.shape", "validation.panel", "validation.games", "rollout.guide")


def test_a_trapezoid_of_before_there_were_shapes_had_linear_ramps() -> None:
    assert completed(TRAPEZOID, NOW) == {
        **TRAPEZOID,
        "aggregate.schedule.shape": "linear",
        "validation.panel": "validation",
        "validation.games": None,
        "rollout.guide": None,
    }


@pytest.mark.parametrize("kind", ["off", "constant"])
def test_a_schedule_of_another_kind_has_no_shape(kind) -> None:
    there = {"aggregate.schedule.kind": kind}
    assert "aggregate.schedule.shape" not in completed(there, NOW)


def test_a_default_is_that_of_the_kind() -> None:
    assert default_of("aggregate.schedule.value", kind="constant") == 1.0
    assert default_of("aggregate.schedule.value", kind="trapezoid") is ...
    assert default_of("aggregate.schedule.value") is ...


def with_games(games: int | None) -> Parameters:
    conf = str(Path(__file__).resolve().parents[2] / "conf")
    arguments = {**CONFIG_LOADER_ARGS, "env": "base", "runtime_params": {"validation": {"games": games}}}
    return check_parameters(MethodConfigLoader(conf, **arguments)["parameters"])


def test_how_a_run_is_validated_is_free_until_it_has_been(tmp_path) -> None:
    path = tmp_path / "data/08_reporting/default/run.json"
    claim_run(path, with_games(None), tmp_path)
    (path.parent / "summary.json").touch()
    claim_run(path, with_games(5), tmp_path)
    assert json.loads(path.read_text())["parameters"]["validation.games"] == 5
    (path.parent / "validation").mkdir()
    claim_run(path, with_games(5), tmp_path)
    with pytest.raises(RunIdentityError, match=r"validation\.games was 5, is 6"):
        claim_run(path, with_games(6), tmp_path)
