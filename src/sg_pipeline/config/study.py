"""The runs of a study."""

import re

from pydantic import BaseModel, ConfigDict, Field, field_validator


class GuideConfig(BaseModel):
    """The run of the study from whose final phase the guide of the offline methods is distilled."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    seed: int = Field(ge=0)


class StudyConfig(BaseModel):
    """Methods x seeds.

    Attributes:
        name: of the study; its runs are called NAME/METHOD-seedSEED.
        methods: files of conf/methods, in the order of the tables.
        offline: further methods, whose guidance is written by a frozen guide.
        guide: the run that the guide is distilled from; None where `offline` is empty.
        seeds: every method is run with each.
        cross_checkpoint: methods that are also evaluated with guidance of earlier and later checkpoints.
        titles: method -> its name in tables; read from the methods' own files.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    methods: tuple[str, ...] = Field(min_length=1)
    offline: tuple[str, ...]
    guide: GuideConfig | None
    seeds: tuple[int, ...] = Field(min_length=1)
    cross_checkpoint: tuple[str, ...]
    titles: dict[str, str] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _is_a_folder_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise ValueError("a study's name may have letters, digits, '.', '_' and '-'")
        return name

    @field_validator("methods", "offline", "seeds", "cross_checkpoint")
    @classmethod
    def _distinct(cls, values: tuple[str | int, ...]) -> tuple[str | int, ...]:
        twice = sorted({str(value) for value in values if values.count(value) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} is named twice")
        return values

    def run_name(self, method: str, seed: int) -> str:
        """Name of the run of `method` with `seed`."""
        return f"{self.name}/{method}-seed{seed}"

    @property
    def guide_name(self) -> str:
        """Name of the run that distils the guide."""
        return f"{self.name}/distilled"

    @property
    def all_methods(self) -> tuple[str, ...]:
        """Every method, in the order of the tables."""
        return self.methods + self.offline
