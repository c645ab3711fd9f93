"""What a word-level tokenizer knows of a benchmark's texts: words, nouns that are numbered, and what to leave out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

RECEPTACLE_NUMBERS = 12
"""Floor plans of up to 12 drawers or cabinets are read at one token an instance; higher numbers cost two."""
ITEM_NUMBERS = 6
"""ALFWorld rooms rarely hold more than 4 of a kind; higher numbers cost two tokens."""

PLAIN_ENGLISH = (
    (r",\s*and\b", " "),
    # Lookarounds keep what carries meaning.
    (r"\b(?:a|an|the|you|see|it|is|are)\b(?!['/-])", " "),
    (r"[.,:;!?\"()\[\]{}=]", " "),
)
"""Rewrites that drop articles, punctuation, and the verbs by which a game says what is there."""

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
        phrases: words that always go together, as one token ("go to").
        rewrites: (regular expression, plain text in its place), in order, on lower-cased text: what tells the policy
            nothing is dropped, what is no part of a word is set apart from it. A command must still be itself when it
            is decoded.
        joins: (text, replacement), in order, on decoded text: what puts a command back into its form ("search[ tea ]").
    """

    receptacles: tuple[str, ...]
    items: tuple[str, ...]
    words: tuple[str, ...]
    receptacle_numbers: int = RECEPTACLE_NUMBERS
    item_numbers: int = ITEM_NUMBERS
    phrases: tuple[str, ...] = ()
    rewrites: tuple[tuple[str, str], ...] = PLAIN_ENGLISH
    joins: tuple[tuple[str, str], ...] = ()

    def with_words(self, words: Iterable[str]) -> Vocabulary:
        """Return this vocabulary with more plain words; those that are nouns already are left out."""
        known = {*self.receptacles, *self.items, *self.words}
        new = sorted({word.lower() for word in words} - known)
        return replace(self, words=(*self.words, *(word for word in new if _NOUN.fullmatch(word))))
