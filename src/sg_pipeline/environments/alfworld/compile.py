"""Compiling the games of a panel ahead of time, so that no rollout waits for a translation."""

import logging
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from sg_pipeline.environments.alfworld.fast_engine import compile_game
from sg_pipeline.environments.alfworld.gamefile import read_game
from sg_pipeline.errors import DataError, EnvironmentFailure

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CompileCounts:
    """What `compile_panel` did.

    Attributes:
        games: different games among the paths.
        translated: of these, made now.
        cached: of these, found whole in the cache.
    """

    games: int
    translated: int
    cached: int


def compile_panel(paths: Iterable[Path], cache_dir: Path, workers: int = 1) -> CompileCounts:
    """Compile games into the disk cache of the fast engine.

    Games already there are left alone, damaged ones are made again. What is written depends on the game's
    bytes and the library versions only, not on `workers`.

    Args:
        paths: the game files; one that appears twice, or has the bytes of another, is compiled once.
        cache_dir: the cache folder; made where missing.
        workers: processes to use; 1 works in this one.

    Returns:
        The counts.

    Raises:
        DataError: a game does not load; the others are compiled all the same, and the first bad one is named.
        EnvironmentFailure: a worker process died.
    """
    unique = {read_game(path).sha256: path for path in reversed([Path(path) for path in paths])}
    todo = [(path, Path(cache_dir)) for path in sorted(unique.values())]
    if workers <= 1 or len(todo) <= 1:
        outcomes = _with_progress(map(_compile_one, todo), len(todo))
    else:
        with ProcessPoolExecutor(min(workers, len(todo)), mp_context=get_context("spawn")) as pool:
            try:
                outcomes = _with_progress(pool.map(_compile_one, todo, chunksize=4), len(todo))
            except BrokenProcessPool as error:
                raise EnvironmentFailure(
                    f"A process died while it compiled {len(todo)} ALFWorld games into {cache_dir}; run it again, "
                    "with fewer workers where memory is short."
                ) from error
    failures = [outcome for outcome in outcomes if isinstance(outcome, str)]
    if failures:
        raise DataError(failures[0] if len(failures) == 1 else f"{failures[0][:-1]} ({len(failures)} games in all).")
    translated = sum(outcome is True for outcome in outcomes)
    return CompileCounts(games=len(todo), translated=translated, cached=len(todo) - translated)


def _with_progress(outcomes: Iterable[bool | str], count: int) -> list[bool | str]:
    """Collect the outcomes; say now and then how far it is where games are really translated (a minute or two)."""
    done: list[bool | str] = []
    translated = 0
    for outcome in outcomes:
        done.append(outcome)
        translated += outcome is True
        if translated and len(done) % 100 == 0:
            logger.info("compiling ALFWorld games, once for all runs: %d of %d", len(done), count)
    return done


def _compile_one(item: tuple[Path, Path]) -> bool | str:
    """Compile one game; return whether it was translated, or what is wrong with it."""
    path, cache_dir = item
    try:
        return compile_game(read_game(path), cache_dir)[1]
    except DataError as error:
        return str(error)
