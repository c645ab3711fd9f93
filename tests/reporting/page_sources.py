"""A small study for the tests of the page: two methods, two seeds, training, evaluations; and hostile texts."""

from dataclasses import replace

import polars as pl
from played_episodes import N, P, Z, episode

from sg_pipeline.config.loader import section
from sg_pipeline.reporting.page import ViewerSource
from sg_pipeline.rewards.aggregate import aggregate_step
from sg_pipeline.trajectories.frame import to_frame

REWARDS = section("aggregate", schedule={"kind": "trapezoid"}, credit={"kind": "trajectory"})
METHODS = {"grpo_sg": 0.0, "grpo_sg_gr": 1.0}
STEPS = {0: "phase_1_warmup", 3: "phase_4_annealing"}
KINDS = ("look_at_obj", "pick_two")
HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\x1b[31m\u202eevil'"
)


def training(method: str, seed: int, step: int, groups: int = 3, items: int = 2) -> ViewerSource:
    """Groups of two items: item 1 is won except in the first game; turn 1 of item 0 is invalid, of item 1 unparsed."""
    table = to_frame(
        episode(
            group, item, (Z, P, N) if item else (Z, P, P, N), won=bool(item and group), split="train", step=step,
            kind=KINDS[group % 2], invalid=() if item else (1,), unparsed=(1,) if item else (),
        )
        for group in range(groups)
        for item in range(items)
    )  # fmt: skip
    rewards, _ = aggregate_step(table, REWARDS, step, 4, max_turns=4)
    gaps = pl.DataFrame({"group": [0], "item": [0], "turn": [2], "gap_max": [4.7683716e-06]})
    return ViewerSource(
        method=method, seed=seed, run=f"{method}-seed{seed}", origin="training", phase=STEPS[step], step=step,
        trust=METHODS.get(method, 0.5), values=REWARDS.polarity, table=table, rewards=rewards,
        gaps=gaps if step else None,
    )  # fmt: skip


def evaluation(method: str, seed: int, policy: str, guided: bool = True, games: int = 4) -> ViewerSource:
    verdicts = (Z, P) if guided else (None, None, None)
    table = to_frame(
        episode(game, 0, verdicts, won=game % 2 == 0, split=split, step=4 * (policy == "final"), kind=KINDS[game // 2])
        for split in ("valid_seen", "valid_unseen")
        for game in range(games)
    )
    mode = "with_guidance" if guided else "without_guidance"
    return ViewerSource(
        method=method, seed=seed, run=f"{method}-seed{seed}", origin=f"evaluation: {policy} {mode}", phase=None,
        step=4 * (policy == "final"), trust=None, values=REWARDS.polarity, table=table,
    )  # fmt: skip


def study() -> list[ViewerSource]:
    sources = []
    for method in METHODS:
        for seed in (0, 1):
            sources += [evaluation(method, seed, "base"), evaluation(method, seed, "final", guided=bool(seed))]
            sources += [training(method, seed, step) for step in STEPS]
    return sources


def hostile() -> ViewerSource:
    """A training step with executable markup in every text."""
    source = training("grpo_sg", 0, 0)
    table = source.table.with_columns(
        pl.lit(HOSTILE).alias(name) for name in ("observation", "guidance", "action", "task_id", "task_type")
    )
    return replace(source, method=HOSTILE, run=HOSTILE, phase=HOSTILE, table=table, rewards=None)
