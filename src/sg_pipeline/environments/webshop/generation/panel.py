"""Frozen lists of goals on a generated catalogue, and the catalogue made from its recipe.

    panel file (committed, small) ──► write_panel ──► the three official files, each checked by its sha256

The goals are the catalogue's synthetic ones in the original's order, test first, then dev, then train; no product has
goals in two splits or twice in one, and no two goals of a panel have the same text.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from sg_pipeline.environments.panels import PanelTask, SealedPanel, digest_of_file
from sg_pipeline.environments.webshop.catalogue import Catalogue, prepare_catalogue
from sg_pipeline.environments.webshop.generation.catalogue import FILES, CatalogueRecipe, write_catalogue
from sg_pipeline.environments.webshop.goals import Goal
from sg_pipeline.environments.webshop.official import find_files
from sg_pipeline.errors import ConfigurationError, DataError

GENERATOR = 2
"""Version of the generator; raise it when the same recipe gives other bytes."""

PANELS = Path(__file__).resolve().parents[1] / "panels"
"""The panels that come with the package."""

_ORDER = ("test", "dev", "train")


class PanelGoal(PanelTask):
    """One goal: its position among the catalogue's synthetic goals, and its digest."""

    position: int = Field(ge=0)

    def location(self) -> str:
        """See `PanelTask`."""
        return f"synthetic/{self.position}"


class Panel(SealedPanel[PanelGoal]):
    """A panel with the recipe of its catalogue, and the digests of the official files that the recipe gives."""

    environment: Literal["webshop"]
    catalogue: CatalogueRecipe
    files: dict[str, str]


def make_panel(recipe: CatalogueRecipe, sizes: Mapping[str, int]) -> Panel:
    """Draw a catalogue and choose its goals, of which each uses up a product with a wish; a family has one of those.

    Raises:
        ConfigurationError: the catalogue has too few products for so many goals.
    """
    with tempfile.TemporaryDirectory(prefix="sg_webshop_panel_") as scratch:
        folder = Path(scratch)
        write_catalogue(recipe, folder)
        prepare_catalogue(find_files(folder), folder / "prepared")
        splits = _choose(Catalogue(folder / "prepared"), sizes)
        files = {name: digest_of_file(folder / name) for name in FILES}
    content = {"environment": "webshop", "generator": GENERATOR, "catalogue": recipe.model_dump(mode="json")}
    return Panel.seal({**content, "files": files, "splits": splits})


def _choose(catalogue: Catalogue, sizes: Mapping[str, int]) -> dict[str, list[dict[str, Any]]]:
    places = [(split, number) for split in _ORDER for number in range(sizes.get(split, 0))]
    chosen: dict[int, Goal] = {}
    seen: set[str] = set()
    for position in range(catalogue.goal_count("synthetic")):
        if len(chosen) == len(places):
            break
        goal = catalogue.goal("synthetic", position)
        if not seen & {goal.asin, goal.instruction}:
            seen |= {goal.asin, goal.instruction}
            chosen[position] = goal
    if len(chosen) < len(places):
        raise ConfigurationError(
            f"a catalogue of {len(catalogue)} products has goals for {len(chosen)} tasks, but tasks.sizes asks for "
            f"{len(places)}: ask for fewer, or for more products (tasks.catalogue.products)"
        )
    splits: dict[str, list[dict[str, Any]]] = {split: [] for split in sizes}
    for (split, number), (position, goal) in zip(places, chosen.items(), strict=True):
        task = {"task_id": f"{split}-{number:04d}", "task_type": goal.category, "position": position}
        splits[split].append({**task, "sha256": goal.sha256})
    return splits


def write_panel(panel: Panel, folder: Path) -> None:
    """Make sure that the panel's official files are in `folder`, right to the byte.

    Raises:
        DataError: they come out different from what the panel promises.
    """
    if all(digest_of_file(folder / name) == panel.files[name] for name in FILES):
        return
    write_catalogue(panel.catalogue, folder)
    for name in FILES:
        digest = str(digest_of_file(folder / name))
        if digest != panel.files[name]:
            raise DataError(
                f"{name} comes out different from what the panel promises (sha256 {digest[:12]}… instead of "
                f"{panel.files[name][:12]}…), made by version {panel.generator} of the generator where this is "
                f"{GENERATOR}: install the sg_pipeline that made the panel, or regenerate it (create_panel_file)."
            )


def create_panel_file(path: Path, recipe: CatalogueRecipe, sizes: Mapping[str, int]) -> Panel:
    """Make a panel and save it. Errors as `make_panel`."""
    panel = make_panel(recipe, sizes)
    panel.save(path)
    return panel
