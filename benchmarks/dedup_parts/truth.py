"""What is true: the exact Jaccard similarity of all pairs of documents, and what decisions are worth against it.

Words are cut here a second time, in plain Python after the rule in the docstring of `pipeline.dedup.minhash`, from the
names and categories of Unicode, and n-grams are compared as they are, not as hashes: a mistake of the kernel shows.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from pipeline import dataset
from pipeline.dataset import Dataset

LEAST = 0.5  # pairs below are not of interest
THRESHOLD = 0.8
BINS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
BLOCK = 2000  # documents whose row of the product is made at a time
UNSPACED = (
    "CJK ",
    "IDEOGRAPHIC ",
    "HIRAGANA ",
    "KATAKANA",
    "BOPOMOFO ",
    "THAI ",
    "LAO ",
    "KHMER ",
    "MYANMAR ",
)


@dataclass(frozen=True)
class Truth:
    """Pairs of similarity ≥ `LEAST`, left < right, as places in `ids`."""

    ids: np.ndarray  # str [documents]
    left: np.ndarray  # int64 [pairs]
    right: np.ndarray
    jaccard: np.ndarray  # float64

    def linked(self) -> np.ndarray:
        return self.jaccard >= THRESHOLD

    def clusters(self) -> np.ndarray:
        """Connected components of the pairs at the threshold: a label for each document, int32."""
        linked, count = self.linked(), len(self.ids)
        ends = (self.left[linked], self.right[linked])
        graph = csr_array((np.ones(len(ends[0]), bool), ends), shape=(count, count))
        return connected_components(graph, directed=False)[1]

    def has_partner(self) -> np.ndarray:
        """Which documents have one at the threshold, bool."""
        has = np.zeros(len(self.ids), bool)
        has[self.left[self.linked()]] = has[self.right[self.linked()]] = True
        return has

    def first(self, count: int) -> Truth:
        """The truth about the first documents alone."""
        inside = (self.left < count) & (self.right < count)
        return Truth(self.ids[:count], self.left[inside], self.right[inside], self.jaccard[inside])


def words(texts: list[str]) -> Iterator[list[str]]:
    """The words of each text.

    >>> list(words(["Naïve \\\\frac{a}{b} – ΟΔΟΣ, 漢字"]))
    [['naïve', '\\\\', 'frac', '{', 'a', '}', '{', 'b', '}', 'οδοσ', '漢', '字']]
    """
    normal = [unicodedata.normalize("NFKC", text) for text in texts]
    pattern, lower = _rule(set().union(*normal))
    for text in normal:
        yield pattern.findall(text.translate(lower))


def _rule(alphabet: set[str]) -> tuple[re.Pattern[str], dict[int, str | None]]:
    """What a word of these characters is: a regular expression over a text that went through the translation table."""
    letters, singles, marks = ["A"], ["#"], ["\u0301"]  # no class may be empty
    lower: dict[int, str | None] = {ord("ς"): "σ"}
    for character in sorted(alphabet):
        code, category = ord(character), unicodedata.category(character)
        small = character.lower()
        if len(small) == 1 and small != character:
            lower[code] = small
            character = small
        if category == "Cf" or 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF:
            lower[code] = None  # does not exist
        elif category[0] == "M":
            marks.append(character)
        elif 0x20000 <= code < 0x40000:  # planes for Chinese characters, named already or not
            singles.append(character)
        elif category[0] in "LN":
            unspaced = unicodedata.name(character, "").startswith(UNSPACED)
            (singles if unspaced else letters).append(character)
        elif category in ("Sm", "Sc", "So", "Ps", "Pe") or character in "!#%&*-/@\\^_":
            singles.append(character)
    letters.append("σ")
    letter, single, mark = ("".join(map(re.escape, kind)) for kind in (letters, singles, marks))
    return re.compile(f"[{letter}][{letter}{mark}]*|[{single}][{mark}]*"), lower


def texts_of(documents: Dataset) -> tuple[list[str], list[str]]:
    """Ids and texts of a corpus."""
    ids, texts = list[str](), list[str]()
    for shard in documents.shards:
        table = dataset.read_shard(documents.shard_path(shard.name), ["id", "text"])
        ids += table["id"].to_pylist()
        texts += table["text"].to_pylist()
    return ids, texts


def truth_of(documents: Dataset, cache: Path, n: int = 5) -> Truth:
    """All pairs of a corpus; kept in `cache` for this corpus and this module."""
    key = hashlib.sha256(documents.digest.encode() + Path(__file__).read_bytes()).hexdigest()
    if cache.exists() and (kept := np.load(cache))["key"] == key:
        return Truth(*(kept[name] for name in ("ids", "left", "right", "jaccard")))
    ids, texts = texts_of(documents)
    found = Truth(np.array(ids), *all_pairs(gram_sets(texts, n)))
    names = ("ids", "left", "right", "jaccard")
    np.savez_compressed(cache, key=key, **{name: getattr(found, name) for name in names})
    return found


def gram_sets(texts: list[str], n: int = 5) -> csr_array:
    """Which document has which n-gram, bool [documents, n-grams]; shorter texts have one, all their words.

    n-grams are numbered exactly: pairs of words first, pairs of pairs, and so on.
    """
    vocabulary: dict[str, int] = {}
    numbers, lengths = list[np.ndarray](), list[int]()
    short: dict[tuple[str, ...], int] = {}
    of_short = list[tuple[int, int]]()
    for row, found in enumerate(words(texts)):
        if 0 < len(found) < n:
            of_short.append((row, short.setdefault(tuple(found), len(short))))
            found = []
        numbers.append(np.array([vocabulary.setdefault(word, len(vocabulary)) for word in found], np.int64))
        lengths.append(len(found))
    word = np.concatenate(numbers)
    gram = word
    for length in range(
        2, n + 1
    ):  # number the grams of `length` words by those one shorter and the word that follows
        gram = gram[: len(word) - length + 1] * len(vocabulary) + word[length - 1 :]
        gram = pa.array(gram).dictionary_encode().indices.to_numpy().astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    inside = np.concatenate(
        [np.arange(s, s + max(0, k - n + 1)) for s, k in zip(starts, lengths, strict=True)]
    )
    row = np.repeat(np.arange(len(lengths)), np.maximum(0, np.array(lengths) - n + 1))
    column = gram[inside]
    if of_short:
        rows, extra = np.array(of_short).T
        row, column = np.append(row, rows), np.append(column, extra + gram.max(initial=-1) + 1)
    code = np.unique(row * (column.max() + 1) + column)
    row, column = np.divmod(code, column.max() + 1)
    shape = (len(lengths), int(column.max()) + 1)
    return csr_array((np.ones(len(row), np.int32), (row, column)), shape=shape)


def all_pairs(sets: csr_array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(left, right, Jaccard similarity) of all pairs ≥ `LEAST`, by a sparse product, block by block of rows."""
    size = np.diff(sets.indptr).astype(np.int64)
    often = np.flatnonzero(np.bincount(sets.indices, minlength=sets.shape[1]) > 1)
    shared = sets[:, often]
    transposed = shared.T.tocsr()
    parts = []
    for start in range(0, sets.shape[0], BLOCK):
        common = (shared[start : start + BLOCK] @ transposed).tocoo()
        left, right = common.coords[0].astype(np.int64) + start, common.coords[1].astype(np.int64)
        jaccard = common.data / (size[left] + size[right] - common.data)
        wanted = (left < right) & (jaccard >= LEAST)
        parts.append((left[wanted], right[wanted], jaccard[wanted]))
    left, right, jaccard = (np.concatenate(column) for column in zip(*parts, strict=True))
    return left, right, jaccard


# ---- what decisions are worth ----


def recall_of_documents(truth: Truth, flagged: np.ndarray) -> float:
    """Share of the documents with a true partner that were flagged; `flagged` bool [documents]."""
    has = truth.has_partner()
    return float(np.mean(flagged[has])) if has.any() else float("nan")


def precision_of_documents(truth: Truth, flagged: np.ndarray) -> float:
    """Share of the flagged documents that have a true partner."""
    return float(np.mean(truth.has_partner()[flagged])) if flagged.any() else float("nan")


def recall_by_bin(truth: Truth, cluster: np.ndarray) -> list[tuple[float, float, int, float]]:
    """(from, to, pairs, share of them in one cluster) for each bin of similarity; `cluster` int, −1 = alone."""
    together = (cluster[truth.left] >= 0) & (cluster[truth.left] == cluster[truth.right])
    rows = []
    for low, high in zip(BINS, (*BINS[1:], 2.0), strict=True):
        inside = (truth.jaccard >= low) & (truth.jaccard < high)
        share = float(np.mean(together[inside])) if inside.any() else float("nan")
        rows.append((low, min(high, 1.0), int(np.count_nonzero(inside)), share))
    return rows


@dataclass(frozen=True)
class Judged:
    """Our columns against the truth."""

    jaccard_checked: int  # dropped documents with a similarity
    jaccard_wrong: int  # … that is not that of the pair
    links_wrong: int  # dropped documents whose similarity is below the threshold
    clusters: int
    clusters_wrong: int  # that reach over two true clusters
    clusters_equal: int  # that are a true cluster, whole
    document_recall: float
    document_precision: float
    bins: list[tuple[float, float, int, float]]

    @property
    def precision(self) -> float:
        """Share of the links and clusters that are true."""
        return 1 - (self.jaccard_wrong + self.clusters_wrong) / max(1, self.jaccard_checked + self.clusters)


def judge(truth: Truth, decisions: pa.Table) -> Judged:
    """The columns `dedup_…` of all documents, in any order, against the truth."""
    place = {identity: i for i, identity in enumerate(truth.ids.tolist())}
    where = np.array([place[identity] for identity in decisions["id"].to_pylist()])
    assert len(where) == len(place)
    known = {
        (a, b): value
        for a, b, value in zip(truth.left.tolist(), truth.right.tolist(), truth.jaccard.tolist(), strict=True)
    }
    checked = wrong = below = 0
    kept, similarity = decisions["dedup_of"].to_pylist(), decisions["dedup_jaccard"].to_pylist()
    for a, of, value in zip(where.tolist(), kept, similarity, strict=True):
        if of is not None and value is not None:
            b = place[of]
            exact = known.get((min(a, b), max(a, b)), 0.0)
            checked += 1
            wrong += abs(exact - value) > 1e-6  # the column is float32
            below += exact < THRESHOLD
    names = decisions["dedup_cluster_id"].to_pylist()
    cluster = np.full(len(place), -1)
    cluster[where] = [-1 if name is None else place[name] for name in names]
    true = truth.clusters()
    ours = cluster >= 0
    both = np.unique(np.stack([cluster[ours], true[ours]]), axis=1)  # (ours, true) that meet
    reaching = np.unique(both[0], return_counts=True)[1]
    size = np.bincount(true)
    mine, first, count = np.unique(cluster[ours], return_index=True, return_counts=True)
    return Judged(
        jaccard_checked=checked,
        jaccard_wrong=wrong,
        links_wrong=below,
        clusters=len(mine),
        clusters_wrong=int(np.count_nonzero(reaching > 1)),
        clusters_equal=int(np.count_nonzero((reaching == 1) & (count == size[true[ours][first]]))),
        document_recall=recall_of_documents(truth, ours),
        document_precision=precision_of_documents(truth, ours),
        bins=recall_by_bin(truth, cluster),
    )
