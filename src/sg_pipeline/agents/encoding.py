"""Encodes text so that only the chat template writes control tokens.

An observation, a note or a command may contain `<|im_end|>` or `</action>`. As a token it would end a turn or speak for
another role, so it is encoded as its characters: it is cut after the first one, and the parts are encoded separately.
Text without such words is encoded as a whole, template included.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Part = tuple[str, Collection[str]]
"""A text, and the control words (in lower case) that must not become tokens in it."""


class Encoder:
    """Encodes the parts of a context, for one tokenizer.

    Attributes:
        control: all control words, in lower case: the text of special tokens, and of added tokens that are not plain
            words or white space. Tokenizers that ignore case match upper case as well.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Collect the tokenizer's control words."""
        self._tokenizer = tokenizer
        self.control = frozenset(
            token.content.lower()
            for token in tokenizer.added_tokens_decoder.values()
            if len(token.content) > 1
            and token.content.strip()
            and (token.special or not re.fullmatch(r"[\w\s'-]+", token.content))
        )
        # The longest first: one may be the beginning of another.
        words = sorted(self.control, key=lambda word: (-len(word), word))
        # There may be thousands of words: search only where one may begin.
        first = "".join(sorted({re.escape(word[0]) for word in words}))
        pattern = f"(?=[{first}])(?:{'|'.join(map(re.escape, words))})" if words else "(?!)"
        self._control = re.compile(pattern, re.IGNORECASE)

    def words(self, text: str) -> set[str]:
        """Return the control words in `text`."""
        return {found.lower() for found in self._control.findall(text)}

    def encode(self, *parts: Part) -> list[int]:
        """Return the tokens of the parts together."""
        text = "".join(part for part, _ in parts)
        pieces, start, position = [], 0, 0
        while found := self._control.search(text, position):
            position = found.end()
            if not _may_stand(found, parts):
                position = found.start() + 1
                pieces.append(text[start:position])
                start = position
        pieces.append(text[start:])
        return [token for number, piece in enumerate(pieces) for token in self._encode(piece, first=number == 0)]

    def _encode(self, text: str, first: bool) -> list[int]:
        """Encode a piece; after another one without the space that some tokenizers put before a text."""
        ids = list(self._tokenizer.encode(text, add_special_tokens=False))
        if first or not text:
            return ids
        line = list(self._tokenizer.encode("\n", add_special_tokens=False))
        behind = list(self._tokenizer.encode(f"\n{text}", add_special_tokens=False))
        return behind[len(line) :] if behind[: len(line)] == line else ids


def _may_stand(found: re.Match[str], parts: Sequence[Part]) -> bool:
    """Return whether a control word is within one part that may contain it as a token."""
    start = 0
    for text, forbidden in parts:
        if start <= found.start() < start + len(text):
            return found.end() <= start + len(text) and found[0].lower() not in forbidden
        start += len(text)
    return False


def decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
    """Return the text of `ids` as it is, without the clean-up that some tokenizers do by default."""
    text = tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)
    return text
