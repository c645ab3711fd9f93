"""Frozen lists of goals on a generated catalogue, and the catalogue made from its recipe.

    panel file (committed, small) ──► write_panel ──► the three official files, each checked by its sha256

The goals are the catalogue's synthetic ones in the original's order, test first, then dev, then train; no product has
goals in two splits or twice in one, and no two goals of a panel have the same text.
"""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sg_pipeline.environments.webshop.catalogue import Catalogue, prepare_catalogue
from sg_pipeline.environments.webshop.generation.catalogue import FILES, CatalogueRecipe, write_catalogue
from sg_pipeline.environments.webshop.official import find_files
from sg_pipeline.errors import ConfigurationError, DataError
from sg_pipeline.files import atomic_write
from sg_pipeline.trajectories.types import Task

FORMAT = 1
GENERATOR = 2
"""Version of the generator: raise it when the same recipe gives other bytes."""

PANELS = Path(__file__).resolve().parents[1] / "panels"
"""The panels that come with the package."""

ENVIRONMENT: Literal["webshop"] = "webshop"
_ORDER = ("test", "dev", "train")
_SHA256 = r"[0-9a-f]{64}"


class PanelGoal(BaseModel):
    """One goal: its position among the catalogue's synthetic goals, and its digest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task_id: str
    task_type: str
    position: int = Field(ge=0)
    sha256: str = Field(pattern=_SHA256)


class Panel(BaseModel):
    """A panel: how its catalogue is drawn, what must come out, and which goals are played.

    Attributes:
        format, environment, generator: what the file is.
        catalogue: the recipe.
        files: name -> sha256 of the official files that the recipe gives.
        splits: name -> goals, in the panel's order.
        sha256: digest of all of it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1]
    environment: Literal["webshop"]
    generator: int
    catalogue: CatalogueRecipe
    files: dict[str, str]
    splits: dict[str, tuple[PanelGoal, ...]]
    sha256: str = Field(pattern=_SHA256)

    def tasks(self) -> dict[str, list[Task]]:
        """Return the tasks of each split, in the panel's order."""
        return {
            split: [
                Task(goal.task_id, ENVIRONMENT, split, goal.task_type, f"synthetic/{goal.position}", goal.sha256)
                for goal in goals
            ]
            for split, goals in self.splits.items()
        }


def make_panel(recipe: CatalogueRecipe, sizes: Mapping[str, int]) -> Panel:
    """Draw a catalogue and choose its goals.

    Args:
        recipe: of the catalogue.
        sizes: goals per split; each uses up one product with a wish, of which a family has one.

    Raises:
        ConfigurationError: the catalogue has too few products for so many goals.
    """
    with tempfile.TemporaryDirectory(prefix="sg_webshop_panel_") as scratch:
        folder = Path(scratch)
        write_catalogue(recipe, folder)
        prepare_catalogue(find_files(folder), folder / "prepared")
        catalogue = Catalogue(folder / "prepared")
        splits = _choose(catalogue, sizes)
        files = {name: _digest_of(folder / name) for name in FILES}
    content = {
        "format": FORMAT,
        "environment": ENVIRONMENT,
        "generator": GENERATOR,
        "catalogue": recipe.model_dump(mode="json"),
        "files": files,
        "splits": {split: splits[split] for split in sizes},
    }
    return Panel.model_validate({**content, "sha256": _digest(content)})


def _choose(catalogue: Catalogue, sizes: Mapping[str, int]) -> dict[str, list[dict[str, Any]]]:
    places = [split for split in _ORDER for _ in range(sizes.get(split, 0))]
    splits: dict[str, list[dict[str, Any]]] = {split: [] for split in sizes}
    seen: set[str] = set()
    for position in range(catalogue.goal_count("synthetic")):
        placed = sum(len(goals) for goals in splits.values())
        if placed == len(places):
            return splits
        goal = catalogue.goal("synthetic", position)
        if goal.asin in seen or goal.instruction in seen:
            continue
        seen |= {goal.asin, goal.instruction}
        split = places[placed]
        splits[split].append(
            {
                "task_id": f"{split}-{len(splits[split]):04d}",
                "task_type": goal.category,
                "position": position,
                "sha256": goal.sha256,
            }
        )
    placed = sum(len(goals) for goals in splits.values())
    if placed < len(places):
        raise ConfigurationError(
            f"a catalogue of {len(catalogue)} products has goals for {placed} tasks, but tasks.sizes asks for "
            f"{len(places)}: ask for fewer, or for more products (tasks.catalogue.products)"
        )
    return splits


def write_panel(panel: Panel, folder: Path) -> bool:
    """Make sure that the panel's official files lie in `folder`, right to the byte.

    Returns:
        Whether they had to be written.

    Raises:
        DataError: they come out different from what the panel promises.
    """
    if all((folder / name).is_file() and _digest_of(folder / name) == panel.files[name] for name in FILES):
        return False
    write_catalogue(panel.catalogue, folder)
    for name in FILES:
        digest = _digest_of(folder / name)
        if digest != panel.files[name]:
            raise DataError(
                f"{name} comes out different from what the panel promises (sha256 {digest[:12]}… instead of "
                f"{panel.files[name][:12]}…), made by version {panel.generator} of the generator where this is "
                f"{GENERATOR}: install the sg_pipeline that made the panel, or make it anew (create_panel_file)."
            )
    return True


def create_panel_file(path: Path, recipe: CatalogueRecipe, sizes: Mapping[str, int]) -> Panel:
    """Make a panel and save it, one goal a line. Errors as `make_panel`."""
    panel = make_panel(recipe, sizes)
    content = panel.model_dump(mode="json")
    splits = content.pop("splits")
    lines = [f"{_json(key)}:{_json(value)}," for key, value in content.items() if key != "sha256"]
    blocks = [
        f"{_json(split)}:[\n" + ",\n".join(_json(goal) for goal in goals) + "\n]" for split, goals in splits.items()
    ]
    text = "\n".join(["{", *lines, '"splits":{', ",\n".join(blocks), "},", f'"sha256":{_json(panel.sha256)}', "}"])
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return panel


def read_panel(path: Path) -> Panel:
    """Read and verify a panel file.

    Raises:
        DataError: the file is missing, no JSON, no panel of this format, or was changed after it was made.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"Panel file {path} is missing: make it (create_panel_file) or correct its path.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"Panel file {path} cannot be read as JSON ({error}): restore or regenerate it.") from error
    if not isinstance(content, dict) or content.get("environment") != ENVIRONMENT:
        raise DataError(f"Panel file {path} is no panel of WebShop: field 'environment' must be '{ENVIRONMENT}'.")
    stated = content.pop("sha256", None)
    found = _digest(content)
    if found != stated:
        raise DataError(
            f"Panel file {path} was changed after it was made: its content has the digest {found[:12]}…, "
            f"its field 'sha256' says {str(stated)[:12]}…; restore or regenerate it."
        )
    try:
        return Panel.model_validate({**content, "sha256": stated})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise DataError(f"Panel file {path}: {field}: {first['msg']}.") from error


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
