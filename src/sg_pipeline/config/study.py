"""The runs of a study."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from sg_pipeline.config.section import DISTINCT, FolderName, Section


class GuideConfig(Section):
    """The run of the study from whose final phase the guide of the offline methods is distilled."""

    method: str
    seed: int = Field(ge=0)


def _first_seeds(value: Any) -> Any:
    return tuple(range(value)) if isinstance(value, int) else value


class StudyConfig(Section):
    """Methods x seeds.

    Attributes:
        name: of the study; its runs are called NAME/METHOD-seedSEED.
        methods: files of conf/methods, in the order of the tables.
        offline: further methods, whose guidance is written by a frozen guide.
        guide: the run that the guide is distilled from; None where `offline` is empty.
        seeds: every method is run with each; a number n, as `--params study.seeds=3`, means 0 to n - 1.
        cross_checkpoint: methods that are also evaluated with guidance of earlier and later checkpoints.
        titles: method -> its name in tables; read from the methods' own files.
    """

    name: FolderName
    methods: Annotated[tuple[str, ...], DISTINCT] = Field(min_length=1)
    offline: Annotated[tuple[str, ...], DISTINCT]
    guide: GuideConfig | None
    seeds: Annotated[tuple[int, ...], BeforeValidator(_first_seeds), DISTINCT] = Field(min_length=1)
    cross_checkpoint: Annotated[tuple[str, ...], DISTINCT]
    titles: dict[str, str] = Field(default_factory=dict)

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
