"""Vocabulary of a word-level tokenizer for a benchmark: words, numbered nouns, and text to drop."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

RECEPTACLE_NUMBERS = 12
"""In floor plans with up to 12 drawers or cabinets an instance is one token; higher numbers need two."""
ITEM_NUMBERS = 6
"""ALFWorld rooms rarely contain more than 4 of a kind; higher numbers need two tokens."""

PLAIN_ENGLISH = (
    (r",\s*and\b", " "),
    # The lookaround keeps words with these characters, which carry meaning.
    (r"\b(?:a|an|the|you|see|it|is|are)\b(?!['/-])", " "),
    (r"[.,:;!?\"()\[\]{}=]", " "),
)
"""Rewrites that drop articles, punctuation, and the verbs of descriptions."""

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
        phrases: words that always occur together, as one token ("go to").
        rewrites: (regular expression, plain text in its place), in order, on lower-cased text: text without information
            is dropped, and characters that are not part of a word are separated from it. A command must survive
            encoding and decoding.
        joins: (text, replacement), in order, on decoded text: restores the form of a command ("search[ tea ]").
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
        """Return this vocabulary with more plain words, without those that are already nouns."""
        known = {*self.receptacles, *self.items, *self.words}
        new = sorted({word.lower() for word in words} - known)
        return replace(self, words=(*self.words, *(word for word in new if _NOUN.fullmatch(word))))
