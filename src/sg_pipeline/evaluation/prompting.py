"""Which prompting methods there are, and how a user sets them: no training, any language model."""

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

Method = Literal["react", "react_self_guide", "reflexion", "reflact"]

METHODS: tuple[Method, ...] = get_args(Method)
"""All of them, in the order of tables. Each has a prompt set of its name."""

TITLES: dict[str, str] = {
    "react": "ReAct",
    "react_self_guide": "ReAct w/ SG",
    "reflexion": "Reflexion",
    "reflact": "ReflAct",
}
"""How reports call a method."""

REFERENCE: Method = "react"
"""What the others are compared with."""

REFLEXION: Method = "reflexion"
"""The only method that tries a game more than once."""


class ReflexionConfig(BaseModel):
    """What Reflexion adds to ReAct.

    Attributes:
        trials: attempts at a game that is not won before, the first included.
        memory: reflections that the next trial shows at most, the latest ones. 3 in the original.
        max_new_tokens: of a reflection.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    trials: int = Field(default=3, ge=1, le=50)
    memory: int = Field(default=3, ge=1)
    max_new_tokens: int = Field(default=256, ge=1)


class PromptingConfig(BaseModel):
    """The prompting methods. Games, temperature and repetitions are those of `evaluate`, limits those of `rollout`.

    Attributes:
        methods: to play, of `METHODS`. On the command line joined by "+": `prompting.methods=react+reflact`.
        prompts: method -> a prompt file to use instead of the shipped one.
        max_new_tokens: of one turn, the same for all methods: guidance, thought and action together.
        reflexion: what Reflexion adds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    methods: tuple[Method, ...] = Field(default=METHODS, min_length=1)
    prompts: dict[Method, str] = Field(default_factory=dict)
    max_new_tokens: int = Field(default=256, ge=1)
    reflexion: ReflexionConfig = Field(default_factory=ReflexionConfig)

    @field_validator("methods", mode="before")
    @classmethod
    def _from_the_command_line(cls, methods: object) -> object:
        # Kedro cuts --params at commas.
        return tuple(methods.split("+")) if isinstance(methods, str) else methods

    @field_validator("methods")
    @classmethod
    def _once_each(cls, methods: tuple[Method, ...]) -> tuple[Method, ...]:
        if len(set(methods)) < len(methods):
            raise ValueError(f"a method is named twice: {', '.join(methods)}")
        return methods

    def unused(self) -> tuple[str, ...]:
        """Return what no chosen method looks at."""
        others = tuple(f"prompts.{method}" for method in METHODS if method not in self.methods)
        return others if REFLEXION in self.methods else ("reflexion", *others)

    def trials(self, method: str) -> int:
        """Return how often `method` may try a game."""
        return self.reflexion.trials if method == REFLEXION else 1

    def prompts_of(self, method: Method) -> str:
        """Return the name or path of the prompt set of `method`."""
        return self.prompts.get(method, method)
