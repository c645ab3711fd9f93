"""Lucene's BM25 over memory-mapped postings: the ranking of the original's search engine, without Java.

The score of a document is the sum over the query's distinct terms t, each with weight w = n_t idf(t):

    w - w / (1 + tf / (k1 ((1 - b) + b len / avglen)))      k1 = 0.9, b = 0.4 (Pyserini's defaults)
    idf(t) = ln(1 + (N - df + 0.5) / (df + 0.5)),  n_t: how often t is in the query

in single precision, summed in double and rounded back, with `len` as Lucene's norms keep it: exact up to 39, then four
significant bits (`SmallFloat.intToByte4`). Ties go to the smaller document id, compared as strings. bm25s, rank_bm25
and tantivy, which keep exact lengths or other constants, give another order.

Postings of a term are a slice of three parallel arrays, ordered by document; a process maps them, and all processes
share the pages.
"""

import bisect
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sg_pipeline.environments.webshop.analyzer import analyze

K1 = 0.9
B = 0.4
TOP_K = 50

MAX_CLAUSES = 1024
"""Of Lucene's `BooleanQuery`: it refuses a query of more distinct terms; here it finds nothing."""

_BLOCK = 20_000
"""Documents whose postings are sorted together while an index is built; affects memory only."""


def quantised_lengths() -> npt.NDArray[np.float32]:
    """Return the 256 lengths that Lucene's one-byte norms stand for (`SmallFloat.byte4ToInt`)."""
    return np.array([_byte_to_length(code) for code in range(256)], dtype=np.float32)


def length_code(length: int) -> int:
    """Return the byte of a document of `length` terms: the largest one whose length is not above it."""
    return bisect.bisect_right(_LENGTHS, length) - 1


def _byte_to_length(code: int) -> int:
    exact = 24  # The first 24 codes stand for themselves, the others are floats of 4 significant bits on top of them.
    if code < exact:
        return code
    bits = code - exact
    mantissa, shift = bits & 7, (bits >> 3) - 1
    return exact + (mantissa if shift < 0 else (mantissa | 8) << shift)


_LENGTHS = [_byte_to_length(code) for code in range(256)]


_Block = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.uint16]]
"""Postings of some documents, by term and then by document: term, document, frequency."""


class SearchIndex:
    """A built index, opened for reading; made by `IndexBuilder`."""

    def __init__(self, folder: Path) -> None:
        """Map the arrays of `folder`."""
        self._term_bytes = np.load(folder / "term_bytes.npy", mmap_mode="r")
        self._term_ends = np.load(folder / "term_ends.npy", mmap_mode="r")
        self._posting_ends = np.load(folder / "posting_ends.npy", mmap_mode="r")
        self._documents = np.load(folder / "documents.npy", mmap_mode="r")
        self._frequencies = np.load(folder / "frequencies.npy", mmap_mode="r")
        self._norms = np.load(folder / "norms.npy", mmap_mode="r")
        self._id_ranks = np.load(folder / "id_ranks.npy", mmap_mode="r")
        total = np.load(folder / "total_terms.npy")
        average = np.float32(int(total) / max(1, len(self._norms)))
        # 1 / (k1 ((1 - b) + b len / avglen)) for each norm byte, in the single-precision steps of BM25Similarity.
        ratio = np.float32(1) / max(average, np.float32(1e-9))
        lengths = quantised_lengths()
        scale = np.float32(K1) * ((np.float32(1) - np.float32(B)) + np.float32(B) * lengths * ratio)
        self._inverse = (np.float32(1) / scale).astype(np.float32)

    def __len__(self) -> int:
        return len(self._norms)

    def search(self, query: str, k: int = TOP_K) -> list[tuple[int, float]]:
        """Return the best documents for `query`, best first, as (number of the document, score); at most `k`.

        Any text is allowed; one without a known term finds nothing.
        """
        counts = Counter(analyze(query))
        if len(counts) > MAX_CLAUSES:
            return []
        scores = np.zeros(len(self), dtype=np.float64)
        found = False
        for term, count in counts.items():
            place = self._find(term)
            if place is None:
                continue
            found = True
            documents, values = self._contributions(place, count)
            scores[documents] += values
        return self._best(scores, k) if found else []

    def _best(self, scores: npt.NDArray[np.float64], k: int) -> list[tuple[int, float]]:
        single = scores.astype(np.float32)
        hits = np.flatnonzero(single)
        if len(hits) > k:
            bar = np.partition(single[hits], len(hits) - k)[len(hits) - k]
            hits = hits[single[hits] >= bar]
        order = np.lexsort((self._id_ranks[hits], -single[hits]))[:k]
        return [(int(hits[i]), float(single[hits[i]])) for i in order]

    def _contributions(self, place: int, count: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        start = int(self._posting_ends[place - 1]) if place else 0
        end = int(self._posting_ends[place])
        documents = self._documents[start:end]
        frequencies = self._frequencies[start:end].astype(np.float32)
        number, having = len(self), end - start
        idf = np.float32(np.log(1 + (number - having + 0.5) / (having + 0.5)))
        weight = np.float32(count) * idf
        one = np.float32(1)
        values = weight - weight / (one + frequencies * self._inverse[self._norms[documents]])
        return documents, values

    def _find(self, term: str) -> int | None:
        """Return the place of `term` in the sorted list of terms."""
        wanted = term.encode("utf-8", "surrogatepass")
        low, high = 0, len(self._term_ends)
        while low < high:
            middle = (low + high) // 2
            if self._term(middle) < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self._term_ends) and self._term(low) == wanted else None

    def _term(self, place: int) -> bytes:
        start = int(self._term_ends[place - 1]) if place else 0
        return bytes(self._term_bytes[start : int(self._term_ends[place])])


class IndexBuilder:
    """Collects documents one after the other and writes their index.

    Memory while it builds: ten bytes a posting (a posting is a distinct term of a document), and the terms.
    """

    def __init__(self) -> None:
        self._terms: dict[str, int] = {}
        self._blocks: list[_Block] = []
        self._columns: tuple[list[int], list[int], list[int]] = ([], [], [])
        self._norms = bytearray()
        self._total = 0

    def add(self, text: str) -> None:
        """Add the next document; the first has number 0."""
        terms, documents, frequencies = self._columns
        number = len(self._norms)
        words = analyze(text)
        for term, frequency in Counter(words).items():
            terms.append(self._terms.setdefault(term, len(self._terms)))
            documents.append(number)
            frequencies.append(min(frequency, 65_535))
        self._total += len(words)
        self._norms.append(length_code(len(words)))
        if len(self._norms) % _BLOCK == 0:
            self._end_block()

    def write(self, ids: Sequence[str], folder: Path) -> None:
        """Write the index into `folder`, which exists, as a few `.npy` files; the builder is used up.

        Args:
            ids: what ties are ordered by, one for each document.
            folder: what `SearchIndex` opens.
        """
        number = len(self._norms)
        if number != len(ids):
            raise ValueError(f"{number} documents, but {len(ids)} ids")
        self._end_block()
        _write_postings(self._terms, self._blocks, folder)
        ranks = np.empty(number, dtype=np.int32)
        ranks[sorted(range(number), key=ids.__getitem__)] = np.arange(number, dtype=np.int32)
        np.save(folder / "id_ranks.npy", ranks)
        np.save(folder / "norms.npy", np.frombuffer(bytes(self._norms), dtype=np.uint8))
        np.save(folder / "total_terms.npy", np.int64(self._total))

    def _end_block(self) -> None:
        self._blocks.append(_sorted_block(self._columns))
        for column in self._columns:
            column.clear()


def _sorted_block(
    columns: tuple[list[int], list[int], list[int]],
) -> _Block:
    """Return the postings of some documents as arrays, by term and then by document."""
    term = np.array(columns[0], dtype=np.int32)
    order = np.argsort(term, kind="stable")
    return term[order], np.array(columns[1], dtype=np.int32)[order], np.array(columns[2], dtype=np.uint16)[order]


def _write_postings(
    terms: dict[str, int],
    blocks: list[_Block],
    folder: Path,
) -> None:
    """Write terms in byte order and, for each, its postings in the order of documents; empties `blocks`."""
    encoded = sorted((term.encode("utf-8", "surrogatepass"), place) for term, place in terms.items())
    np.save(folder / "term_bytes.npy", np.frombuffer(b"".join(term for term, _ in encoded), dtype=np.uint8))
    np.save(folder / "term_ends.npy", np.cumsum([len(term) for term, _ in encoded], dtype=np.int64))
    sorted_place = np.empty(len(terms), dtype=np.int32)
    sorted_place[[place for _, place in encoded]] = np.arange(len(terms), dtype=np.int32)
    counts = np.zeros(len(terms), dtype=np.int64)
    for term, _, _ in blocks:
        counts += np.bincount(sorted_place[term], minlength=len(terms))
    ends = np.cumsum(counts)
    np.save(folder / "posting_ends.npy", ends)
    size = int(ends[-1]) if len(ends) else 0
    documents = np.lib.format.open_memmap(folder / "documents.npy", mode="w+", dtype=np.int32, shape=(size,))
    frequencies = np.lib.format.open_memmap(folder / "frequencies.npy", mode="w+", dtype=np.uint16, shape=(size,))
    cursor = ends - counts
    for number, (term, document, frequency) in enumerate(blocks):
        places = sorted_place[term]
        # Within a block a term's postings are one run: each goes behind those of the blocks before.
        starts = np.flatnonzero(np.diff(term, prepend=-1)) if len(term) else np.zeros(0, dtype=np.int64)
        lengths = np.diff(starts, append=len(term))
        within = np.arange(len(term)) - np.repeat(starts, lengths)
        targets = cursor[places] + within
        documents[targets] = document
        frequencies[targets] = frequency
        cursor[places[starts]] += lengths
        blocks[number] = (term[:0], document[:0], frequency[:0])
    documents.flush()
    frequencies.flush()
