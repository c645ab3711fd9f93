"""WebShop as a benchmark: its goals, its expert in generated shops, its words."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from sg_pipeline.environments.base import Benchmark, Demonstrator
from sg_pipeline.environments.panels import SourcedTasks, find_panel, prepared
from sg_pipeline.environments.webshop.generation.catalogue import CatalogueRecipe
from sg_pipeline.errors import DataError
from sg_pipeline.trajectories.types import Task

if TYPE_CHECKING:
    from sg_pipeline.environments.webshop.catalogue import Catalogue
    from sg_pipeline.policies.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

Split = Literal["train", "dev", "test"]


class TasksConfig(SourcedTasks):
    """See `SourcedTasks`.

    Attributes:
        catalogue, sizes: recipe of a new panel.
        goals: which official goals: instructions that people wrote, or synthetic ones.
    """

    DATA_VARIABLE = "WEBSHOP_DATA"
    RECIPE = ("catalogue", "sizes")
    OFFICIAL = ("data", "goals")

    catalogue: CatalogueRecipe = Field(default_factory=CatalogueRecipe)
    sizes: dict[Split, int] = Field({"train": 224, "dev": 100, "test": 200})
    goals: Literal["human", "synthetic"] = "human"


class WebshopBenchmark(Benchmark):
    """WebShop's purchases as text (see `base.Benchmark`)."""

    name = "webshop"
    environment = "sg_pipeline.environments.webshop.environment:WebShopEnvironment"
    tasks_config = TasksConfig

    def prepare(self, config: TasksConfig, games: Path, compiled: Path, root: Path) -> dict[str, Any]:
        """Write and check the panel's catalogue, or find the official one, and prepare it for search; see `Benchmark`.

        `data_root` is the folder of the official files.
        """
        # Reports a missing package here rather than in a worker.
        import sg_pipeline.environments.webshop.reward  # noqa: F401
        from sg_pipeline.environments.webshop.catalogue import open_catalogue

        if config.source == "official":
            return _prepare_official(
                config, open_catalogue(config.data_folder(root), compiled), config.data_folder(root)
            )
        from sg_pipeline.environments.webshop.generation.panel import Panel, make_panel, write_panel

        if config.source == "generate":
            sizes = {str(split): size for split, size in config.sizes.items()}
            panel, source = make_panel(config.catalogue, sizes), "newly generated goals"
        else:
            panel, source = Panel.read(_panel_file(config, root)), f"generated goals, panel {config.panel}"
        data_root = f"webshop-{panel.sha256[:12]}"
        write_panel(panel, games / data_root)
        open_catalogue(games / data_root, compiled)
        return prepared(panel.tasks(), config.limit, sha256=panel.sha256, source=source, data_root=data_root)

    def inputs(self, config: TasksConfig, root: Path) -> Mapping[str, Path | Mapping[str, Path]]:
        """Return the panel's file, in which the catalogue is hashed, or the official files."""
        if config.source == "official":
            from sg_pipeline.environments.webshop.official import find_files

            return {"tasks.data": {path.name: path for path in find_files(config.data_folder(root))}}
        return {"tasks.panel": _panel_file(config, root)} if config.source == "panel" else {}

    def demonstrator(self, config: TasksConfig, games: Path, compiled: Path, root: Path) -> Demonstrator:
        """Return the expert in shops like the panel's, with other products, and for no official texts."""
        from sg_pipeline.environments.webshop.expert import GeneratedShopDemonstrator
        from sg_pipeline.environments.webshop.generation.panel import Panel

        config.require_generated()
        if config.source == "generate":
            return GeneratedShopDemonstrator(config.catalogue)
        return GeneratedShopDemonstrator(Panel.read(_panel_file(config, root)).catalogue)

    def anchors(self, observations: Sequence[str], actions: Sequence[str]) -> list[str]:
        """Return the page and what has been clicked since the last search: selected options do not show in its text."""
        from sg_pipeline.environments.webshop.session import parse_action

        clicked, found = set[str](), []
        for turn, observation in enumerate(observations):
            if turn and (call := parse_action(actions[turn - 1])) is not None:
                clicked = {*clicked, call[1]} if call[0] == "click" else set()
            found.append(f"{observation}|{sorted(clicked)}")
        return found

    def vocabulary(self) -> "Vocabulary":
        """Return the words of generated shops and of their demonstrations."""
        from sg_pipeline.environments.webshop.vocabulary import webshop_vocabulary

        return webshop_vocabulary()


def _panel_file(config: TasksConfig, root: Path) -> Path:
    return find_panel(config.panel, Path(__file__).parent / "panels", root)


def _prepare_official(config: TasksConfig, catalogue: "Catalogue", folder: Path) -> dict[str, Any]:
    """Prepare the authors' splits; one that begins behind the last goal is left out with a warning."""
    from sg_pipeline.environments.webshop.goals import SPLITS

    kind, count = config.goals, catalogue.goal_count(config.goals)
    splits: dict[str, list[Task]] = {}
    for split, (first, last) in SPLITS.items():
        end = min(count, last or count, count if config.limit is None else first + config.limit)
        if first >= end:
            report = "tasks: the data in %s have %d %s goals; split %s begins at %d and is left out"
            logger.warning(report, folder, count, kind, split, first)
            continue
        goals = ((position, catalogue.goal(kind, position)) for position in range(first, end))
        splits[split] = [
            Task(f"{kind}-{position:05d}", "webshop", split, goal.category, f"{kind}/{position}", goal.sha256)
            for position, goal in goals
        ]
    if not splits:
        raise DataError(f"WebShop's data folder {folder} has no {kind} goals: set tasks.goals to the other kind.")
    sha256 = hashlib.sha256(json.dumps([catalogue.sha256, kind, count]).encode()).hexdigest()
    source = f"official data, {kind} goals, {len(catalogue)} products"
    return prepared(splits, config.limit, sha256=sha256, source=source, data_root=str(folder))
