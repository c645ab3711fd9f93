"""Ask lost episodes whether they repeat themselves, and whether the verdicts notice.

    python benchmarks/repeats.py FILE...      FILE: data/07_model_output/RUN/final_with_guidance.parquet

For each file, of the lost episodes of a split: the share of commands that were possible, the share that was given for
the first time in its episode, how often a possible command that was given before is called negative, by the policy's
next verdict and by the benchmark's judge, and how often a guidance that says negative keeps the plan before it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import polars as pl

from sg_pipeline.environments.registry import load_benchmark
from sg_pipeline.trajectories.types import Polarity

EPISODE = ["group", "item"]


def lost_turns(path: Path, split: str) -> pl.DataFrame:
    """Return the turns of the lost episodes.

    Added are `first` (the command is new), `insists` (the plan is that of the turn before), `own` and `judge` (their
    verdicts on the command), and `last` (no turn follows).
    """
    turns = pl.read_parquet(path).filter(pl.col("split") == split, ~pl.col("won")).sort(*EPISODE, "turn")
    benchmark = load_benchmark(turns["environment"][0])
    plan = pl.col("guidance").str.replace(r"^\s*\w+\W*", "")  # without the verdict
    judged: list[str] = []
    for _, episode in turns.group_by(EPISODE, maintain_order=True):
        verdicts = benchmark.verdicts(episode["observation"].to_list(), episode["action"].to_list(), won=False)
        judged += [verdict.value for verdict in verdicts]
    return turns.with_columns(
        judge=pl.Series(judged),
        own=pl.col("polarity").shift(-1).over(EPISODE),
        first=pl.col("action").is_first_distinct().over(EPISODE),
        insists=(plan == plan.shift(1)).over(EPISODE),
        last=pl.col("turn") == pl.col("turn").max().over(EPISODE),
    )


def main() -> None:
    """Print a row for each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--split", default="valid_seen")
    arguments = parser.parse_args()
    head = ["file", "lost", "possible", "new", "repeated", "negative by policy", "negative by judge", "plan kept"]
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    for path in arguments.files:
        turns = lost_turns(path, arguments.split)
        # No verdict follows the last command.
        repeated = turns.filter("action_valid", ~pl.col("first"), ~pl.col("last"))
        negative = [repeated.filter(pl.col(judge) == Polarity.NEGATIVE.value).height for judge in ("own", "judge")]
        of_all = [turns.filter(chosen).height for chosen in ("action_valid", "first")] + [repeated.height]
        shares = [count / turns.height for count in of_all] + [count / max(1, repeated.height) for count in negative]
        warned = turns.filter(pl.col("polarity") == Polarity.NEGATIVE.value)
        shares.append(warned.filter("insists").height / max(1, warned.height))
        cells = [str(turns.select(EPISODE).n_unique()), *(f"{share:.0%}" for share in shares)]
        print(f"| {path.parent.name}/{path.stem} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
