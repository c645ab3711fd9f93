"""Whether two runs of a project are the same but for rounding."""

import json

import polars as pl
import pytest
import torch
from rounding import LOGP, UPDATE, update_difference
from safetensors.torch import load_file


def assert_same_run(project, one, other):
    """Assert the same tokens, the same figures, nearly the same weights: of four steps and their evaluations."""
    for step in range(4):
        played = [_trajectories(project, run, step) for run in (one, other)]
        assert played[0].drop("logprobs").equals(played[1].drop("logprobs")), "not the same tokens"
        logps = [frame["logprobs"].explode().to_numpy() for frame in played]
        assert logps[1] == pytest.approx(logps[0], abs=LOGP)
        figures = [project.json("08", run, f"steps/step_{step:03d}.json") for run in (one, other)]
        for measured in figures:
            measured.pop("seconds")
            assert measured.pop("memory").keys() == {"sampling", "environments", "training"}
            for gap in ("logp_gap_mean", "logp_gap_max"):  # of the order of the rounding itself
                assert measured["training"].pop(gap, 0.0) < LOGP
        _assert_close(*figures)
    base = _weights(project, one, "base")
    assert all(torch.equal(base[name], weight) for name, weight in _weights(project, other, "base").items())
    for policy in ("checkpoints/step_001", "final"):
        weights = (_weights(project, run, policy).values() for run in (other, one))
        assert update_difference(base.values(), *weights) < UPDATE, policy
    names = {path.name for path in project.data("07", one).glob("*.parquet")}
    assert names == {path.name for path in project.data("07", other).glob("*.parquet")}
    for name in names:
        tables = [pl.read_parquet(project.data("07", run) / name).drop("logprobs") for run in (one, other)]
        assert tables[0].equals(tables[1]), name


def _weights(project, run, policy):
    """Name -> tensor, in the order of the names."""
    return dict(sorted(load_file(project.data("06", run) / policy / "model.safetensors").items()))


def _trajectories(project, run, step):
    return pl.read_parquet(project.data("03", run) / f"step_{step:03d}" / "trajectories.parquet")


def _assert_close(one, other, where=""):
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            _assert_close(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, float):
        assert other == pytest.approx(one, rel=1e-3, abs=1e-6), where
    elif isinstance(one, list):
        assert json.dumps(one) == json.dumps(other), where
    else:
        assert one == other, where
