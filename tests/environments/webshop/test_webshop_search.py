"""Analyzer and BM25 against small examples worked out by hand."""

import math
from pathlib import Path

import numpy as np
import pytest

from sg_pipeline.environments.webshop import analyzer
from sg_pipeline.environments.webshop.analyzer import analyze, stem, tokenize
from sg_pipeline.environments.webshop.index import LENGTHS, TOP_K, IndexBuilder, SearchIndex, length_code


def index_of(folder: Path, *documents: str, ids: list[str] | None = None) -> SearchIndex:
    builder = IndexBuilder()
    for document in documents:
        builder.add(document)
    builder.write(ids or [f"D{number}" for number in range(len(documents))], folder)
    return SearchIndex(folder)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Women's t-shirt, 10,000mAh & 3.5mm", ["Women's", "t", "shirt", "10,000mAh", "3.5mm"]),
        ("U.S.A. a_b __ x:y 1:2", ["U.S.A", "a_b", "x:y", "1", "2"]),
        ("★ sale ❤️ 100% ©", ["★", "sale", "❤️", "100", "©"]),
        ("中文 ひら カタカナ", ["中", "文", "ひ", "ら", "カタカナ"]),
        ("", []),
        ("\x00\x07\t\n", []),
        ("a" * 600, ["a" * 255, "a" * 255, "a" * 90]),
    ],
)
def test_tokens_follow_the_standard_tokenizer(text: str, tokens: list[str]) -> None:
    assert list(tokenize(text)) == tokens


def test_tokenize_ascii_pattern_equals_the_full_one() -> None:
    rng = np.random.default_rng(3)
    alphabet = list("ab1_.,:;' -\"")
    for _ in range(3000):
        text = "".join(rng.choice(alphabet, size=12))
        full = [match[0] for match in analyzer._TOKEN.finditer(text)]
        assert list(tokenize(text)) == full, text


def test_analyze_removes_possessives_stop_words_and_endings() -> None:
    assert analyze("The men's Loafers & Slip-Ons for the winters\u2019s") == ["men", "loafer", "slip", "on", "winter"]
    assert analyze("it is in the of") == []


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        # From Porter's paper, and the two departures that Lucene keeps.
        ("ponies", "poni"), ("hopping", "hop"), ("happy", "happi"), ("relational", "relat"), ("adjustable", "adjust"),
        ("technology", "technolog"), ("assembly", "assembl"), ("is", "is"),
    ],
)  # fmt: skip
def test_stem_is_lucenes(word: str, expected: str) -> None:
    assert stem(word) == expected


def test_lengths_are_kept_in_a_byte_as_lucene_does() -> None:
    assert [length_code(length) for length in range(40)] == list(range(40))
    assert [LENGTHS[length_code(length)] for length in (40, 41, 42, 127, 128, 1000)] == [40, 40, 42, 120, 128, 984]


def test_scores_are_bm25s(tmp_path: Path) -> None:
    documents = ("red shirt red", "blue shirt cotton soft wool", "green lamp")
    index = index_of(tmp_path, *documents)
    (first, score), *others = index.search("red red shirt")
    assert (first, [number for number, _ in others]) == (0, [1])
    average = 10 / 3

    def part(count: int, having: int, frequency: int, length: int) -> float:
        weight = count * math.log(1 + (3 - having + 0.5) / (having + 0.5))
        return weight - weight / (1 + frequency / (0.9 * (0.6 + 0.4 * length / average)))

    assert score == pytest.approx(part(2, 1, 2, 3) + part(1, 2, 1, 3), rel=1e-6)


def test_ties_go_to_the_smaller_id_and_the_first_are_kept(tmp_path: Path) -> None:
    ids = [f"B{99 - number}" for number in range(60)]
    found = index_of(tmp_path, *["tea"] * 60, ids=ids).search("tea")
    assert [number for number, _ in found] == [*range(59, 59 - TOP_K, -1)]


@pytest.mark.parametrize("query", ["", "\x00\x1b", "the", "x" * 10_000, "zzz " * 2500, "\ud800"])
def test_strange_queries_find_nothing_and_raise_nothing(tmp_path: Path, query: str) -> None:
    assert index_of(tmp_path, "red shirt").search(query) == []


def test_long_queries_are_answered_and_those_lucene_refuses_find_nothing(tmp_path: Path) -> None:
    index = index_of(tmp_path, "red shirt", "blue shirt")
    assert [number for number, _ in index.search("red " * 2500)] == [0]
    assert index.search("red " + " ".join(f"w{number}" for number in range(1024))) == []
