"""Guided demonstrations: the expert's games, with a judged sub-goal before every action and a few mistakes.

A demonstration turn is what the policy is to write after an observation: `POLARITY: sub-goal`, then the action. The
mistakes teach recovery: a turn may play another action than the expert's, the guidance after it is then
negative (unless the mistake happened to help), and the expert goes on from there.
"""

import numpy as np

from sg_pipeline.environments.alfworld.expert import Expert
from sg_pipeline.environments.alfworld.generation.scene import Scene
from sg_pipeline.environments.alfworld.progress import Progress
from sg_pipeline.environments.alfworld.rules import RulesModel
from sg_pipeline.environments.demonstration import Demonstration, DemoTurn
from sg_pipeline.trajectories.types import Polarity

# The share of mistakes that are plausible but impossible commands; the others are possible and useless.
IMPOSSIBLE_SHARE = 0.25


def demonstrate(
    scene: Scene, rng: np.random.Generator, noise: float = 0.0, max_turns: int = 30, whim: float = 0.1
) -> Demonstration:
    """Play `scene` with the scripted expert.

    Args:
        scene: the game.
        rng: the only source of chance.
        noise: probability, per turn, that a mistake replaces the expert's action.
        max_turns: the episode's limit.
        whim: probability that a search starts at a random likely place instead of the first one listed.

    Returns:
        The demonstration; lost where the limit came first.
    """
    model = RulesModel(scene)
    observation = model.reset()
    progress, expert = Progress(observation), Expert(rng, whim)
    polarity, won = Polarity.NEUTRAL, False
    turns: list[DemoTurn] = []
    while len(turns) < max_turns and not won:
        subgoal, wanted = expert.decide(progress.memory)
        action = wanted
        if noise > 0 and rng.random() < noise:
            action = mistake(model, rng)
        turns.append(DemoTurn(observation, subgoal, polarity, action, action != wanted))
        observation, won, _ = model.step(action)
        polarity = progress.judge(action, observation, won)
    return Demonstration(tuple(turns), won, observation, polarity)


def mistake(model: RulesModel, rng: np.random.Generator) -> str:
    """Return a command at random: mostly one that is possible, else one that only looks so.

    The impossible ones are those that a policy under training writes: things that are not here, places that are not in
    the room, doors that are elsewhere.
    """
    commands = [command for command in model.admissible_commands() if command not in ("help", "look", "inventory")]
    if rng.random() >= IMPOSSIBLE_SHARE:
        return commands[int(rng.integers(len(commands)))]
    items, receptacles = model.scene.items, model.scene.receptacles
    item = items[int(rng.integers(len(items)))].name
    place = receptacles[int(rng.integers(len(receptacles)))]
    absent = f"{place.kind.lower()} {1 + sum(other.kind == place.kind for other in receptacles)}"
    forms = (f"take {item} from {place.name}", f"move {item} to {place.name}", f"open {place.name}", f"go to {absent}")
    return forms[int(rng.integers(len(forms)))]
