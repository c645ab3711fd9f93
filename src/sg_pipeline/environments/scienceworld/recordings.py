"""Demonstrations are played once and kept: a warm start wants tens of thousands, and the simulator takes 0.1 s for one.

A demonstration is one of finitely many: a solved task, a share of mistakes, and one of `VARIANTS` draws of them. What
has been played lies in one file beside the compiled games of other benchmarks, under the digest of all that made it.
"""

import hashlib
import json
import logging
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import numpy as np

from sg_pipeline.environments.demonstration import Demonstration, DemoTurn
from sg_pipeline.environments.scienceworld.demonstrations import demonstrate, make_environment
from sg_pipeline.environments.scienceworld.panel import make_task, parse_path, simulator_digest
from sg_pipeline.errors import DataError
from sg_pipeline.randomness import stream
from sg_pipeline.trajectories.types import Polarity

logger = logging.getLogger(__name__)

VARIANTS = 6
"""Different draws of mistakes for a task and a share of mistakes."""

FORMAT = 1
"""Raised where `demonstrations` would play otherwise."""


class ScienceWorldDemonstrator:
    """The expert of a warm start (see `environments.benchmark.Demonstrator`)."""

    def __init__(self, solutions: Mapping[str, tuple[str, ...]], folder: Path) -> None:
        """Open the recordings.

        Args:
            solutions: "NAME/VARIATION" -> actions, of training tasks.
            folder: where recordings are kept; made where missing.

        Raises:
            DataError: the recordings cannot be opened.
        """
        self._solutions = solutions
        self._keys: dict[str, list[str]] = {}
        for key in sorted(solutions):
            self._keys.setdefault(key.split("/")[0], []).append(key)
        listing = json.dumps([FORMAT, VARIANTS, simulator_digest(), sorted(solutions.items())])
        path = folder / f"scienceworld-demonstrations-{hashlib.sha256(listing.encode()).hexdigest()[:12]}.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # A writer waits for another: two runs may record at once, and both play the same.
            self._recordings = sqlite3.connect(path, timeout=60.0, isolation_level=None)
            self._recordings.execute("CREATE TABLE IF NOT EXISTS played (what TEXT PRIMARY KEY, demonstration TEXT)")
        except (OSError, sqlite3.Error) as error:
            raise DataError(f"the recorded demonstrations {path} cannot be used ({error}); remove the file") from error
        self._environment = make_environment()

    def demonstrate(self, number: int, rng: np.random.Generator, noise: float) -> Demonstration:
        """Play demonstration `number`, or read it where it has been played; see `Demonstrator.demonstrate`.

        One that mistakes have lost is played without them.

        Raises:
            ConfigurationError, EnvironmentFailure: Java is missing or does not start.
            DataError: the recordings are damaged.
        """
        types = sorted(self._keys)
        keys = self._keys[types[number % len(types)]]
        key = keys[int(rng.integers(len(keys)))]
        variant = int(rng.integers(VARIANTS))
        demonstration = self._recorded(key, noise, variant) if noise > 0 else self._recorded(key, 0.0, 0)
        return demonstration if demonstration.won or noise == 0 else self._recorded(key, 0.0, 0)

    def close(self) -> None:
        """Close the recordings and let go of the world."""
        self._environment.close()
        self._recordings.close()

    def _recorded(self, key: str, noise: float, variant: int) -> Demonstration:
        what = f"{key} {noise!r} {variant}"
        try:
            with closing(self._recordings.execute("SELECT demonstration FROM played WHERE what = ?", (what,))) as found:
                row = found.fetchone()
            if row is not None:
                return from_json(row[0])
            made = self._play(key, noise, variant)
            self._recordings.execute("INSERT OR REPLACE INTO played VALUES (?, ?)", (what, to_json(made)))
        except (sqlite3.Error, ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"the recorded demonstration {what!r} cannot be read or written ({error}); remove the file "
                "scienceworld-demonstrations-*.sqlite in the folder of compiled games"
            ) from error
        return made

    def _play(self, key: str, noise: float, variant: int) -> Demonstration:
        task = make_task(*parse_path(key, key), "train")
        chance = stream(0, "scienceworld demonstration", key, repr(noise), variant)
        return demonstrate(self._environment, task, self._solutions[key], chance, noise)


def to_json(demonstration: Demonstration) -> str:
    """Return a demonstration as text."""
    return json.dumps(asdict(demonstration), separators=(",", ":"))


def from_json(text: str) -> Demonstration:
    """Read what `to_json` wrote. Raises `ValueError`, `TypeError` or `KeyError` where the text is not whole."""
    content = json.loads(text)
    turns = tuple(DemoTurn(**{**turn, "polarity": Polarity(turn["polarity"])}) for turn in content.pop("turns"))
    return Demonstration(**{**content, "turns": turns, "last_polarity": Polarity(content["last_polarity"])})
