"""What an expert shows: its episode, with a judged sub-goal before every action."""

from dataclasses import dataclass

from sg_pipeline.trajectories.types import Polarity


@dataclass(frozen=True, slots=True)
class DemoTurn:
    """One turn of a demonstration.

    Attributes:
        observation: the text that precedes the decision; the first one holds the situation and the task.
        guidance_text: the sub-goal, without the polarity; on a noise turn still the expert's.
        polarity: what the previous action did for the task; neutral on the first turn.
        action: the command that is played.
        is_noise: the action is a mistake: a trainer may mask its loss.
    """

    observation: str
    guidance_text: str
    polarity: Polarity
    action: str
    is_noise: bool


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One episode played by the expert, mistakes included.

    Attributes:
        turns: in order; the last one reaches the goal where `won`.
        won: the goal was reached.
        last_observation: the environment's answer to the last action.
        last_polarity: what the last action did for the task.
    """

    turns: tuple[DemoTurn, ...]
    won: bool
    last_observation: str
    last_polarity: Polarity
