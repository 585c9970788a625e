"""The corpora: Debian's documentation with planted copies, and as many generated documents as one wants.

`real` cuts the pages of Debian's documentation packages into documents of a few hundred words and plants copies at
known Jaccard similarity: half with one block of words replaced, half with single words replaced here and there.
`generated` recombines the sentences of that corpus. Document `i` of it is a function of `i` and the seed alone, so that
shards are written one by one, in memory that does not depend on how many there are. Both give a run folder with a
finished dataset `documents`.

Licences of what is downloaded: those of the packages, all in Debian's main section.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.dedup_parts.report import LeftOut
from pipeline import dataset, storage
from pipeline.dataset import Dataset, Shard, write_shard
from pipeline.documents import DOCUMENT_SCHEMA, document_id

PACKAGES = (
    "linux-doc-6.1",
    "python3.11-doc",
    "postgresql-doc-15",
    "perl-doc",
    "git-doc",
    "r-doc-html",
    "manpages",
    "manpages-dev",
    "debian-handbook",
    "sqlite3-doc",
    "apache2-doc",
    "python-django-doc",
    "glibc-doc",
    "cmake-doc",
    "python-sympy-doc",
    "manpages-ja",  # Japanese and Chinese: scripts without spaces
    "manpages-zh",
    "manpages-de",
    "manpages-fr",
)
BASE = 38_000  # documents of the packages
TARGETS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
COPIES = 700  # of each target and each of the two kinds
ROWS_PER_SHARD = 10_000
SEED = 7

FEWEST_WORDS = 50
WORD = re.compile(
    r"[^\W_]+|[^\w\s.,;:'\"?()-]"
)  # near enough to the kernel's words to hit a target similarity
CUT = re.compile(
    r"\n(?:[ \t]*\n|(?=\.S[HS] |=head|\.PP$))", re.MULTILINE
)  # empty lines, headings of man pages
CRAWLS = (1640995200, 1664582400, 1688169600, 1711929600)  # seconds since the epoch: four imagined dumps
FIDELITIES = (0.85, 0.9, 0.95, 1.0)


# ---- the real corpus ----


def real(folder: Path) -> Dataset:
    """The corpus of Debian's documentation, made where it is not there yet."""
    if dataset.finished(str(folder / "documents")):
        return Dataset.open(str(folder / "documents"))
    rng = random.Random(SEED)
    found = list(_pieces(folder.parent / "debian"))
    if len(found) < BASE:
        raise LeftOut(f"the packages of Debian gave {len(found):,} documents, {BASE:,} are needed")
    base = rng.sample(found, BASE)
    rows = [*base, *_copies(base, rng)]
    rng.shuffle(rows)
    shards = (_real_table(rows[i : i + ROWS_PER_SHARD], rng) for i in range(0, len(rows), ROWS_PER_SHARD))
    return write_documents(folder, shards)


def _pieces(work: Path) -> Iterator[tuple[str, str, str]]:
    """(package and file, place in the file, text) of all documents, each exact text of a file once."""
    seen = set()
    for package in PACKAGES:
        root = _unpacked(package, work)
        for file in sorted(root.rglob("*")):
            if file.is_symlink() or not file.is_file() or "_sources" in file.parts:
                continue
            text = _text(file)
            digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
            if not text or digest in seen:
                continue
            seen.add(digest)
            name = f"{package}/{file.relative_to(root)}"
            for number, piece in enumerate(cut(text, random.Random(name))):
                yield name, f"part={number}", piece


def _unpacked(package: str, work: Path) -> Path:
    """The folder with a package's files, downloaded with apt-get where they are not there yet."""
    folder = work / package
    if folder.exists():
        return folder
    work.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["apt-get", "download", package], cwd=work, capture_output=True, text=True)
    archives = sorted(work.glob(f"{package}_*.deb"))
    if done.returncode or not archives:
        raise LeftOut(f"{package}: {(done.stderr.strip().splitlines() or ['apt-get failed'])[-1]}")
    partial = work / f".{package}"
    subprocess.run(["dpkg", "-x", str(archives[-1]), str(partial)], check=True)
    partial.rename(folder)
    archives[-1].unlink()
    return folder


def _text(file: Path) -> str:
    """The text of a page: HTML without its markup, everything else as it is; "" for what is no text."""
    name = file.name.removesuffix(".gz")
    page = name.endswith((".html", ".htm"))
    manual = "/usr/share/man/" in file.as_posix() and file.name.endswith(".gz")
    if not (page or manual or name.endswith((".txt", ".pod", ".rst", ".info"))):
        return ""
    if not page and (file.with_suffix(".html").exists() or name.startswith(("copyright", "changelog"))):
        return ""  # the same as a page
    raw = file.read_bytes()
    raw = gzip.decompress(raw) if file.name.endswith(".gz") else raw
    if not page:
        return raw.decode("utf-8", "replace")
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(raw.decode("utf-8", "replace"))
    return str(extract_plain_text(tree, main_content=True))


def cut(text: str, rng: random.Random) -> list[str]:
    """The text in pieces of a few hundred words (log-normal around 400), cut at headings and empty lines.

    A remainder of fewer than 50 words goes with the piece before it, or away with a text that is no longer.

    >>> [len(piece.split()) for piece in cut("word " * 60 + "\\n\\n" + "word " * 9, random.Random(1))]
    [69]
    """
    pieces, current, words = list[str](), list[str](), 0
    wanted = _length(rng)
    for paragraph in CUT.split(text):
        current.append(paragraph)
        words += len(WORD.findall(paragraph))
        if words >= wanted:
            pieces.append("\n\n".join(current))
            current, words, wanted = [], 0, _length(rng)
    if words >= FEWEST_WORDS:
        pieces.append("\n\n".join(current))
    elif pieces:
        pieces[-1] = "\n\n".join([pieces[-1], *current])
    return [piece.strip() for piece in pieces]


def _length(rng: random.Random) -> int:
    return max(FEWEST_WORDS, int(rng.lognormvariate(6.0, 0.6)))


def _copies(base: list[tuple[str, str, str]], rng: random.Random) -> Iterator[tuple[str, str, str]]:
    """Copies of every target similarity and both kinds; a document may be copied more than once."""
    long_enough = [row for row in base if len(WORD.findall(row[2])) >= 2 * FEWEST_WORDS]
    for target in TARGETS:
        for kind in ("block", "words"):
            for number in range(COPIES):
                path, place, text = rng.choice(long_enough)
                foreign = WORD.findall(rng.choice(long_enough)[2])
                yield (
                    path,
                    f"{place} {kind}={target} copy={number}",
                    altered(text, foreign, target, kind, rng),
                )


def altered(text: str, foreign: list[str], target: float, kind: str, rng: random.Random, n: int = 5) -> str:
    """The text with words replaced by foreign ones until its set of word n-grams has about the target similarity.

    Of N n-grams, d that differ leave a similarity of (N − d) / (N + d). At 1.0 only case and quotation marks change.
    """
    words = list(WORD.finditer(text))
    grams = len(words) - n + 1
    differ = round(grams * (1 - target) / (1 + target))
    if differ == 0:
        return (
            f"“{text.upper()}”" if kind == "block" and text.upper().lower() == text.lower() else f"  {text}  "
        )
    if kind == "block":
        length = max(1, differ - n + 1)
        start = rng.randrange(len(words) - length + 1)
        replaced = set(range(start, start + length))
    else:
        replaced, touched = set[int](), set[int]()
        while len(touched) < differ:
            word = rng.randrange(len(words))
            replaced.add(word)
            touched.update(range(max(0, word - n + 1), min(grams, word + 1)))
    parts, at = [], 0
    offset = rng.randrange(len(foreign))
    for number in sorted(replaced):
        parts += [text[at : words[number].start()], foreign[(offset + number) % len(foreign)]]
        at = words[number].end()
    return "".join([*parts, text[at:]])


def _real_table(rows: list[tuple[str, str, str]], rng: random.Random) -> pa.Table:
    digests = [hashlib.sha256(text.encode("utf-8", "replace")).hexdigest() for _, _, text in rows]
    return table_of(
        ids=[
            document_id("debian", path, place, d) for (path, place, _), d in zip(rows, digests, strict=True)
        ],
        texts=[text.encode("utf-8", "replace").decode() for _, _, text in rows],
        paths=[path for path, _, _ in rows],
        places=[place for _, place, _ in rows],
        digests=digests,
        crawls=np.array(rng.choices(CRAWLS, k=len(rows))),
        fidelities=np.array(rng.choices(FIDELITIES, k=len(rows))),
    )


# ---- generated corpora ----


def generated(folder: Path, count: int, base: Dataset, seed: int = SEED) -> Dataset:
    """`count` documents of 5 to 40 sentences of `base`; every fourth is an altered copy of one that is not.

    A copy has k of its sentences replaced: in half of the copies by others, in half by the same with one word changed.
    """
    if dataset.finished(str(folder / "documents")):
        return Dataset.open(str(folder / "documents"))
    sentences, changed = _sentences(base)
    pool = pa.concat_arrays([sentences, changed])
    starts = range(0, count, ROWS_PER_SHARD)
    tables = (
        _generated_table(np.arange(start, min(count, start + ROWS_PER_SHARD)), count, pool, seed)
        for start in starts
    )
    return write_documents(folder, tables)


def _sentences(base: Dataset) -> tuple[pa.Array, pa.Array]:
    """The distinct sentences of 6 to 40 words, and each with its middle word changed; both end in a space."""
    found: dict[str, None] = {}
    for shard in base.shards[:3]:
        for text in dataset.read_shard(base.shard_path(shard.name), ["text"])["text"].to_pylist():
            for sentence in re.split(r"(?<=[.!?])\s+|\n\s*\n", text):
                words = sentence.split()
                for start in range(0, len(words), 40):
                    if len(part := words[start : start + 40]) >= 6:
                        found[" ".join(part) + " "] = None
    changed = []
    for number, sentence in enumerate(found):
        words = sentence.split()
        words[len(words) // 2] = f"other{number % 9973}"
        changed.append(" ".join(words) + " ")
    return pa.array(list(found), pa.large_string()), pa.array(changed, pa.large_string())


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _generated_table(numbers: np.ndarray, count: int, pool: pa.Array, seed: int) -> pa.Table:
    """The documents of these numbers."""
    key = _mix(numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed))
    is_copy = numbers % 4 == 3
    originals = (count + 3) // 4 * 3 - max(0, -count % 4 - 1)  # numbers below `count` that are no copies
    original = (key >> np.uint64(8)) % np.uint64(originals)
    original = (original // np.uint64(3) * np.uint64(4) + original % np.uint64(3)).astype(np.int64)
    source = np.where(is_copy, original, numbers)
    of_source = _mix(source.astype(np.uint64) + _mix(np.array([seed], np.uint64)))
    size = 5 + (of_source % np.uint64(36)).astype(np.int64)
    half = len(pool) // 2

    document = np.repeat(np.arange(len(numbers)), size)
    place = np.arange(len(document)) - np.repeat(np.cumsum(size) - size, size)
    sentence = (_mix(of_source[document] + place.astype(np.uint64)) % np.uint64(half)).astype(np.int64)
    target = np.array(TARGETS)[(key % np.uint64(len(TARGETS))).astype(np.int64)]
    by_words = is_copy & ((key >> np.uint64(4)) % np.uint64(2) == 1)
    share = (1 - target) / (
        1 + target
    )  # of n-grams that differ; one changed word takes 5 of about 18 n-grams
    altered = np.where(by_words, np.minimum(1, share * 18 / 5), share) * size
    first = ((key >> np.uint64(16)).astype(np.float64) / 2.0**48 * (size - altered)).astype(np.int64)
    last = first + np.round(altered).astype(np.int64)
    hit = is_copy[document] & (place >= first[document]) & (place < last[document])
    foreign = (_mix(key[document] ^ place.astype(np.uint64)) % np.uint64(half)).astype(np.int64)
    sentence = np.where(hit, np.where(by_words[document], sentence + half, foreign), sentence)

    taken = pool.take(pa.array(sentence))
    _, offsets, data = taken.buffers()
    at = np.frombuffer(offsets, np.int64)[np.append(0, np.cumsum(size))].astype(np.int32)
    texts = pa.StringArray.from_buffers(len(numbers), pa.py_buffer(at), data)
    ids = [f"{a:016x}{b:016x}" for a, b in zip(_mix(key).tolist(), numbers.tolist(), strict=True)]
    return table_of(
        ids=ids,
        texts=texts,
        paths=[str(number // ROWS_PER_SHARD) for number in numbers.tolist()],
        places=[f"document={number}" for number in numbers.tolist()],
        digests=[""] * len(numbers),
        crawls=np.array(CRAWLS)[(key >> np.uint64(20)) % np.uint64(4)],
        fidelities=np.array(FIDELITIES)[(key >> np.uint64(24)) % np.uint64(4)],
    )


# ---- the dataset ----


def table_of(
    ids: Any, texts: Any, paths: Any, places: Any, digests: Any, crawls: np.ndarray, fidelities: np.ndarray
) -> pa.Table:
    """A shard of `documents` in which everything that is not given is null."""
    count = len(ids)
    origin = {"source": pa.array(["debian"] * count), "path": pa.array(paths), "locator": pa.array(places)}
    origin |= {"offset": pa.nulls(count, pa.int64()), "length": pa.nulls(count, pa.int64())}
    origin |= {
        "payload_sha256": pa.array(digests),
        "crawl_date": pa.array(crawls, pa.timestamp("s", tz="UTC")),
    }
    extraction = {
        "method": pa.array(["resiliparse"] * count),
        "fidelity": pa.array(fidelities, pa.float32()),
    }
    given = {
        "id": pa.array(ids),
        "parent_ids": pa.array([[]] * count, pa.list_(pa.string())),
        "origin": _struct(origin, DOCUMENT_SCHEMA.field("origin").type),
        "media_type": pa.array(["text/plain"] * count),
        "text": texts if isinstance(texts, pa.Array) else pa.array(texts, pa.string()),
        "extraction": _struct(extraction, DOCUMENT_SCHEMA.field("extraction").type),
    }
    columns = [given.get(field.name, pa.nulls(count, field.type)) for field in DOCUMENT_SCHEMA]
    return pa.Table.from_arrays(columns, schema=DOCUMENT_SCHEMA)


def _struct(columns: dict[str, pa.Array], type_: pa.StructType) -> pa.StructArray:
    return pa.StructArray.from_arrays([columns[field.name] for field in type_], fields=list(type_))


def write_documents(folder: Path, tables: Iterable[pa.Table]) -> Dataset:
    """A run folder with a finished dataset `documents` of these shards, as the project's stages write theirs."""
    output = str(folder / "documents")
    storage.remove(output)
    shards: list[Shard] = []
    for number, table in enumerate(tables):
        shards.append(write_shard(f"{output}/{number:05d}-000.parquet", table))
    rows = sum(shard.rows for shard in shards)
    manifest = {
        "version": dataset.DATASET_VERSION,
        "stage": "extract",
        "shape": "map",
        "aligned": False,
        "key": "",
        "inputs": {},
        "config": {},
        "files": {},
        "schema": {field.name: str(field.type) for field in DOCUMENT_SCHEMA},
        "shards": dataset.describe(shards),
        "reasons": {},
        "counts": {"in": rows, "kept": rows, "dropped": {}, "failed": {}},
        "identity": {"in": rows, "kept": rows, "dropped": 0, "failed": 0},
    }
    storage.write_json(f"{output}/manifest.json", manifest)
    return Dataset.open(output)


def recut(source: Dataset, folder: Path, rows_per_shard: int, rows: int | None = None) -> Dataset:
    """The first `rows` documents of a corpus again, in shards of another size."""
    if dataset.finished(str(folder / "documents")):
        return Dataset.open(str(folder / "documents"))
    tables, have = [], 0
    for shard in source.shards:
        if rows is None or have < rows:
            tables.append(dataset.read_shard(source.shard_path(shard.name)))
            have += shard.rows
    table = pa.concat_tables(tables).slice(0, rows).combine_chunks()
    parts = (table.slice(start, rows_per_shard) for start in range(0, len(table), rows_per_shard))
    return write_documents(folder, parts)


def linked(source: Dataset, folder: Path) -> None:
    """The same documents in another run folder, without taking space."""
    if dataset.finished(str(folder / "documents")):
        if Dataset.open(str(folder / "documents")).digest == source.digest:
            return
        shutil.rmtree(folder)
    shutil.copytree(source.path, folder / "documents", copy_function=os.link)


if __name__ == "__main__":  # python -m benchmarks.dedup_parts.corpus FOLDER
    made = real(Path(sys.argv[1]))
    print(f"{made.rows:,} documents in {len(made.shards)} shards")
