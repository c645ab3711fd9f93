"""Large JSON files, one entry at a time: the official products are one array of several gigabytes."""

import codecs
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sg_pipeline.errors import DataError

_CHUNK = 1 << 20
_DECODER = json.JSONDecoder()
_SPACE = " \t\r\n"


class JsonStream:
    """Reads the top-level array or object of a JSON file entry by entry, and knows the file's digest at the end."""

    def __init__(self, path: Path) -> None:
        """Open nothing yet; `path` is named in every error."""
        self.path = path
        self._digest = hashlib.sha256()
        self._text = ""
        self._place = 0
        self._file: Any = None
        self._utf8 = codecs.getincrementaldecoder("utf-8")()

    @property
    def sha256(self) -> str:
        """Digest of the whole file, once it was read to its end."""
        return self._digest.hexdigest()

    def elements(self) -> Iterator[Any]:
        """Yield the elements of a top-level array.

        Raises:
            DataError: the file is missing, truncated, or something else.
        """
        for _ in self._entries("[", "]"):
            yield self._value()

    def pairs(self) -> Iterator[tuple[str, Any]]:
        """Yield the pairs of a top-level object. Errors as `elements`."""
        for _ in self._entries("{", "}"):
            key = self._value()
            if not isinstance(key, str) or self._next() != ":":
                raise self._wrong(f"a name and a colon were expected, found {key!r}")
            self._place += 1
            yield key, self._value()

    def _entries(self, opening: str, closing: str) -> Iterator[None]:
        """Yield before each entry, with the place on its first sign."""
        try:
            self._file = self.path.open("rb")
        except OSError as error:
            raise DataError(f"WebShop's file {self.path} cannot be opened ({error.strerror}).") from error
        with self._file:
            first = self._next()
            if first != opening:
                kind = {"[": "an array", "{": "an object"}[opening]
                raise self._wrong(f"{kind} was expected, but the file begins with {first!r}")
            self._place += 1
            sign = self._next()
            while sign != closing:
                yield
                sign = self._next()
                if sign not in (",", closing):
                    raise self._wrong(f"',' or '{closing}' was expected, found {sign!r}")
                if sign == ",":
                    self._place += 1
                    if self._next() == closing:
                        raise self._wrong("an entry was expected behind the last comma")
            self._place += 1
            if self._next():
                raise self._wrong(f"nothing was expected behind the closing '{closing}'")

    def _next(self) -> str:
        """Return the next sign that is no space, without taking it; "" at the end."""
        while True:
            while self._place < len(self._text):
                if self._text[self._place] not in _SPACE:
                    return self._text[self._place]
                self._place += 1
            if not self._more():
                return ""

    def _value(self) -> Any:
        if not self._next():
            raise self._wrong("it is truncated")
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                # Not to be told apart from an entry that goes on: more text decides.
                if not self._more():
                    raise self._wrong(f"it is truncated or no JSON ({error.msg})") from error
                continue
            if end < len(self._text) or not self._more():  # A number may go on in the next chunk.
                self._place = end
                return value

    def _more(self) -> bool:
        """Read on; entries that were taken are dropped."""
        chunk = self._file.read(max(_CHUNK, len(self._text) - self._place))
        self._digest.update(chunk)
        try:
            text = self._utf8.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            raise self._wrong(f"it is no UTF-8 text ({error.reason})") from error
        self._text = self._text[self._place :] + text
        self._place = 0
        return bool(chunk)

    def _wrong(self, what: str) -> DataError:
        return DataError(
            f"WebShop's file {self.path} cannot be read as JSON: {what}; download it again, or correct the folder."
        )
