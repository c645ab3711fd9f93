"""Whether two runs of a project are the same but for rounding."""

import polars as pl
import pytest
import torch
from rounding import LOGP, UPDATE, update_difference
from safetensors.torch import load_file

from sg_pipeline.config.tree import flat


def assert_same_run(project, one, other):
    """Assert the same tokens, the same figures, nearly the same weights: of four steps and their evaluations."""
    for step in range(4):
        place = f"step_{step:03d}/trajectories.parquet"
        played = [pl.read_parquet(project.data("03", run) / place) for run in (one, other)]
        assert played[0].drop("logprobs").equals(played[1].drop("logprobs")), "not the same tokens"
        logps = [frame["logprobs"].explode().to_numpy() for frame in played]
        assert logps[1] == pytest.approx(logps[0], abs=LOGP)
        figures = [flat(project.json("08", run, f"steps/step_{step:03d}.json")) for run in (one, other)]
        assert figures[0].keys() == figures[1].keys()
        for name, value in figures[0].items():
            if name.startswith("training.logp_gap_m"):  # of the order of the rounding itself
                assert max(value, figures[1][name]) < LOGP
            elif not name.startswith(("seconds.", "memory.", "machine")):  # `machine` says how many processes
                exact = not isinstance(value, float)
                assert figures[1][name] == (value if exact else pytest.approx(value, rel=1e-3, abs=1e-6)), name
    base, same = (_weights(project, run, "base") for run in (one, other))
    assert all(torch.equal(base[name], weight) for name, weight in same.items())
    for policy in ("checkpoints/step_001", "final"):
        weights = (_weights(project, run, policy).values() for run in (other, one))
        assert update_difference(base.values(), *weights) < UPDATE, policy
    tables = [{path.name: pl.read_parquet(path).drop("logprobs") for path in project.data("07", run).glob("*.parquet")}
              for run in (one, other)]  # fmt: skip
    assert tables[0].keys() == tables[1].keys()
    assert all(table.equals(tables[1][name]) for name, table in tables[0].items())


def _weights(project, run, policy):
    """Name -> tensor, in the order of the names."""
    return dict(sorted(load_file(project.data("06", run) / policy / "model.safetensors").items()))
