"""How fast the two ALFWorld engines play the same games: `python benchmarks/alfworld_engine.py [FOLDER]`.

Plays random walks (possible commands, one in ten impossible) on the stock engine, replays them on the fast one,
checks that every text is the same, and prints CPU milliseconds of one core. Both engines run in this process,
one after the other on each game, so the ratios hold on a busy machine where the times do not.
"""

import argparse
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sg_pipeline.environments.alfworld import fast_engine
from sg_pipeline.environments.alfworld.environment import StockEngine
from sg_pipeline.environments.alfworld.fast_engine import FastEngine
from sg_pipeline.environments.alfworld.gamefile import GAME_FILE_NAME, GameFile, read_game
from sg_pipeline.environments.alfworld.rulebook import Answer
from sg_pipeline.errors import DataError

T = TypeVar("T")


class Clock:
    """Adds up CPU time by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)

    def run(self, name: str, function: Callable[[], T]) -> T:
        """Call `function` and book its CPU time under `name`."""
        start = time.process_time()
        result = function()
        self.seconds[name] += time.process_time() - start
        self.calls[name] += 1
        return result

    def mean(self, name: str) -> float:
        """Return milliseconds per call."""
        return 1000 * self.seconds[name] / max(1, self.calls[name])


Frame = tuple[Answer, tuple[str, ...]]
"""An answer and the commands that are possible after it."""


def walk(engine: StockEngine, game: GameFile, steps: int, clock: Clock) -> tuple[list[str], list[Frame]]:
    """Play a random walk on the stock engine; return its actions and frames."""
    rng = random.Random(game.sha256)
    frames = [(clock.run("stock reset", lambda: engine.start(game)), engine.admissible_commands())]
    actions: list[str] = []
    while len(actions) < steps and not frames[-1][0].won:
        action = "stare at the wall" if rng.random() < 0.1 else rng.choice(frames[-1][1])
        actions.append(action)
        answer = clock.run("stock step", lambda command=action: engine.step(command))  # type: ignore[misc]
        frames.append((answer, engine.admissible_commands()))
    return actions, frames


def replay(engine: FastEngine, game: GameFile, actions: list[str], clock: Clock, names: tuple[str, str]) -> list[Frame]:
    """Play the same actions on the fast engine."""
    frames = [(clock.run(names[0], lambda: engine.start(game)), engine.admissible_commands())]
    for action in actions:
        answer = clock.run(names[1], lambda command=action: engine.step(command))  # type: ignore[misc]
        frames.append((answer, engine.admissible_commands()))
    return frames


def forget() -> None:
    """Drop the games that the fast engine keeps loaded, so that the next one comes from disk."""
    for game in fast_engine._games.values():
        game.close()
    fast_engine._games.clear()


def measure(game: GameFile, steps: int, clock: Clock, engines: tuple[StockEngine, FastEngine]) -> int:
    """Time one game on both engines; return the number of steps played."""
    stock, fast = engines
    actions, frames = walk(stock, game, steps, clock)
    clock.run("fast reset, never compiled", lambda: fast.start(game))
    fast.close()
    forget()
    first = replay(fast, game, actions, clock, ("fast reset, compiled on disk", "fast step, new state"))
    second = replay(fast, game, actions, clock, ("fast reset, game in play", "fast step, seen state"))
    fast.close()
    forget()
    if not frames == first == second:
        raise SystemExit(f"The engines differ on {game.path}.")
    return len(actions)


def generated_games(folder: Path, count: int) -> None:
    """Write generated games of every task type."""
    from sg_pipeline.environments.alfworld.generation.floor_plans import floor_plans_of
    from sg_pipeline.environments.alfworld.generation.problem import game_file
    from sg_pipeline.environments.alfworld.generation.sampler import Difficulty, sample_scene
    from sg_pipeline.environments.alfworld.rulebook import TASK_TYPES
    from sg_pipeline.randomness import stream

    for number in range(count):
        task_type = TASK_TYPES[number % len(TASK_TYPES)]
        plan = floor_plans_of(task_type, unseen=False)[number]
        path = folder / f"{number:03}" / GAME_FILE_NAME
        path.parent.mkdir()
        path.write_bytes(game_file(sample_scene(stream(0, "benchmark", number), plan, task_type, Difficulty())))


def playable_games(folder: Path, count: int) -> list[GameFile]:
    """Return `count` playable games, spread over the folder."""
    paths = sorted(folder.rglob(GAME_FILE_NAME))
    games: list[GameFile] = []
    for path in paths[:: max(1, len(paths) // (2 * count))]:
        try:
            games.append(read_game(path))
        except DataError:  # Official folders hold unsolvable games, too.
            continue
    return games[:count]


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="folder of game.tw-pddl files (default: generated games)")
    parser.add_argument("--games", type=int, default=6, help="games to play (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=30, help="steps per game (default: %(default)s)")
    options = parser.parse_args()
    clock = Clock()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder
        if folder is None:
            folder = Path(scratch) / "games"
            folder.mkdir()
            generated_games(folder, options.games)
        games = playable_games(folder, options.games)
        if not games:
            raise SystemExit(f"No playable {GAME_FILE_NAME} in {folder}.")
        engines = (StockEngine(), FastEngine(Path(scratch) / "cache"))
        engines[0].start(games[0])  # Imports and the grammar's parser are not what is measured.
        steps = sum(measure(game, options.steps, clock, engines) for game in games)
    print(f"{len(games)} games, {steps} steps each way, every text the same; CPU ms per call:")
    for name in clock.seconds:
        ratio = clock.mean(f"stock {'reset' if 'reset' in name else 'step'}") / clock.mean(name)
        print(f"  {name:30} {clock.mean(name):9.2f}   {ratio:8.1f} x stock")
    for name in ("stock step", "fast step, new state", "fast step, seen state"):
        print(f"  {1000 / clock.mean(name):12.0f} env steps per second and core: {name}")


if __name__ == "__main__":
    main()
