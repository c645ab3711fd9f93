"""Porter's stemmer as Lucene's `PorterStemFilter` has it.

Source: M.F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980, with the two departures of the author's
own later code, which Lucene keeps: `logi` -> `log`, and `bli` -> `ble` in place of `abli` -> `able`. snowballstemmer's
"porter" is the algorithm of 1980, without them.
"""

from functools import lru_cache

_VOWELS = frozenset("aeiou")

_STEP_2 = (
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("bli", "ble"),
    ("alli", "al"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
    ("logi", "log"),
)
_STEP_3 = (
    ("icate", "ic"),
    ("ative", ""),
    ("alize", "al"),
    ("iciti", "ic"),
    ("ical", "ic"),
    ("ful", ""),
    ("ness", ""),
)
_STEP_4_WORDS = "al ance ence er ic able ible ant ement ment ent sion tion ou ism ate iti ous ive ize"
_STEP_4 = tuple(_STEP_4_WORDS.split())


@lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """Return the stem of a lower-case word; words of one or two letters are left as they are."""
    if len(word) <= 2:
        return word
    word = _step_1(word)
    word = _replace(word, _STEP_2)
    word = _replace(word, _STEP_3)
    word = _step_4(word)
    return _step_5(word)


def _forms(word: str) -> str:
    """Return "c" or "v" for each letter; y is a vowel after a consonant."""
    forms: list[str] = []
    for letter in word:
        vowel = letter in _VOWELS or (letter == "y" and bool(forms) and forms[-1] == "c")
        forms.append("v" if vowel else "c")
    return "".join(forms)


def _measure(word: str) -> int:
    """Return m of [C](VC)^m[V]."""
    return _forms(word).count("vc")


def _double_consonant(word: str) -> bool:
    return len(word) > 1 and word[-1] == word[-2] and _forms(word)[-1] == "c"


def _short(word: str) -> bool:
    """Say whether it ends consonant, vowel, consonant, the last one not w, x or y."""
    return len(word) > 2 and _forms(word).endswith("cvc") and word[-1] not in "wxy"


def _step_1(word: str) -> str:
    if word.endswith("sses") or word.endswith("ies"):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    if word.endswith("eed"):
        if _measure(word[:-3]) > 0:
            word = word[:-1]
    else:
        for suffix in ("ed", "ing"):
            if word.endswith(suffix) and "v" in _forms(word[: -len(suffix)]):
                word = _mend(word[: -len(suffix)])
                break
    if word.endswith("y") and "v" in _forms(word[:-1]):
        word = word[:-1] + "i"
    return word


def _mend(word: str) -> str:
    """Give a word that has lost -ed or -ing its proper end."""
    if word.endswith(("at", "bl", "iz")):
        return word + "e"
    if _double_consonant(word) and word[-1] not in "lsz":
        return word[:-1]
    if _measure(word) == 1 and _short(word):
        return word + "e"
    return word


def _replace(word: str, rules: tuple[tuple[str, str], ...]) -> str:
    """Apply the rule of the longest suffix that `word` has, where what stays before it has a measure above 0."""
    found = [(suffix, end) for suffix, end in rules if word.endswith(suffix)]
    if not found:
        return word
    suffix, end = max(found, key=lambda rule: len(rule[0]))
    before = word[: -len(suffix)]
    return before + end if _measure(before) > 0 else word


def _step_4(word: str) -> str:
    found = [suffix for suffix in _STEP_4 if word.endswith(suffix)]
    if not found:
        return word
    suffix = max(found, key=len)
    # "ion" goes, its s or t stays.
    before = word[:-3] if suffix in ("sion", "tion") else word[: -len(suffix)]
    return before if _measure(before) > 1 else word


def _step_5(word: str) -> str:
    if word.endswith("e"):
        before = word[:-1]
        if _measure(before) > 1 or (_measure(before) == 1 and not _short(before)):
            word = before
    if word.endswith("ll") and _measure(word) > 1:
        word = word[:-1]
    return word
