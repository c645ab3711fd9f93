"""Episodes for the tests of evaluation and reporting, written by hand."""

from sg_pipeline.trajectories.types import Polarity, Segment, Task, Trajectory, Turn

P, Z, N = Polarity.POSITIVE, Polarity.NEUTRAL, Polarity.NEGATIVE


def episode(
    group: int,
    item: int = 0,
    verdicts: tuple[Polarity | None, ...] = (Z, P),
    won: bool = False,
    *,
    split: str = "valid_seen",
    kind: str = "pick_and_place_simple",
    step: int = 0,
    unparsed: tuple[int, ...] = (),
    invalid: tuple[int, ...] = (),
) -> Trajectory:
    """An episode with one turn a verdict; `unparsed` and `invalid` name turns."""
    last = len(verdicts) - 1
    turns = tuple(
        Turn(
            observation=f"You arrive at cabinet {t}.", context_ids=[1], completion_ids=[2, 3], logprobs=[-0.5, -0.25],
            segments=[Segment.GUIDANCE, Segment.ACTION],
            guidance=None if verdict is None or t in unparsed else f"find mug {t}", polarity=verdict,
            guidance_parsed=verdict is not None and t not in unparsed, action=f"go to cabinet {t + 1}",
            action_parsed=True, action_valid=t not in invalid,
            reward=float(won and t == last), done=won and t == last,
        )
        for t, verdict in enumerate(verdicts)
    )  # fmt: skip
    task = Task(f"{split}-{group}", "alfworld", split, kind, "p", "s")
    return Trajectory(task, group, item, step, turns, won, not won, float(won))
