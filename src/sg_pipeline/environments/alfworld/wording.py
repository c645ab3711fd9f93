"""A demonstration in the wording of data version 2.1.1, that of the official games most papers use.

The two versions differ in three texts: "put X in/on Y" for "move X to Y", its answer, and "You arrive at loc 27." where
2.1.2 names the receptacle; 2.1.1 has no command "help".
"""

import re
from dataclasses import replace

import numpy as np

from sg_pipeline.environments.base import Demonstration

_LOCATIONS = 60
"""Official rooms number their locations up to about this."""

_TEXTS = (
    (re.compile(r"\bmove (\(?\w+\)?(?: \d+)?) to (?=\(?\w+\)?(?: \d+)?)"), r"put \1 in/on "),
    (re.compile(r"\bYou move the (\w+ \d+) to the "), r"You put the \1 in/on the "),
)
_ARRIVAL = re.compile(r"\bYou arrive at (\w+ \d+)\.")


def older_wording(demonstration: Demonstration, rng: np.random.Generator) -> Demonstration:
    """Return the same episode as data version 2.1.1 would word it; `rng` draws the numbers of locations."""
    numbers = iter(rng.permutation(_LOCATIONS).tolist())
    located: dict[str, int] = {}

    def location(found: re.Match[str]) -> str:
        return f"You arrive at loc {located.setdefault(found[1], next(numbers))}."

    def reword(text: str) -> str:
        for pattern, older in _TEXTS:
            text = pattern.sub(older, text)
        return _ARRIVAL.sub(location, text)

    turns = [
        replace(
            turn,
            observation=reword(turn.observation),
            guidance_text=reword(turn.guidance_text),
            action=reword(turn.action),
        )
        for turn in demonstration.turns
    ]
    forms = tuple(reword(form) for form in demonstration.forms if form != "help")
    return replace(
        demonstration, turns=tuple(turns), last_observation=reword(demonstration.last_observation), forms=forms
    )
