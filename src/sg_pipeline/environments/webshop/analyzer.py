"""Text to index terms as Lucene's `EnglishAnalyzer` does it, which Pyserini uses by default.

    standard tokenizer ─► possessive 's removed ─► lower case ─► stop words removed ─► Porter's stem

The tokenizer follows the word boundaries of Unicode's annex 29 in the reading of Lucene's `StandardTokenizer`: a run
of letters and digits is a token, inner apostrophes and full stops join letters, inner commas and full stops join
digits; every Han or Hiragana sign is a separate token; text without letters, digits or emojis has none; tokens are cut
at 255 characters.
"""

from collections.abc import Iterator
from functools import lru_cache

from sg_pipeline.environments.base import requires_extra

with requires_extra("webshop"):
    import regex
    from lunr.stemmer import PorterStemmer

MAX_TOKEN_LENGTH = 255
"""Lucene's default; the rest of a longer token is another token."""

_STOP_WORDS = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they this "
    "to was will with"
)
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""`EnglishAnalyzer.ENGLISH_STOP_WORDS_SET`."""

_POSSESSIVE = ("'s", "'S", "\u2019s", "\u2019S", "\uff07s", "\uff07S")


# Unicode 12's Extended_Pictographic, which Lucene 9 was generated with; later versions have removed signs such as ★.
# It is listed here so that a new release of `regex` changes no ranking.
_PICTOGRAPHS = """
    A9 AE 203C 2049 2122 2139 2194-2199 21A9-21AA 231A-231B 2328 2388 23CF 23E9-23F3 23F8-23FA 24C2 25AA-25AB 25B6
    25C0 25FB-25FE 2600-2605 2607-2612 2614-2685 2690-2705 2708-2712 2714 2716 271D 2721 2728 2733-2734 2744 2747
    274C 274E 2753-2755 2757 2763-2767 2795-2797 27A1 27B0 27BF 2934-2935 2B05-2B07 2B1B-2B1C 2B50 2B55 3030 303D
    3297 3299 1F000-1F0FF 1F10D-1F10F 1F12F 1F16C-1F171 1F17E-1F17F 1F18E 1F191-1F19A 1F1AD-1F1E5 1F201-1F20F 1F21A
    1F22F 1F232-1F23A 1F23C-1F23F 1F249-1F3FA 1F400-1F53D 1F546-1F64F 1F680-1F6FF 1F774-1F77F 1F7D5-1F7FF
    1F80C-1F80F 1F848-1F84F 1F85A-1F85F 1F888-1F88F 1F8AE-1F8FF 1F90C-1F93A 1F93C-1F945 1F947-1FFFD
"""


def _token_pattern() -> str:
    """Return the grammar of `StandardTokenizerImpl.jflex` as a pattern."""
    more = r"[\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}]*"

    def sign(*properties: str) -> str:
        return rf"(?:[{''.join(properties)}]{more})"

    letter = sign(r"\p{WB=ALetter}", r"\p{WB=Hebrew_Letter}")
    digit = sign(r"\p{WB=Numeric}")
    katakana = sign(r"\p{WB=Katakana}")
    joiner = sign(r"\p{WB=ExtendNumLet}")
    mid_letter = sign(r"\p{WB=MidLetter}", r"\p{WB=MidNumLet}", r"\p{WB=Single_Quote}")
    mid_number = sign(r"\p{WB=MidNum}", r"\p{WB=MidNumLet}", r"\p{WB=Single_Quote}")
    letters = rf"{letter}(?:(?:{joiner}*|{mid_letter}){letter})*"
    digits = rf"{digit}(?:(?:{joiner}*|{mid_number}){digit})*"
    kana = rf"{katakana}(?:{joiner}*{katakana})*"
    group = rf"(?:{kana}|(?:{letters}|{digits})+)"
    word = rf"{joiner}*{group}(?:{joiner}+{group})*{joiner}*"
    keycap = r"[0-9#*]\uFE0F?\u20E3"
    flag = r"\p{WB=Regional_Indicator}{2}"
    ranges = ("-".join(rf"\U{end:0>8}" for end in one.split("-")) for one in _PICTOGRAPHS.split())
    part = rf"[{''.join(ranges)}][\U0001F3FB-\U0001F3FF]?\uFE0F?"
    emoji = rf"{part}(?:\u200D{part})*{more}"
    return rf"{keycap}|{flag}|{emoji}|{word}|\p{{LB=SA}}+|[\p{{Han}}\p{{Hiragana}}]{more}"


_TOKEN = regex.compile(_token_pattern(), regex.V1)
_WORDS = r"(?:[A-Za-z]+(?:(?:_+|[.':])[A-Za-z]+)*|[0-9]+(?:(?:_+|[.,;'])[0-9]+)*)+"
# The same for plain ASCII, a third faster over all; a test compares the two.
_ASCII_TOKEN = regex.compile(rf"_*{_WORDS}(?:_+{_WORDS})*_*", regex.V1 | regex.ASCII)


def tokenize(text: str) -> Iterator[str]:
    """Yield the tokens of `text` as the standard tokenizer cuts them, case kept."""
    pattern = _ASCII_TOKEN if text.isascii() else _TOKEN
    for match in pattern.finditer(text):
        token = match[0]
        for start in range(0, len(token), MAX_TOKEN_LENGTH):
            yield token[start : start + MAX_TOKEN_LENGTH]


@lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """Return Porter's stem of a lower-case word.

    lunr's stemmer has the two departures from the paper of 1980 that Lucene's has: `logi` -> `log`, and `bli` -> `ble`
    in place of `abli` -> `able`. snowballstemmer's "porter" is without them; nltk's is the same, but its import takes
    60 MB of every worker.
    """
    return str(_stemmer.stem(word))


_stemmer = PorterStemmer()


def analyze(text: str) -> list[str]:
    """Return the index terms of `text`, in order, repetitions kept."""
    terms = []
    for token in tokenize(text):
        word = (token[:-2] if token.endswith(_POSSESSIVE) else token).lower()
        if word and word not in STOP_WORDS:
            terms.append(stem(word))
    return terms
