"""WebShop as a benchmark: its goals, its expert in generated shops, its words."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg_pipeline.environments.benchmark import Demonstrator
from sg_pipeline.environments.webshop.tasks import TasksConfig, data_folder, panel_path, prepare_tasks
from sg_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from sg_pipeline.policies.vocabulary import Vocabulary


class WebshopBenchmark:
    """WebShop's purchases as text (see `benchmark.Benchmark`)."""

    name = "webshop"
    environment = "sg_pipeline.environments.webshop.environment:WebShopEnvironment"
    tasks_config = TasksConfig

    def prepare(self, config: TasksConfig, games: Path, compiled: Path, root: Path) -> dict[str, Any]:
        """Write, check and prepare the panel's catalogue; see `tasks.prepare_tasks`."""
        # A package that the reward lacks is rather told now than by a worker.
        import sg_pipeline.environments.webshop.reward  # noqa: F401

        return prepare_tasks(config, games, compiled, root)

    def inputs(self, config: TasksConfig, root: Path) -> Mapping[str, Path | Mapping[str, Path]]:
        """Return the panel's file, in which the catalogue is hashed, or the official files."""
        if config.source == "official":
            from sg_pipeline.environments.webshop.official import find_files

            return {"tasks.data": {path.name: path for path in find_files(data_folder(config, root)).paths()}}
        return {"tasks.panel": panel_path(config, root)} if config.source == "panel" else {}

    def demonstrator(self, config: TasksConfig, games: Path, compiled: Path, root: Path) -> Demonstrator:
        """Return the expert in shops like the panel's, with other products.

        Raises:
            ConfigurationError: the tasks are official ones, whose texts no word-level policy knows.
        """
        from sg_pipeline.environments.webshop.demonstrations import GeneratedShopDemonstrator
        from sg_pipeline.environments.webshop.generation.panel import read_panel

        if config.source == "official":
            raise ConfigurationError(
                "base_model.source 'warm_start' demonstrates in generated shops: set tasks.source to 'panel' or "
                "'generate'"
            )
        recipe = config.catalogue if config.source == "generate" else read_panel(panel_path(config, root)).catalogue
        return GeneratedShopDemonstrator(recipe)

    def vocabulary(self) -> "Vocabulary":
        """Return the words of generated shops and of their demonstrations."""
        from sg_pipeline.environments.webshop.vocabulary import webshop_vocabulary

        return webshop_vocabulary()
