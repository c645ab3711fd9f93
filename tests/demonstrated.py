"""What demonstrations show after a negative verdict."""

from collections.abc import Iterable
from itertools import pairwise

from sg_pipeline.environments.base import Demonstration
from sg_pipeline.trajectories.types import Polarity


def insistence(demonstrations: Iterable[Demonstration]) -> float:
    """Return how often a turn that begins with a negative verdict, and is imitated, keeps the sub-goal before it."""
    kept = [
        late.guidance_text == early.guidance_text
        for demonstration in demonstrations
        for early, late in pairwise(demonstration.turns)
        if late.polarity is Polarity.NEGATIVE and not late.is_noise
    ]
    assert len(kept) >= 2
    return sum(kept) / len(kept)
