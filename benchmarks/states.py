"""Ask recorded episodes what credit by turn can use: same states with different actions, and what verdicts say there.

    python benchmarks/states.py FOLDER [--first 0] [--last 9]      FOLDER: data/03_primary/RUN

For each way to name a state (the observation alone, as in GiGPO; the benchmark's anchor): the share of turns whose
state was met by other episodes of the group, with other actions, and with other outcomes as well; and where actions
differ, the correlation of the verdict on an action with winning and with the discounted return, less the mean of the
state: of the policy's own verdict (the next turn's), and of the benchmark's judge where it has one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl

from sg_pipeline.config.loader import section
from sg_pipeline.environments.registry import load_benchmark
from sg_pipeline.rewards.aggregate import turn_table
from sg_pipeline.rewards.credit import return_to_go
from sg_pipeline.trajectories.types import GROUP_KEY, TRAJECTORY_KEY


def turns_of(folder: Path, first: int, last: int) -> pl.DataFrame:
    """Return the turns of some steps with state, verdicts on the action and discounted return."""
    tables = []
    for path in sorted(folder.glob("step_*"))[first : last + 1]:
        played = pl.read_parquet(path / "trajectories.parquet")
        benchmark = load_benchmark(played["environment"][0])
        config = section("aggregate", credit={"kind": "turn", "verdicts": "oracle" if benchmark.judges else "own"})
        table = turn_table(played, config, 30, benchmark)
        own = pl.col("verdict").shift(-1).over(TRAJECTORY_KEY).fill_null(pl.when("won").then("praise").otherwise(0.0))
        returns = return_to_go(table, table["reward"].to_numpy(), 0.95)
        tables.append(table.with_columns(own=own, G=pl.Series(returns), win=pl.col("won").cast(pl.Float64)))
    return pl.concat(tables, how="diagonal")


def report(turns: pl.DataFrame, state: str) -> str:
    """Return a line of figures for one way to name a state."""
    key = [*GROUP_KEY, state]
    met = turns.with_columns(
        met=pl.col("item").n_unique().over(key) > 1,
        varied=pl.col("action").n_unique().over(key) > 1,
        decided=pl.col("won").n_unique().over(key) > 1,
    )
    varied = pl.col("varied")
    shares = [met.select(chosen.mean()).item() for chosen in (pl.col("met"), varied, varied & pl.col("decided"))]
    compared = met.filter("varied")
    centred = {n: compared.select(pl.col(n) - pl.col(n).mean().over(key))[:, 0].to_numpy() for n in ("win", "G")}
    found = [f"{state:12}", *(f"{100 * share:5.1f} %" for share in shares)]
    for judge in ("own", "oracle"):
        if judge in compared.columns:
            verdict = compared.select(pl.col(judge) - pl.col(judge).mean().over(key))[:, 0].to_numpy()
            found += [f"{judge} {np.corrcoef(verdict, value)[0, 1]:+.2f} {name}" for name, value in centred.items()]
    return "  ".join(found)


def main() -> None:
    """Print the figures of both ways to name a state."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--last", type=int, default=9)
    arguments = parser.parse_args()
    turns = turns_of(arguments.folder, arguments.first, arguments.last)
    episodes = turns.select(TRAJECTORY_KEY).n_unique()
    won = turns.select(100 * pl.col("win").mean()).item()
    print(f"{turns.height} turns of {episodes} episodes, {won:.1f} % of the turns in won ones")
    print("state         shared by episodes, with other actions, and other outcomes; correlations where actions differ")
    for state in ("observation", "anchor"):
        print(report(turns, state))


if __name__ == "__main__":
    main()
