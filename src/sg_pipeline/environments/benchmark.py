"""What a benchmark brings to the graph, beside the environment that plays it.

    tasks ──► base_model ──► coevolve ──► evaluate
    prepare   demonstrator   environment (in the pool's workers)
              vocabulary

One class per benchmark (`environments/<name>/benchmark.py`), named in `registry.py`. Its module is imported by
`kedro --help`: whatever is heavy is imported where it is used.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from pydantic import BaseModel

from sg_pipeline.environments.demonstration import Demonstration

if TYPE_CHECKING:
    from sg_pipeline.policies.vocabulary import Vocabulary


class Demonstrator(Protocol):
    """An expert that shows fresh episodes on tasks that are never evaluated."""

    def demonstrate(self, number: int, rng: np.random.Generator, noise: float) -> Demonstration:
        """Play demonstration `number`; what is played depends on the arguments alone.

        Args:
            number: from 0; task types take turns.
            rng: the only source of chance.
            noise: probability, per turn, that a mistake replaces the expert's action.
        """
        ...

    def close(self) -> None:
        """Free what it holds (processes, files)."""
        ...


class Benchmark(Protocol):
    """One benchmark: its tasks, its environment, its expert, the words of its texts."""

    @property
    def name(self) -> str:
        """As in `environment.name` and in `Task.environment`."""

    @property
    def environment(self) -> str:
        """The class that plays it, "module:Class"; see `base.Environment`."""

    @property
    def tasks_config(self) -> type[BaseModel]:
        """The section `tasks` of this benchmark.

        It has `panel` (name of a shipped panel, or path of a file) and `limit` (tasks of each split, None: all); where
        it has a `source`, "panel" is one of its values. A method `unused`, where it has one, names the fields that have
        no effect next to the values of the others, such as the seed of a panel that is not generated.
        """

    def prepare(self, config: Any, games: Path, compiled: Path, root: Path) -> dict[str, Any]:
        """Make sure that every task of the panel can be played, and that it is the right one.

        Args:
            config: a `tasks_config`.
            games: folder for what is generated, shared by all runs; a sub-folder for each panel.
            compiled: folder for what is made of it to be fast (compiled games, indices).
            root: what relative paths in `config` start from.

        Returns:
            The prepared panel, JSON-ready: `sha256` of the panel, `source` in words, `data_root` (relative to `games`,
            or absolute: what the environment gets as `data_root`) and `splits`: name -> list of `Task` as mappings.

        Raises:
            ConfigurationError, DataError: in one sentence.
        """
        ...

    def inputs(self, config: Any, root: Path) -> Mapping[str, Path | Mapping[str, Path]]:
        """Return the files whose content decides what is played, for the run's identity.

        Args:
            config: a `tasks_config`.
            root: what relative paths in `config` start from.

        Returns:
            Parameter that names it ("tasks.panel") -> file, folder, or several files by name; what is missing is passed
            over.
        """
        ...

    def demonstrator(self, config: Any, games: Path, compiled: Path, root: Path) -> Demonstrator:
        """Return the expert for a warm start. Arguments and errors as `prepare`."""
        ...

    def vocabulary(self) -> "Vocabulary":
        """Return the words of a word-level policy that is warm-started here."""
        ...
