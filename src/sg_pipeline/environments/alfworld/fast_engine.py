"""The fast engine: plays what the stock engine plays, with every piece of work done once and shared.

game file ──► compiled game (disk cache) ──► game in play (one per process) ──► episodes (one per engine)
"""

from collections import OrderedDict
from pathlib import Path

from sg_pipeline.environments.alfworld.compiled import CompiledGame, load_cached, store_cached
from sg_pipeline.environments.alfworld.engine import Frame
from sg_pipeline.environments.alfworld.game_in_play import NOTHING_HAPPENS, GameInPlay, State
from sg_pipeline.environments.alfworld.gamefile import GameFile, loading
from sg_pipeline.environments.alfworld.translation import translate
from sg_pipeline.errors import ConfigurationError

_MAX_IDLE_GAMES = 16  # Games without an episode that stay loaded; one takes about 6 MB.

_games: OrderedDict[str, GameInPlay] = OrderedDict()


class FastEngine:
    """Plays games as `StockEngine` does, frame for frame, at a fraction of its cost."""

    def __init__(self, admissible: bool = False, cache_dir: Path | None = None) -> None:
        self._admissible = admissible
        self._cache_dir = cache_dir
        self._game: GameInPlay | None = None
        self._state: State | None = None
        self._path = Path()

    def start(self, game: GameFile) -> Frame:
        """See `Engine.start`."""
        self.close()
        self._path = game.path
        self._game = acquire(game, self._cache_dir)
        self._state = self._game.start
        return self._frame(self._game.intro, self._state, valid=True, started=True)

    def step(self, command: str) -> Frame:
        """See `Engine.step`."""
        if self._game is None or self._state is None:
            raise RuntimeError("FastEngine.step was called before start.")
        with loading(self._path):
            played = self._game.play(self._state, command.strip())
        if played is None:
            return self._frame(NOTHING_HAPPENS, self._state, valid=False)
        feedback, self._state = played
        return self._frame(feedback, self._state, valid=True)

    def close(self) -> None:
        """See `Engine.close`."""
        if self._game is not None:
            release(self._game)
            self._game = self._state = None

    def _frame(self, feedback: str, state: State, valid: bool, started: bool = False) -> Frame:
        return Frame(
            feedback=feedback,
            won=state.won,
            done=state.won,
            score=0 if started else int(state.won),
            valid=valid,
            admissible=tuple(sorted(state.commands)) if self._admissible else None,
        )


def compile_game(game: GameFile, cache_dir: Path | None) -> tuple[CompiledGame, bool]:
    """Return the compiled game, from the disk cache where it is there, and whether it had to be translated.

    Raises:
        DataError: the game does not load.
        ConfigurationError: the cache folder cannot be written.
    """
    if cache_dir is not None:
        cached = load_cached(cache_dir, game.sha256)
        if cached is not None:
            return cached, False
    compiled = translate(game)
    if cache_dir is not None:
        try:
            store_cached(cache_dir, game.sha256, compiled)
        except OSError as error:
            raise ConfigurationError(
                f"The folder for compiled ALFWorld games, {cache_dir}, cannot be written: {error.strerror}."
            ) from error
    return compiled, True


def acquire(game: GameFile, cache_dir: Path | None) -> GameInPlay:
    """Return the process's one copy of a game, loaded where need be; `release` it when the episode is over."""
    loaded = _games.get(game.sha256)
    if loaded is None:
        compiled, _ = compile_game(game, cache_dir)
        with loading(game.path):
            loaded = _games[game.sha256] = GameInPlay(compiled)
    _games.move_to_end(game.sha256)
    loaded.users += 1
    idle = [key for key, other in _games.items() if other.users == 0]
    for key in idle[: max(0, len(idle) - _MAX_IDLE_GAMES)]:
        _games.pop(key).close()
    return loaded


def release(game: GameInPlay) -> None:
    """Say that an episode of `game` is over; the game stays loaded until others need its place."""
    game.users -= 1
