"""Where a prepared panel's games lie, and what to do when one of them is damaged."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sg_pipeline.errors import DataError


@contextmanager
def games_of(panel: dict[str, Any], games: Path) -> Iterator[Path]:
    """Yield the folder that the panel's paths start from; a game that does not load is told with the way on.

    Args:
        panel: the prepared panel.
        games: folder of generated games; official ones have a place of their own.
    """
    try:
        yield games / panel["data_root"]
    except DataError as error:
        raise DataError(
            f"{str(error).rstrip('.')}; the same command with --pipeline=tasks checks all games and makes generated "
            f"ones anew"
        ) from error
