"""Parts of a score: a column of evaluation tables, and their means."""

import polars as pl
import pytest
from pandera.errors import SchemaError
from played_episodes import N, P, Z, episode

from sg_pipeline.evaluation.metrics import evaluate_table, mean_parts
from sg_pipeline.evaluation.tables import EvaluationTable, evaluation_table
from sg_pipeline.trajectories.frame import from_frame, to_frame
from sg_pipeline.trajectories.schema import COLUMNS

EPISODES = [episode(game, item, (Z, P, N), won=game < 2) for game in range(4) for item in range(2)]
BOUGHT = (("r_type", 1.0), ("r_price", 0.5))


@pytest.fixture
def table() -> pl.DataFrame:
    found = {(0, 0): BOUGHT, (0, 1): (("r_type", 0.5),), (2, 1): (("r_type", 0.0),)}
    return evaluation_table(EPISODES, [found.get((t.group, t.item), ()) for t in EPISODES])


def test_evaluation_table_without_parts_lacks_their_column():
    table = evaluation_table(EPISODES, [()] * len(EPISODES))
    assert list(EvaluationTable.validate(table).columns) == list(COLUMNS)
    assert "parts" not in evaluate_table(table, 0)["valid_seen"]


def test_mean_parts_are_over_the_episodes_that_have_them(table):
    parts = evaluate_table(table, 0)["valid_seen"]["parts"]
    assert list(parts) == ["r_price", "r_type"]
    assert (parts["r_type"]["mean"], parts["r_type"]["episodes"]) == (0.5, 3)
    assert (parts["r_price"]["mean"], parts["r_price"]["episodes"]) == (0.5, 1)
    low, high = parts["r_type"]["ci95"]
    assert 0 <= low < 0.5 < high <= 1
    assert parts == mean_parts(table.sample(fraction=1.0, shuffle=True, seed=3), 0, "valid_seen")


def test_evaluation_table_declares_parts(table):
    assert from_frame(EvaluationTable.validate(table)) == EPISODES
    assert table.filter(group=1)["parts"].to_list() == [[]] * 6
    with pytest.raises(SchemaError, match="parts"):
        EvaluationTable.validate(table.with_columns(parts=pl.lit(1.0)))
    with pytest.raises(SchemaError, match="part_s"):
        EvaluationTable.validate(table.rename({"parts": "part_s"}))


def test_mean_parts_of_tables_with_and_without_parts(table):
    both = pl.concat([to_frame(EPISODES[:2]), table], how="diagonal")
    assert EvaluationTable.validate(both)["parts"].null_count() == 6
    assert mean_parts(both, 0)["r_type"]["episodes"] == 3
