"""Evaluation, validation, cross-checkpoint evaluation and prompting methods."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from sg_pipeline.config.run import CoevolveConfig, written_steps
from sg_pipeline.config.section import DISTINCT, Section

WITH_GUIDANCE, WITHOUT_GUIDANCE = "with_guidance", "without_guidance"
"""The two modes in which a policy is evaluated."""


class EvaluationConfig(Section):
    """How policies are evaluated.

    Attributes:
        splits: of the panel, to play; None: all but the one that is trained on.
        temperature: of sampling. 1.0 is the policy that GRPO trains and whose success the learning curve shows; common
            practice on ALFWorld is 0.4, which usually succeeds more often.
        episodes_per_game: repetitions of each game; above 1 the intervals are bootstrapped by game.
        guided: play with guidance before each action.
        plain: play without guidance.
        games: the first N games of each split; None: all.
        max_turns: an episode that has not ended by then is truncated; None: as in the rollouts.
        batch_rows: episodes played at once by each process that shares the run, unless `rollout` allows fewer; memory
            grows with it.
    """

    splits: Annotated[tuple[str, ...] | None, DISTINCT] = Field(
        None, min_length=1
    )  # the value in conf/base is ALFWorld's
    temperature: float = Field(gt=0, allow_inf_nan=False)
    episodes_per_game: int = Field(ge=1)
    guided: bool = True
    plain: bool = True
    games: int | None = Field(default=None, ge=1)
    max_turns: int | None = Field(default=None, ge=1)
    batch_rows: int = Field(default=128, ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> "EvaluationConfig":
        if not (self.guided or self.plain):
            raise ValueError("guided and plain are both false, so nothing would be evaluated: set one of them to true")
        return self

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes to play, in order."""
        return (WITH_GUIDANCE,) * self.guided + (WITHOUT_GUIDANCE,) * self.plain


class ValidationConfig(Section):
    """Which games validate a policy, and how it plays them: in the mode that is trained.

    Attributes:
        panel: name of a panel in the package, or path of a panel file.
        split: of that panel.
        games: the first N games of the split; None: all.
        episodes_per_game: repetitions of each game.
        temperature: of sampling.
    """

    panel: str
    split: str
    games: int | None = Field(None, ge=1)
    episodes_per_game: int = Field(1, ge=1)
    temperature: float = Field(gt=0, allow_inf_nan=False)

    def tasks(self, own: Any) -> Any:
        """Return the section `tasks` for the validation panel; what affects no result is taken from the run's `own`."""
        values = {**own.model_dump(), "panel": self.panel, "limit": self.games}
        if "source" in values:
            values["source"] = "panel"
        return type(own).model_validate(values)

    def evaluation(self, mode_guided: bool, batch_rows: int) -> EvaluationConfig:
        """Return the configuration of an evaluation that plays this; `batch_rows` affects no result."""
        return EvaluationConfig(
            splits=(self.split,), temperature=self.temperature, episodes_per_game=self.episodes_per_game,
            guided=mode_guided, plain=not mode_guided, games=self.games, batch_rows=batch_rows,
        )  # fmt: skip


class CrossCheckpointConfig(Section):
    """One policy, guided by earlier, the same and later versions of itself.

    Checkpoints are given as fractions of the training: 0 is the base policy, 1 the final one. The nearest saved
    checkpoint is used.

    Attributes:
        policy: writes the actions. The paper: 0.5, checkpoint 40 of 80.
        guides: write its guidance; the policy itself is always among them. The paper: 0.125, 0.5 and 1.
    """

    policy: float = Field(ge=0, le=1)
    guides: tuple[float, ...] = Field(min_length=1)

    @field_validator("guides")
    @classmethod
    def _within_the_training(cls, guides: tuple[float, ...]) -> tuple[float, ...]:
        if outside := [guide for guide in guides if not 0 <= guide <= 1]:
            raise ValueError(f"each guide must be a fraction of the training between 0 and 1, not {outside[0]:g}")
        return guides

    def steps(self, coevolve: CoevolveConfig) -> tuple[int, tuple[int, ...]]:
        """Return (steps that the policy has been trained for, those of each guide, ascending and distinct)."""
        written = written_steps(coevolve)

        def nearest(fraction: float) -> int:
            return min(written, key=lambda step: (abs(step - fraction * coevolve.steps), step))

        policy = nearest(self.policy)
        return policy, tuple(sorted({policy, *map(nearest, self.guides)}))


Method = Literal["react", "react_self_guide", "reflexion", "reflact"]
METHODS: tuple[Method, ...] = get_args(Method)
"""All methods, in the order of tables. Each has a prompt set of its name."""

TITLES: dict[str, str] = {
    "react": "ReAct",
    "react_self_guide": "ReAct w/ SG",
    "reflexion": "Reflexion",
    "reflact": "ReflAct",
}
"""Name of a method in reports."""

REFERENCE: Method = "react"
"""The method that the others are compared with."""

SELF_GUIDED: Method = "react_self_guide"
"""The only method that writes guidance."""

REFLEXION: Method = "reflexion"
"""The only method that tries a game more than once."""


class ReflexionConfig(Section):
    """What Reflexion adds to ReAct.

    Attributes:
        trials: attempts at a game until it is solved, the first included.
        memory: the next trial shows up to N of the latest reflections. 3 in the original.
        max_new_tokens: of a reflection.
    """

    trials: int = Field(ge=1, le=50)
    memory: int = Field(ge=1)
    max_new_tokens: int = Field(ge=1)


class PromptingConfig(Section):
    """The prompting methods. Games, temperature and repetitions are those of `evaluate`, limits those of `rollout`.

    Attributes:
        methods: to play, of `METHODS`. On the command line joined by "+": `prompting.methods=react+reflact`.
        prompts: method -> a prompt file to use instead of the shipped one.
        max_new_tokens: of one turn, the same for all methods: guidance, thought and action together.
        reflexion: what Reflexion adds.
    """

    methods: Annotated[tuple[Method, ...], DISTINCT] = Field(min_length=1)
    prompts: dict[Method, str] = Field(default_factory=dict)
    max_new_tokens: int = Field(ge=1)
    reflexion: ReflexionConfig

    @field_validator("methods", mode="before")
    @classmethod
    def _from_the_command_line(cls, methods: object) -> object:
        # Kedro cuts --params at commas.
        return tuple(methods.split("+")) if isinstance(methods, str) else methods

    def unused(self) -> tuple[str, ...]:
        """Return the parameters that no chosen method reads."""
        others = tuple(f"prompts.{method}" for method in METHODS if method not in self.methods)
        return others if REFLEXION in self.methods else ("reflexion", *others)

    def trials(self, method: str) -> int:
        """Return the number of attempts that `method` has at a game."""
        return self.reflexion.trials if method == REFLEXION else 1

    def prompts_of(self, method: Method) -> str:
        """Return the name or path of the prompt set of `method`."""
        return self.prompts.get(method, method)
