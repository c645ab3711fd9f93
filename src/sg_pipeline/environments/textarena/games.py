"""TextArena's single-player games: the forms of their commands, and why some games are not played.

The name of a game, "FrozenLake-v0-hardcore", begins with its family, "FrozenLake".
"""

import difflib

from sg_pipeline.errors import ConfigurationError

_MOVES = ("[up]", "[down]", "[left]", "[right]")

FORMS: dict[str, tuple[str, ...]] = {
    "2048": _MOVES,
    "Bandit": ("[button]",),
    "Blackjack": ("[hit]", "[stand]"),
    "Crosswords": ("[row column letter]",),
    "FrozenLake": _MOVES,
    "GuessTheNumber": ("[number]",),
    "LightsOut": ("[row column]",),
    "LogicPuzzle": ("[item item X]", "[item item O]"),
    "Mastermind": ("[digit digit ...]",),
    "Minesweeper": ("[row column]",),
    "RushHour": ("[car+]", "[car-]"),
    "Secretary": ("[accept]", "[continue]"),
    "Set": ("[card, card, card]",),
    "Sokoban": _MOVES,
    "Sudoku": ("[row column digit]",),
}
"""Family that can be played -> the forms of its commands."""

FULL_REWARD = {"Set": 20.0}
"""Family -> the reward of a solved game where it is not 1: Set pays 1 for each set, in 20 turns."""

REFUSED = {
    ("BabyAiText",): "it needs the package babyai, which is not on PyPI",
    ("Countdown", "Cryptarithm", "PegJump", "TowerOfHanoi"): "it starts the same way for every seed",
    ("FifteenPuzzle",): "textarena 0.7.4 raises an error when it is solved",
    ("GuessWho", "TwentyQuestions"): "a language model of OpenRouter answers the player",
    ("Hangman", "WordLadder", "WordSearch", "Wordle"): "it downloads word lists with nltk",
    ("Klondike", "UltimateTexasHoldem"): "its module in textarena 0.7.4 has a syntax error in Python 3.11",
    ("Slitherlink", "ThreeCardMonte"): "textarena 0.7.4 confuses the reward and the reason of an invalid action",
}
"""Single-player families that cannot be played -> the reason."""


def family(game: str) -> str:
    """Return the family of a game."""
    return game.partition("-v")[0]


def check_game(game: str) -> None:
    """Raise `ConfigurationError` if the installed library does not have this game, or it cannot be played."""
    from textarena.envs.registration import ENV_REGISTRY

    if game not in ENV_REGISTRY:
        playable = [name for name in ENV_REGISTRY if family(name) in FORMS]
        nearest = difflib.get_close_matches(game, playable, n=1, cutoff=0.0)[0]
        raise ConfigurationError(f"tasks.games: textarena has no game {game!r}, did you mean {nearest!r}?")
    for families, reason in REFUSED.items():
        if family(game) in families:
            raise ConfigurationError(f"tasks.games: textarena's {game!r} cannot be played here, because {reason}")
    if family(game) not in FORMS:
        playable = sorted(FORMS)
        raise ConfigurationError(
            f"tasks.games: textarena's {game!r} is not a game for one player; those are {', '.join(playable)}"
        )
