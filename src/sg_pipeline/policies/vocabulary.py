"""Which words a word-level tokenizer knows: nouns that are numbered, and everything else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

RECEPTACLE_NUMBERS = 12
"""Floor plans of up to 12 drawers or cabinets are read at one token an instance; higher numbers cost two."""
ITEM_NUMBERS = 6
"""ALFWorld rooms rarely hold more than 4 of a kind; higher numbers cost two tokens."""

# What the ALFWorld grammar (both data versions), the task templates and guidance texts say besides nouns.
_ALFWORLD_WORDS = """
    room task facing next nothing happens open closed carrying not anything pick from on off in into in/on onto to
    arrive at loc turn heat clean cool hot cold slice sliced using with move put take go look inventory examine
    use close help special about normal this don't any switch up some two them find under and for then done
    positive neutral negative place drop search again wrong way good bad lamp plan first second other
    available commands
"""
_ALFWORLD_EXTRA_NOUNS = ("faucet", "lamp", "loc", "showercurtain", "showerhead")
_NOUN = re.compile(r"[a-z][a-z/'-]*")


@dataclass(frozen=True)
class Vocabulary:
    """Words for `tokenizer.build_tokenizer`; order does not matter, duplicates are dropped.

    Attributes:
        receptacles: nouns with instance tokens "noun 1" to "noun <receptacle_numbers>".
        items: nouns with instance tokens "noun 1" to "noun <item_numbers>".
        words: all other words (lower case, no spaces).
        receptacle_numbers: highest receptacle number that is one token.
        item_numbers: highest item number that is one token.
    """

    receptacles: tuple[str, ...]
    items: tuple[str, ...]
    words: tuple[str, ...]
    receptacle_numbers: int = RECEPTACLE_NUMBERS
    item_numbers: int = ITEM_NUMBERS

    def with_words(self, words: Iterable[str]) -> Vocabulary:
        """Return this vocabulary with more plain words; those that are nouns already are left out."""
        known = {*self.receptacles, *self.items, *self.words}
        new = sorted({word.lower() for word in words} - known)
        return replace(self, words=(*self.words, *(word for word in new if _NOUN.fullmatch(word))))


def alfworld_vocabulary(
    extra_words: Iterable[str] = (), receptacle_numbers: int = RECEPTACLE_NUMBERS, item_numbers: int = ITEM_NUMBERS
) -> Vocabulary:
    """Return the words of ALFWorld's text games, from the object lists that the alfworld package ships.

    Args:
        extra_words: words of prompts, guidance texts and the like; nouns among them are recognised.
        receptacle_numbers: highest receptacle number that is one token.
        item_numbers: highest item number that is one token.
    """
    from alfworld.gen import constants

    receptacles = {name.lower() for name in constants.STATIC_RECEPTACLES}
    items = {name.lower() for name in constants.OBJECTS_SET} | set(_ALFWORLD_EXTRA_NOUNS)
    vocabulary = Vocabulary(
        receptacles=tuple(sorted(receptacles)),
        items=tuple(sorted(items - receptacles)),
        words=(),
        receptacle_numbers=receptacle_numbers,
        item_numbers=item_numbers,
    )
    return vocabulary.with_words([*_ALFWORLD_WORDS.split(), *extra_words])
