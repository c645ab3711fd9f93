"""All words of the text games and of their demonstrations: what a word-level tokenizer must know.

Things are shown as kind and number ("mug 2"): kinds come from alfworld's tables, in lower case as the game shows
them. The words of `help`'s long answer are left out: no player needs that command.
"""

from alfworld.gen import constants

POLARITY_WORDS = ("positive", "neutral", "negative")


def _words(text: str) -> tuple[str, ...]:
    return tuple(sorted(set(text.split())))


GUIDANCE_WORDS = _words("find in take from clean heat cool with move to use at look around")
"""Every word of a demonstration's sub-goals, besides kinds and numbers."""

ACTION_WORDS = _words("go to open close take from move heat cool clean with use slice examine look inventory")
"""Every word of a command, besides kinds and numbers (and `help`)."""

TASK_WORDS = _words("put a in some on clean and it hot heat cool two find them look at under the examine with")
"""Every word of the goal library's sentences, besides kinds."""

OBSERVATION_WORDS = _words(
    """
    you are in the middle of a room looking quickly around see and your task is to
    arrive at on it open closed close pick up from move clean heat cool using turn sliced with
    nothing happens carrying not anything facing next this normal hot cold there's special about
    """
)
"""Every word of the engine's answers, lower-cased, besides kinds and numbers."""


def receptacle_kinds() -> tuple[str, ...]:
    """Return the kinds of receptacles that a game can have, sorted."""
    kinds = set(constants.VAL_RECEPTACLE_OBJECTS) - set(constants.MOVABLE_RECEPTACLES)
    return tuple(sorted(kind.lower() for kind in kinds))


def item_kinds() -> tuple[str, ...]:
    """Return the kinds of items and lamps that a game can have, sorted; a slice keeps the name of the whole."""
    kinds = {*constants.VAL_ACTION_OBJECTS["Toggleable"], *constants.MOVABLE_RECEPTACLES}
    kinds.update(*constants.VAL_RECEPTACLE_OBJECTS.values())
    return tuple(sorted(kind.lower() for kind in kinds if not kind.endswith("Sliced")))


def demo_vocabulary() -> tuple[str, ...]:
    """Return every word that observations, task sentences, actions and guidance can hold, lower case, sorted."""
    words = {*POLARITY_WORDS, *GUIDANCE_WORDS, *ACTION_WORDS, *TASK_WORDS, *OBSERVATION_WORDS}
    return tuple(sorted(words | set(receptacle_kinds()) | set(item_kinds())))
