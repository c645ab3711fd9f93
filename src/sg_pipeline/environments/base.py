"""Protocols of a benchmark: the environment that plays episodes, and what else the graph needs of it.

    tasks ──► base_model ──► coevolve ──► evaluate
    prepare   demonstrator   environment (in the pool's workers)
              vocabulary

A new benchmark is a subclass of `Benchmark` that names a class as `Environment`, and one line in
`config/extensions.py`. `kedro --help` imports a benchmark's module: import heavy packages where they are used.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from sg_pipeline.errors import ConfigurationError
from sg_pipeline.trajectories.types import Polarity, Task

if TYPE_CHECKING:
    from sg_pipeline.policies.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class StepResult:
    """An environment's answer to `reset` or to an action.

    Attributes:
        observation: the text to show. After `reset` it describes the situation and the task.
        reward: this step's environment reward (0.0 after reset).
        done: the environment ended the episode (won or lost). Step limits belong to the rollout.
        won: the goal is reached.
        score: graded score in [0, 1].
        valid: the action was understood and possible (True after reset).
        admissible: the commands that are possible now; None unless asked for.
        parts: components of the score, (name, value in [0, 1]) each; those of an episode's last answer count.
        forms: after `reset`, the forms of this game's commands, such as "take (object) from (receptacle)", for prompts
            that list them; empty if the environment names none.
    """

    observation: str
    reward: float = 0.0
    done: bool = False
    won: bool = False
    score: float = 0.0
    valid: bool = True
    admissible: tuple[str, ...] | None = None
    parts: tuple[tuple[str, float], ...] = ()
    forms: tuple[str, ...] = ()


class Environment(Protocol):
    """One text environment, in one worker process; it holds one episode at a time and is reused.

    Deterministic: the same task, seed and actions give the same texts and rewards.
    """

    def reset(self, task: Task, seed: int) -> StepResult:
        """Start an episode of `task`. Raises `DataError` if the game cannot be loaded."""

    def step(self, action: str) -> StepResult:
        """Play one action, exactly as the policy wrote it."""

    def close(self) -> None:
        """Release resources; the environment is not used again."""


@dataclass(frozen=True, slots=True)
class DemoTurn:
    """One turn of a demonstration.

    Attributes:
        observation: the text that precedes the decision; the first one describes the situation and the task.
        guidance_text: the sub-goal, without the polarity; on a noise turn the mistaken one.
        polarity: what the previous action did for the task; neutral on the first turn.
        action: the command that is played.
        is_noise: sub-goal and action are a mistake; a trainer may mask their loss.
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
        turns: in order; the last one reaches the goal if `won`.
        won: the goal was reached.
        last_observation: the environment's answer to the last action.
        last_polarity: what the last action did for the task.
        forms: of the game's commands, as in `StepResult.forms`.
    """

    turns: tuple[DemoTurn, ...]
    won: bool
    last_observation: str
    last_polarity: Polarity
    forms: tuple[str, ...] = ()


INSISTENCE = 0.5
"""Probability that a mistake is made once more: what fails again and again has to be left, and that must be shown."""


def lapse(
    turns: Sequence[DemoTurn], noise: float, rng: np.random.Generator, make: Callable[[], tuple[str, str]]
) -> tuple[str, str] | None:
    """Return the mistake of a demonstration's next turn; None: the expert decides.

    A mistake is wrong as a whole. Were its sub-goal the expert's, each negative verdict would be followed by the
    sub-goal of the turn before once more, and a policy would learn from that to insist on what has failed.

    Args:
        turns: so far.
        noise: below 1; about the share of turns that are mistakes (0.2 gives 0.20, 0.35 gives 0.40 in ALFWorld).
        rng: of the demonstration.
        make: draws a mistake: its sub-goal and action.
    """
    if not noise:
        return None
    if turns and turns[-1].is_noise and rng.random() < INSISTENCE:
        return turns[-1].guidance_text, turns[-1].action
    return make() if rng.random() < noise * (1 - INSISTENCE) / (1 - noise) else None


class Demonstrator(Protocol):
    """An expert that plays fresh episodes on tasks that are never evaluated.

    A benchmark with two wordings also has `reword(demonstration, rng)`, which returns the same episode in the other one
    (ALFWorld: that of data version 2.1.1).
    """

    def demonstrate(self, number: int, rng: np.random.Generator, noise: float) -> Demonstration:
        """Play demonstration `number`, from 0; task types take turns.

        Args:
            number: with the other arguments all that the result depends on.
            rng: the only source of randomness.
            noise: probability, per turn, that a mistake replaces the expert's action.
        """

    def close(self) -> None:
        """Release resources (processes, files)."""


class PanelTasks(BaseModel):
    """The section `tasks` of a benchmark that only plays panels.

    Attributes:
        panel: name of a panel of the package, or path of a panel file.
        limit: play at most this many tasks of each split, the first ones; None: all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    panel: str = "default"
    limit: int | None = Field(None, ge=1)


class Benchmark:
    """One benchmark: its tasks, its environment and, for the warm start of a tiny policy, its expert and its words.

    Attributes:
        name: as in `environment.name` and in `Task.environment`.
        environment: the environment's class, "module:Class".
        judges: it has `verdicts`.
        tasks_config: the section `tasks`. It has the fields of `PanelTasks`; if it has a `source`, "panel" is one of
            its values. An optional method `unused` names the fields without effect next to the values of the others,
            such as the seed of a panel that is not generated.
    """

    name: str
    environment: str
    tasks_config: type[BaseModel] = PanelTasks
    judges: bool = False

    def prepare(self, config: Any, games: Path, compiled: Path, root: Path) -> dict[str, Any]:
        """Check the panel's tasks, and write and compile what is needed to play them.

        Args:
            config: a `tasks_config`.
            games: folder for generated files, shared by all runs; a sub-folder for each panel.
            compiled: folder for derived files (compiled games, indices).
            root: base of relative paths in `config`.

        Returns:
            The prepared panel, JSON-ready: `sha256` of the panel, `source` in words, `data_root` (relative to `games`,
            or absolute: the environment's argument `data_root`) and `splits`: name -> list of `Task` as mappings.
            `panels.prepared` builds it.

        Raises:
            ConfigurationError, DataError: in one sentence.
        """
        raise NotImplementedError

    def inputs(self, config: Any, root: Path) -> Mapping[str, Path | Mapping[str, Path]]:
        """Return the files whose content decides what is played, for the run's identity.

        Args:
            config: a `tasks_config`.
            root: base of relative paths in `config`.

        Returns:
            Name of the parameter ("tasks.panel") -> file, folder, or several files by name; missing ones are skipped.
        """
        return {}

    def demonstrator(self, config: Any, games: Path, compiled: Path, root: Path) -> Demonstrator:
        """Return the expert for a warm start. Arguments and errors as `prepare`."""
        raise self._cannot_warm_start("expert")

    def vocabulary(self) -> "Vocabulary":
        """Return the words of a word-level policy that is warm-started here."""
        raise self._cannot_warm_start("vocabulary")

    def anchors(self, observations: Sequence[str], actions: Sequence[str]) -> list[str]:
        """Return what identifies the state before each action: turns of a group that share it are compared.

        Args:
            observations, actions: texts of an episode, one of each a turn.

        Returns:
            One string a turn; here the observation, as in GiGPO. A benchmark whose observations do not tell the state
            (such as "Nothing happens.") returns something better.
        """
        return list(observations)

    def verdicts(self, observations: Sequence[str], actions: Sequence[str], *, won: bool) -> list[Polarity]:
        """Judge each action by what the benchmark knows of progress: an upper bound of what a policy's verdict can say.

        Args:
            observations, actions: as for `anchors`.
            won: the last action reached the goal.
        """
        raise NotImplementedError

    def _cannot_warm_start(self, lacking: str) -> ConfigurationError:
        return ConfigurationError(
            f"{self.name} has no {lacking} for a warm start: set base_model.source to 'checkpoint' or 'pretrained'"
        )


@contextmanager
def requires_extra(name: str) -> Iterator[None]:
    """Report a package that cannot be imported as one of the extra `name`."""
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(
            f"the package {error.name or error} is missing; install the extra {name!r} "
            f"(pip install -c constraints.txt -e '.[{name}]')"
        ) from error
