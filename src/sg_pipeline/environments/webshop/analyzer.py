"""Text to index terms as Lucene's `EnglishAnalyzer` does it, which Pyserini uses by default.

    standard tokenizer ─► possessive 's off ─► lower case ─► stop words out ─► Porter's stem

The tokenizer follows the word boundaries of Unicode's annex 29 in the reading of Lucene's `StandardTokenizer`: a run
of letters and digits is a token, inner apostrophes and full stops join letters, inner commas and full stops join
digits; every Han or Hiragana sign is a token of its own; what holds no letter, digit or emoji is none; tokens are cut
at 255 characters.
"""

from collections.abc import Iterator

import regex

from sg_pipeline.environments.webshop.porter import stem

MAX_TOKEN_LENGTH = 255
"""Lucene's default; what is longer goes on as another token."""

_STOP_WORDS = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they this "
    "to was will with"
)
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""`EnglishAnalyzer.ENGLISH_STOP_WORDS_SET`."""

_POSSESSIVE = ("'s", "'S", "\u2019s", "\u2019S", "\uff07s", "\uff07S")


# Unicode 12's Extended_Pictographic, which Lucene 9 was generated with; later versions of Unicode have taken signs such
# as ★ out again. Ranges, so that a new release of `regex` changes no ranking.
_PICTOGRAPHS = "".join(
    rf"\U{first:08X}-\U{last:08X}"
    for first, last in (
        (0xA9, 0xA9),
        (0xAE, 0xAE),
        (0x203C, 0x203C),
        (0x2049, 0x2049),
        (0x2122, 0x2122),
        (0x2139, 0x2139),
        (0x2194, 0x2199),
        (0x21A9, 0x21AA),
        (0x231A, 0x231B),
        (0x2328, 0x2328),
        (0x2388, 0x2388),
        (0x23CF, 0x23CF),
        (0x23E9, 0x23F3),
        (0x23F8, 0x23FA),
        (0x24C2, 0x24C2),
        (0x25AA, 0x25AB),
        (0x25B6, 0x25B6),
        (0x25C0, 0x25C0),
        (0x25FB, 0x25FE),
        (0x2600, 0x2605),
        (0x2607, 0x2612),
        (0x2614, 0x2685),
        (0x2690, 0x2705),
        (0x2708, 0x2712),
        (0x2714, 0x2714),
        (0x2716, 0x2716),
        (0x271D, 0x271D),
        (0x2721, 0x2721),
        (0x2728, 0x2728),
        (0x2733, 0x2734),
        (0x2744, 0x2744),
        (0x2747, 0x2747),
        (0x274C, 0x274C),
        (0x274E, 0x274E),
        (0x2753, 0x2755),
        (0x2757, 0x2757),
        (0x2763, 0x2767),
        (0x2795, 0x2797),
        (0x27A1, 0x27A1),
        (0x27B0, 0x27B0),
        (0x27BF, 0x27BF),
        (0x2934, 0x2935),
        (0x2B05, 0x2B07),
        (0x2B1B, 0x2B1C),
        (0x2B50, 0x2B50),
        (0x2B55, 0x2B55),
        (0x3030, 0x3030),
        (0x303D, 0x303D),
        (0x3297, 0x3297),
        (0x3299, 0x3299),
        (0x1F000, 0x1F0FF),
        (0x1F10D, 0x1F10F),
        (0x1F12F, 0x1F12F),
        (0x1F16C, 0x1F171),
        (0x1F17E, 0x1F17F),
        (0x1F18E, 0x1F18E),
        (0x1F191, 0x1F19A),
        (0x1F1AD, 0x1F1E5),
        (0x1F201, 0x1F20F),
        (0x1F21A, 0x1F21A),
        (0x1F22F, 0x1F22F),
        (0x1F232, 0x1F23A),
        (0x1F23C, 0x1F23F),
        (0x1F249, 0x1F3FA),
        (0x1F400, 0x1F53D),
        (0x1F546, 0x1F64F),
        (0x1F680, 0x1F6FF),
        (0x1F774, 0x1F77F),
        (0x1F7D5, 0x1F7FF),
        (0x1F80C, 0x1F80F),
        (0x1F848, 0x1F84F),
        (0x1F85A, 0x1F85F),
        (0x1F888, 0x1F88F),
        (0x1F8AE, 0x1F8FF),
        (0x1F90C, 0x1F93A),
        (0x1F93C, 0x1F945),
        (0x1F947, 0x1FFFD),
    )
)


def _token_pattern() -> str:
    """Return the grammar of `StandardTokenizerImpl.jflex` as a pattern ."""
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
    part = rf"[{_PICTOGRAPHS}][\U0001F3FB-\U0001F3FF]?\uFE0F?"
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


def analyze(text: str) -> list[str]:
    """Return the index terms of `text`, in order, repetitions kept."""
    terms = []
    for token in tokenize(text):
        word = (token[:-2] if token.endswith(_POSSESSIVE) else token).lower()
        if word and word not in STOP_WORDS:
            terms.append(stem(word))
    return terms
