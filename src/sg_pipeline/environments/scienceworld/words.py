"""All words of the simulator's texts, for a word-level policy.

They are the words of the string constants in the jar's classes, names of variables left out:
`python -m sg_pipeline.environments.scienceworld.words` writes `words.txt` again.
"""

import re
import struct
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

WORDS = Path(__file__).parent / "words.txt"

OWN_WORDS = (
    *("positive", "neutral", "negative"),
    *("search", "bring", "it", "to", "take", "focus", "on", "put", "in", "go"),
    *("actions", "obj", "is", "a", "thing", "things", "here", "none"),
    "'outside'",
)
"""Words of guidance, of the adapter's own sentences, and the one that the lifespan tasks put in quotes."""

POT_NUMBERS = 12
"""Flower pots are the things that are numbered; "pot 6" is one token."""

_PACKAGES = ("scienceworld/", "main/scala/scienceworld/")
_LEFT_OUT = ("scienceworld/goldagent/", "scienceworld/runtime/")
_WORD = re.compile(r"(?<![\w'$-])[A-Za-z][a-z]*(?:['-][a-z]+)*(?![\w$])")
_CONSTANT_SIZES = {
    3: 4,
    4: 4,
    5: 8,
    6: 8,
    7: 2,
    8: 2,
    9: 4,
    10: 4,
    11: 4,
    12: 4,
    15: 3,
    16: 2,
    17: 4,
    18: 4,
    19: 2,
    20: 2,
}


@lru_cache(maxsize=1)
def simulator_words() -> tuple[str, ...]:
    """Return the words of the simulator's texts, lower case, sorted."""
    return tuple(WORDS.read_text(encoding="utf-8").split())


def words_of_jar(jar: Path) -> list[str]:
    """Return the words of the string constants in the simulator's classes, lower case, sorted."""
    found: set[str] = set()
    with zipfile.ZipFile(jar) as archive:
        for name in archive.namelist():
            if name.endswith(".class") and name.startswith(_PACKAGES) and not name.startswith(_LEFT_OUT):
                for text in _string_constants(archive.read(name)):
                    found.update(word.lower() for word in _WORD.findall(text))
    return sorted(found)


def _string_constants(content: bytes) -> Iterator[str]:
    """Yield the string literals of a class file (JVM specification, section 4.4)."""
    (count,) = struct.unpack_from(">H", content, 8)
    texts: dict[int, str] = {}
    literals: list[int] = []
    offset, index = 10, 1
    while index < count:
        tag = content[offset]
        if tag == 1:
            (length,) = struct.unpack_from(">H", content, offset + 1)
            texts[index] = content[offset + 3 : offset + 3 + length].decode("utf-8", "replace")
            offset += 3 + length
        else:
            if tag == 8:
                literals.append(struct.unpack_from(">H", content, offset + 1)[0])
            offset += 1 + _CONSTANT_SIZES[tag]
            index += tag in (5, 6)  # a long or double takes two places
        index += 1
    yield from (texts[literal] for literal in literals)


def main() -> None:
    """Write `words.txt`."""
    from sg_pipeline.environments.scienceworld.java import simulator_jar

    WORDS.write_text("\n".join(words_of_jar(simulator_jar())) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
