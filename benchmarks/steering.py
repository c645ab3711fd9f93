"""Ask what a verdict does to the rest of its turn: play the same episodes with some verdicts forbidden.

    python benchmarks/steering.py [POLICY] [--panel pairs] [--tasks 64] [--group-size 4] [--seed 7] [--threads 1]

POLICY is a checkpoint of ALFWorld's tiny tokenizer (one token a verdict); training tasks of the panel are played, each
with the same chance in every row. Where a verdict that is forbidden would have been written, the policy chooses among
the others. If a verdict only judged, success would stay the same. Takes a minute a row.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import polars as pl
import torch

from sg_pipeline.config.loader import CONFIG_LOADER_ARGS, MethodConfigLoader
from sg_pipeline.config.tree import check_parameters
from sg_pipeline.pipelines.base_model import load_base_policy
from sg_pipeline.pipelines.step import rollout
from sg_pipeline.pipelines.tasks import prepare_panel
from sg_pipeline.trajectories.types import Polarity

ROOT = Path(__file__).resolve().parents[1]
GAMES, COMPILED = ROOT / "data/01_raw/games", ROOT / "data/02_intermediate/compiled_games"
POSITIVE, NEUTRAL, NEGATIVE = (polarity.value for polarity in Polarity)
ROWS = ((), (NEGATIVE,), (POSITIVE,), (NEUTRAL,), (POSITIVE, NEUTRAL), (POSITIVE, NEGATIVE))
"""Verdicts that are forbidden, row by row."""


def forbid(policy: Any, forbidden: set[str]) -> None:
    """Take from the policy the verdicts that `forbidden`, which may change later, holds when it is sampled."""
    one = {name: policy.tokenizer.encode(name, add_special_tokens=False) for name in ("<guidance>", *Polarity)}
    if any(len(ids) != 1 for ids in one.values()):
        raise SystemExit("this needs a tokenizer that has <guidance> and each verdict as one token")

    def hide(_: Any, __: Any, given: dict[str, Any], output: Any) -> None:
        rows = given["input_ids"][:, -1] == one["<guidance>"][0]
        for name in forbidden:
            output.logits[rows, -1, one[name][0]] = -torch.inf

    policy.model.register_forward_hook(hide, with_kwargs=True)


def main() -> None:
    """Print a row for each set of forbidden verdicts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy", nargs="?", default="data/06_models/tiny-alfworld/base")
    parser.add_argument("--panel", default="pairs")
    for name, number in {"tasks": 64, "group-size": 4, "seed": 7, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=number)
    asked = parser.parse_args()
    parameters = {
        "run": {"name": "steering", "seed": asked.seed, "threads": asked.threads},
        "tasks": {"panel": asked.panel},
        "base_model": {"source": "checkpoint", "path": asked.policy},
        "rollout": {"tasks_per_step": asked.tasks, "group_size": asked.group_size},
    }
    loader = MethodConfigLoader(str(ROOT / "conf"), None, parameters, **CONFIG_LOADER_ARGS)
    given = check_parameters(loader["parameters"])
    torch.set_num_threads(given.run.threads)
    policy = load_base_policy(given.base_model, given.environment, given.run, ROOT)
    panel = prepare_panel(given.environment, given.tasks, given.evaluate, GAMES, COMPILED, ROOT)
    forbidden: set[str] = set()
    forbid(policy, forbidden)
    print("| forbidden | success | possible commands | positive | neutral | negative |\n|---|---:|---:|---:|---:|---:|")
    for row in ROWS:
        forbidden.clear()
        forbidden.update(row)
        turns, _ = rollout(panel, policy, GAMES, COMPILED, given.environment, given.rollout, given.sampling, given.run)
        won = turns.group_by("group", "item").agg(pl.col("won").first())["won"]
        said = [(turns["polarity"] == name) for name in (POSITIVE, NEUTRAL, NEGATIVE)]
        shares = [column.sum() / len(column) for column in (won, turns["action_valid"], *said)]
        print(f"| {' and '.join(row) or 'none'} | {' | '.join(f'{share:.1%}' for share in shares)} |", flush=True)


if __name__ == "__main__":
    main()
