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
from array import array
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


def _byte_to_length(code: int) -> int:
    exact = 24  # The first 24 codes stand for themselves, the others are floats of 4 significant bits on top of them.
    if code < exact:
        return code
    bits = code - exact
    mantissa, shift = bits & 7, (bits >> 3) - 1
    return exact + (mantissa if shift < 0 else (mantissa | 8) << shift)


LENGTHS = [_byte_to_length(code) for code in range(256)]
"""What Lucene's one-byte norms stand for (`SmallFloat.byte4ToInt`)."""


def length_code(length: int) -> int:
    """Return the byte of a document of `length` terms: the largest one whose length is not above it."""
    return bisect.bisect_right(LENGTHS, length) - 1


class SearchIndex:
    """A built index, opened for reading; made by `IndexBuilder`."""

    def __init__(self, folder: Path) -> None:
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
        lengths = np.array(LENGTHS, dtype=np.float32)
        scale = np.float32(K1) * ((np.float32(1) - np.float32(B)) + np.float32(B) * lengths * ratio)
        self._inverse = (np.float32(1) / scale).astype(np.float32)

    def __len__(self) -> int:
        return len(self._norms)

    def search(self, query: str) -> list[tuple[int, float]]:
        """Return the best documents for `query`, best first, as (number of the document, score); at most `TOP_K`.

        Any text is allowed; one without a known term finds nothing.
        """
        counts = Counter(analyze(query))
        places = {place: count for term, count in counts.items() if (place := self._find(term)) is not None}
        if len(counts) > MAX_CLAUSES or not places:
            return []
        scores = np.zeros(len(self), dtype=np.float64)
        for place, count in places.items():
            documents, values = self._contributions(place, count)
            scores[documents] += values
        single = scores.astype(np.float32)
        hits = np.flatnonzero(single)
        if len(hits) > TOP_K:
            bar = np.partition(single[hits], -TOP_K)[-TOP_K]
            hits = hits[single[hits] >= bar]
        order = np.lexsort((self._id_ranks[hits], -single[hits]))[:TOP_K]
        return [(int(hits[i]), float(single[hits[i]])) for i in order]

    def _contributions(self, place: int, count: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        start = int(self._posting_ends[place - 1]) if place else 0
        end = int(self._posting_ends[place])
        documents = self._documents[start:end]
        frequencies = self._frequencies[start:end].astype(np.float32)
        having = end - start
        idf = np.float32(np.log(1 + (len(self) - having + 0.5) / (having + 0.5)))
        weight = np.float32(count) * idf
        return documents, weight - weight / (np.float32(1) + frequencies * self._inverse[self._norms[documents]])

    def _find(self, term: str) -> int | None:
        """Return the place of `term` in the sorted list of terms."""
        wanted, number = term.encode("utf-8", "surrogatepass"), len(self._term_ends)
        place = bisect.bisect_left(range(number), wanted, key=self._term)
        return place if place < number and self._term(place) == wanted else None

    def _term(self, place: int) -> bytes:
        start = int(self._term_ends[place - 1]) if place else 0
        return bytes(self._term_bytes[start : int(self._term_ends[place])])


class IndexBuilder:
    """Collects documents one after the other and writes their index.

    Memory while it builds: six bytes a posting (a posting is a distinct term of a document), 16 at its end, and the
    terms.
    """

    def __init__(self) -> None:
        self._terms: dict[str, int] = {}
        # The matrix document x term of frequencies, as compressed rows.
        self._columns, self._frequencies, self._row_ends = array("i"), array("H"), array("q", [0])
        self._norms = bytearray()
        self._total = 0

    def add(self, text: str) -> None:
        """Add the next document; the first has number 0."""
        words = analyze(text)
        counts = Counter(words)
        self._columns.extend(self._terms.setdefault(term, len(self._terms)) for term in counts)
        self._frequencies.extend(min(count, 65_535) for count in counts.values())
        self._row_ends.append(len(self._columns))
        self._total += len(words)
        self._norms.append(length_code(len(words)))

    def write(self, ids: Sequence[str], folder: Path) -> None:
        """Write the index into `folder`, which exists; `ids`, one for each document, decide ties."""
        from scipy.sparse import csr_array

        terms = sorted((term.encode("utf-8", "surrogatepass"), number) for term, number in self._terms.items())
        places = np.empty(len(terms), dtype=np.int32)
        places[[number for _, number in terms]] = np.arange(len(terms), dtype=np.int32)
        columns = places[np.frombuffer(self._columns, dtype=np.int32)]
        rows = csr_array(
            (np.frombuffer(self._frequencies, dtype=np.uint16), columns, np.frombuffer(self._row_ends, dtype=np.int64)),
            shape=(len(ids), len(terms)),
        )
        postings = rows.tocsc()
        ranks = np.empty(len(ids), dtype=np.int32)
        ranks[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids), dtype=np.int32)
        arrays = {
            "term_bytes": np.frombuffer(b"".join(term for term, _ in terms), dtype=np.uint8),
            "term_ends": np.cumsum([len(term) for term, _ in terms], dtype=np.int64),
            "posting_ends": postings.indptr[1:].astype(np.int64),
            "documents": postings.indices.astype(np.int32, copy=False),
            "frequencies": postings.data,
            "id_ranks": ranks,
            "norms": np.frombuffer(self._norms, dtype=np.uint8),
            "total_terms": np.int64(self._total),
        }
        for name, content in arrays.items():
            np.save(folder / f"{name}.npy", content)
