"""ScienceWorld as a benchmark: its tasks, its expert, its words."""

import gzip
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sg_pipeline.environments.base import Benchmark, Demonstrator, PanelTasks
from sg_pipeline.environments.panels import find_panel, prepared
from sg_pipeline.environments.scienceworld.java import find_java
from sg_pipeline.environments.scienceworld.panel import NAME, PANELS, read_panel, require_simulator
from sg_pipeline.errors import ConfigurationError, DataError

if TYPE_CHECKING:
    from sg_pipeline.policies.vocabulary import Vocabulary

SOLVED_PANELS = ("default", "small")
"""Panels whose kinds of training tasks are among the committed solutions."""

SOLUTIONS = Path(__file__).parent / "paths" / "default.json.gz"
"""Solutions of the training tasks of the panel `default`; see `make.py`."""

WORDS = Path(__file__).parent / "words.txt"
"""Every word of the simulator's texts, lower case, sorted; see `make.py`."""

_OWN_WORDS = """
    positive neutral negative search bring it to take focus on put in go actions obj is a thing things here none
    'outside'
"""
"""Words of guidance, of the environment's own sentences, and the one that the lifespan tasks put in quotes."""

_POT_NUMBERS = 12
"""Flower pots are the things that are numbered; "pot 6" is one token."""


class ScienceWorldBenchmark(Benchmark):
    """ScienceWorld: "default" has short tasks, "small" a few of them, "official" all 30 in the published splits."""

    name = NAME
    environment = "sg_pipeline.environments.scienceworld.environment:ScienceWorldEnvironment"

    def prepare(self, config: PanelTasks, games: Path, compiled: Path, root: Path) -> dict[str, Any]:
        """Read the panel, check Java and the simulator that the panel was made for; see `Benchmark`.

        Nothing is generated or compiled: the simulator makes a world in a twentieth of a second.
        """
        find_java()
        panel = read_panel(config.panel, root)
        require_simulator(panel.simulator, f"panel {config.panel!r}")
        source = f"official ScienceWorld variations, panel {config.panel}"
        return prepared(panel.tasks(), config.limit, sha256=panel.sha256, source=source, data_root=NAME)

    def inputs(self, config: PanelTasks, root: Path) -> Mapping[str, Path | Mapping[str, Path]]:
        """Return the panel's file, which names the simulator by its digest; see `Benchmark`."""
        return {"tasks.panel": find_panel(config.panel, PANELS, root)}

    def demonstrator(self, config: PanelTasks, games: Path, compiled: Path, root: Path) -> Demonstrator:
        """Return the expert on the panel's kinds of tasks, training variations only; see `Benchmark`."""
        from sg_pipeline.environments.scienceworld.demonstrations import ScienceWorldDemonstrator

        if config.panel not in SOLVED_PANELS:
            raise ConfigurationError(
                f"tasks.panel {config.panel!r} has no solved tasks for a warm start: the panels that have are "
                f"{', '.join(SOLVED_PANELS)}"
            )
        kinds = {task.task_type for task in read_panel(config.panel, root).tasks()["train"]}
        solutions = {key: path for key, path in read_solutions().items() if key.split("/")[0] in kinds}
        return ScienceWorldDemonstrator(solutions, compiled)

    def anchors(self, observations: Sequence[str], actions: Sequence[str]) -> list[str]:
        """Return the room that was last seen, the things here, and the question that the simulator asks, if any.

        The answer itself is left out: different actions lead to the same state with different answers.
        """
        from sg_pipeline.environments.scienceworld.environment import QUESTION, ROOM, THINGS

        room, found = "", []
        for observation in observations:
            if shown := ROOM.search(observation):
                room = shown[1]
            answer, _, things = observation.rpartition(THINGS)
            found.append(f"{room}|{things or observation}|{answer if answer.startswith(QUESTION) else ''}")
        return found

    def vocabulary(self) -> "Vocabulary":
        """Return every word of the simulator; see `Benchmark`."""
        from sg_pipeline.policies.vocabulary import Vocabulary

        words = {*WORDS.read_text(encoding="utf-8").split(), *_OWN_WORDS.split()} - {"pot"}
        return Vocabulary(("pot",), (), tuple(sorted(words)), receptacle_numbers=_POT_NUMBERS, item_numbers=0)


@lru_cache(maxsize=1)
def read_solutions() -> Mapping[str, tuple[str, ...]]:
    """Return the committed solutions: "NAME/VARIATION" -> actions.

    Raises:
        DataError: the file is damaged, or of another simulator.
    """
    try:
        content = json.loads(gzip.decompress(SOLUTIONS.read_bytes()))
        simulator, paths = content["simulator"], {key: tuple(actions) for key, actions in content["paths"].items()}
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"the solutions {SOLUTIONS} cannot be read ({type(error).__name__}: {error}); get the file again"
        ) from error
    require_simulator(simulator, f"the file of solutions {SOLUTIONS}")
    return paths
