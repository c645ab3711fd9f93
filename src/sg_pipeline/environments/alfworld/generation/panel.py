"""Panels of generated games, and their game files, written from the recipe in the panel file.

    panel file (committed, small) ──► write_panel_games ──► game files (`game.tw-pddl`), each checked by its sha256

Each game is drawn from a separate random stream, named by (seed, split, index, attempt), so any one can be made alone.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from sg_pipeline.environments.alfworld.generation.floor_plans import floor_plans_of
from sg_pipeline.environments.alfworld.generation.problem import game_file, prove_all
from sg_pipeline.environments.alfworld.generation.sampler import Difficulty, pick, sample_scene
from sg_pipeline.environments.alfworld.generation.scene import Scene
from sg_pipeline.environments.alfworld.rulebook import TASK_TYPES
from sg_pipeline.environments.panels import PanelTask, SealedPanel, digest_of_file
from sg_pipeline.errors import ConfigurationError, DataError
from sg_pipeline.files import atomic_write
from sg_pipeline.randomness import stream

GENERATOR = 1
"""Version of sampler and problem writer; raise it when the same recipe gives other bytes."""

DEFAULT_SIZES = {"train": 256, "valid_seen": 200, "valid_unseen": 200}
PANELS = Path(__file__).resolve().parents[1] / "panels"
"""The panels that come with the package."""

_MAX_ATTEMPTS = 200
_LOG = logging.getLogger(__name__)


class PanelGame(PanelTask):
    """One game of a panel.

    Attributes:
        path: game file, relative to the folder into which the panel's games are written.
        attempt: how many earlier draws for this place were rejected because the panel had that game already.
        sha256: digest of the game file.
    """

    path: str = Field(pattern=r"^\w+/\d+\.tw-pddl$")
    attempt: int = Field(ge=0)

    def location(self) -> str:
        """See `PanelTask`."""
        return self.path


class Panel(SealedPanel[PanelGame]):
    """A panel with its recipe; `alfworld` is the version of the package that made it."""

    environment: Literal["alfworld"]
    alfworld: str
    seed: int
    difficulty: Difficulty
    task_types: tuple[str, ...]


def game_scene(place: tuple[int, str, int, int], difficulty: Difficulty, task_types: Sequence[str]) -> Scene:
    """Return the scene of a place in a panel: (seed of the panel, split, index within the split, attempt).

    Task types take turns; the floor plan is drawn from the split's.
    """
    seed, split, index, attempt = place
    task_type = task_types[index % len(task_types)]
    rng = stream(seed, "alfworld panel", split, index, attempt)
    plan = pick(rng, floor_plans_of(task_type, unseen=split == "valid_unseen"))
    return sample_scene(rng, plan, task_type, difficulty)


def signature(scene: Scene) -> str:
    """Return a digest of what must be done where: equal for games that differ in wording or floor plan number only."""
    parts = [*astuple(scene.goal), *(receptacle.name for receptacle in scene.receptacles)]
    parts += [f"{item.name} @ {item.receptacle}" for item in scene.items]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def make_panel(
    seed: int,
    sizes: Mapping[str, int] = DEFAULT_SIZES,
    difficulty: Difficulty | None = None,
    task_types: Sequence[str] = TASK_TYPES,
) -> Panel:
    """Draw a panel in which no two games are alike (`signature`), within a split or across splits.

    Args:
        seed: decides everything.
        sizes: games per split; only "valid_unseen" uses the four unseen floor plans, and no others.
        difficulty: size of the scenes; None: the small default.
        task_types: which task types take turns.

    Raises:
        ConfigurationError: an unknown split or task type, or scenes too small for so many different games.
    """
    difficulty = difficulty or Difficulty()
    unknown = [split for split in sizes if split not in DEFAULT_SIZES]
    if unknown or not task_types:
        raise ConfigurationError(
            f"A panel needs task types and sizes of the splits {', '.join(DEFAULT_SIZES)}; found sizes {dict(sizes)} "
            f"and task types {list(task_types)}."
        )
    known: set[str] = set()
    splits: dict[str, list[dict[str, Any]]] = {}
    for split in sorted(sizes):  # train first
        splits[split] = []
        for index in range(sizes[split]):
            for attempt in range(_MAX_ATTEMPTS):
                scene = game_scene((seed, split, index, attempt), difficulty, task_types)
                if signature(scene) not in known:
                    break
            else:
                raise ConfigurationError(
                    f"Split {split!r}: no new game found for place {index} of {sizes[split]} after {_MAX_ATTEMPTS} "
                    "draws: ask for fewer games or for larger scenes (max_receptacles, max_items)."
                )
            known.add(signature(scene))
            splits[split].append(
                {
                    "task_id": f"{split}-{index:04d}",
                    "task_type": scene.goal.task_type,
                    "path": f"{split}/{index:04d}.tw-pddl",
                    "attempt": attempt,
                    "sha256": hashlib.sha256(game_file(scene)).hexdigest(),
                }
            )
    return Panel.seal(
        {
            "environment": "alfworld",
            "generator": GENERATOR,
            "alfworld": version("alfworld"),
            "seed": seed,
            "difficulty": difficulty.model_dump(mode="json"),
            "task_types": list(task_types),
            "splits": splits,
        }
    )


def panel_scenes(panel: Panel, split: str) -> list[Scene]:
    """Return the scenes of a split, in the panel's order.

    Raises:
        DataError: the panel was made by another version of the generator.
    """
    if panel.generator != GENERATOR:
        raise DataError(
            f"The panel was made by version {panel.generator} of the game generator, this is version {GENERATOR}: "
            "install the sg_pipeline that made the panel, or regenerate the panel with create_panel_file."
        )
    return [
        game_scene((panel.seed, split, index, game.attempt), panel.difficulty, panel.task_types)
        for index, game in enumerate(panel.splits[split])
    ]


def write_panel_games(panel: Panel, folder: Path) -> int:
    """Write the game files of a panel that are missing or damaged in its data folder; return how many.

    Raises:
        DataError: a regenerated game differs from the panel's digest.
    """
    written = 0
    for split, games in panel.splits.items():
        lacking = [index for index, game in enumerate(games) if digest_of_file(folder / game.path) != game.sha256]
        scenes = panel_scenes(panel, split) if lacking else []
        for index in lacking:
            game, content = games[index], game_file(scenes[index])
            digest = hashlib.sha256(content).hexdigest()
            if digest != game.sha256:
                raise DataError(
                    f"Game {game.task_id} comes out different from what the panel promises (sha256 {digest[:12]}… "
                    f"instead of {game.sha256[:12]}…), probably because the panel was made with alfworld "
                    f"{panel.alfworld} but alfworld {version('alfworld')} and numpy {version('numpy')} are installed: "
                    "install the panel's versions or regenerate the panel."
                )
            with atomic_write(folder / game.path) as temporary:
                temporary.write_bytes(content)
            written += 1
    return written


def create_panel_file(
    path: Path,
    seed: int,
    *,
    sizes: Mapping[str, int] = DEFAULT_SIZES,
    difficulty: Difficulty | None = None,
    task_types: Sequence[str] = TASK_TYPES,
    workers: int = 2,
) -> Panel:
    """Make a panel, prove on the real engine that each of its games can be solved, and save it.

    The processes that play the proofs are started with spawn: call this from an importable main.

    Raises:
        ConfigurationError, DataError: as `make_panel`; or a game could not be solved (nothing is written then).
    """
    panel = make_panel(seed, sizes, difficulty, task_types)
    scenes = {
        game.task_id: scene
        for split, games in panel.splits.items()
        for game, scene in zip(games, panel_scenes(panel, split), strict=True)
    }
    prove_all(scenes, workers)
    panel.save(path)
    _LOG.info("Panel %s: %d games, each solved on the engine, sha256 %s", path, len(scenes), panel.sha256)
    return panel
