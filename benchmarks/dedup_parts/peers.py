"""What else removes near-duplicates with MinHash: each alone, in an environment of its own, on one core.

All with word 5-grams, 112 hashes in 16 bands of 7, from the same Parquet shards to the documents that have a partner.
`python benchmarks/dedup_parts/peers.py NAME FOLDER DOCUMENTS OUT` runs one, with the Python of its environment, and
writes what it found and used.

datatrove as it is shipped (words by spaCy's English) and with words cut at spaces, which its users do for speed: its
four steps as in its documentation, one task, through its own reader; the filter's documents are thrown away.
datasketch: words by a regular expression, xxhash, `MinHash.bulk`, `MinHashLSH`. rensa: `RMinHash` and `RMinHashLSH`.
None of them verifies candidates; flagged is, in datatrove, a cluster's member, elsewhere who shares a band with another.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

if __package__:
    from benchmarks.dedup_parts.processes import ROOT, watched
    from benchmarks.dedup_parts.report import LeftOut

BANDS, ROWS, NGRAM = 16, 7, 5
BATCH = 1000
WORDS = re.compile(r"\w+|[^\w\s.,;:'\"?()-]")


@dataclass(frozen=True)
class Peer:
    """How a peer is installed and called. `share`: of the corpus, so that slow ones end."""

    title: str
    packages: tuple[str, ...]
    share: float


PEERS = {
    "datatrove": Peer(
        "datatrove as shipped",
        ("datatrove==0.10.1", "spacy", "regex", "tokenizers", "pyarrow", "xxhash<4", "orjson"),
        0.08,
    ),
    "datatrove-spaces": Peer(
        "datatrove, words at spaces",
        ("datatrove==0.10.1", "spacy", "regex", "tokenizers", "pyarrow", "xxhash<4", "orjson"),
        0.25,
    ),
    "datasketch": Peer("datasketch 2 bulk + xxhash", ("datasketch==2.0.0", "xxhash", "pyarrow"), 0.4),
    "rensa": Peer("rensa RMinHash + RMinHashLSH", ("rensa==0.5.0", "pyarrow"), 1.0),
}


@dataclass(frozen=True)
class Found:
    """What a peer made of the first `documents` of a corpus."""

    flagged: list[bool]
    documents: int
    text_bytes: int
    cpu_seconds: float  # without imports
    peak: int  # bytes, resident


# ---- from outside ----


def environment(name: str, work: Path) -> Path:
    """The Python with this peer, installed where it is not yet; peers of equal packages share one."""
    packages = PEERS[name].packages
    folder = work / "peers" / name.split("-")[0]
    python = folder / "bin" / "python"
    installed = folder / "installed"
    if not installed.exists() or installed.read_text() != " ".join(packages):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        done = subprocess.run(
            [python, "-m", "pip", "install", "-q", *packages], capture_output=True, text=True
        )
        if done.returncode:
            raise LeftOut(f"pip: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
        installed.write_text(" ".join(packages))
    return python


def measure(name: str, corpus: Path, documents: int, work: Path) -> Found:
    """Raises `LeftOut` when the peer cannot be installed or does not get through."""
    out = work / "peers" / f"{name}.json"
    command = [environment(name, work), Path(__file__).relative_to(ROOT), name, corpus, documents, out]
    try:
        used = watched([str(part) for part in command], out.with_suffix(".txt"))
    except subprocess.CalledProcessError as error:
        last = error.output.decode("utf-8", "replace").strip().splitlines() or ["it was killed"]
        raise LeftOut(last[-1][:200]) from None
    return Found(**json.loads(out.read_text()), peak=used.largest)


# ---- from inside ----


def batches(folder: str, documents: int) -> Iterator[list[str]]:
    """The texts of the first documents, a thousand at a time."""
    import pyarrow.parquet as pq

    for shard in sorted(Path(folder).glob("documents/*.parquet")):
        texts = pq.read_table(shard, columns=["text"])["text"].slice(0, documents).to_pylist()
        documents -= len(texts)
        for start in range(0, len(texts), BATCH):
            yield texts[start : start + BATCH]


def grams(text: str) -> set[str]:
    """The word 5-grams of a text; a shorter text has one."""
    words = WORDS.findall(text.lower())
    return {" ".join(words[i : i + NGRAM]) for i in range(max(1, len(words) - NGRAM + 1))} if words else set()


def datasketch(folder: str, documents: int) -> list[bool]:
    import xxhash
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    signed = []
    for texts in batches(folder, documents):
        sets = [[gram.encode() for gram in grams(text)] for text in texts]
        for minhash in MinHash.bulk(sets, num_perm=BANDS * ROWS, hashfunc=xxhash.xxh32_intdigest):
            index.insert(len(signed), minhash, check_duplication=False)
            signed.append(minhash)
    return [len(index.query(minhash)) > 1 for minhash in signed]


def rensa(folder: str, documents: int) -> list[bool]:
    from rensa import RMinHash, RMinHashLSH

    index = RMinHashLSH(threshold=0.8, num_perm=BANDS * ROWS, num_bands=BANDS)
    signed = []
    for texts in batches(folder, documents):
        for text in texts:
            minhash = RMinHash(num_perm=BANDS * ROWS, seed=1)
            minhash.update(list(grams(text)))
            index.insert(len(signed), minhash)
            signed.append(minhash)
    return [len(index.query(minhash)) > 1 for minhash in signed]


def datatrove(folder: str, documents: int, at_spaces: bool = False) -> list[bool]:
    import struct

    from datatrove.pipeline.dedup import minhash
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.utils.hashing import HashConfig
    from datatrove.utils.word_tokenizers import WordTokenizer

    class AtSpaces(WordTokenizer):
        """Words as they stand between spaces; a signature asks for nothing else."""

        def word_tokenize(self, text: str) -> list[str]:
            return text.split()

        def sent_tokenize(self, text: str) -> list[str]:
            raise NotImplementedError

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            raise NotImplementedError

    config = minhash.MinhashConfig(
        n_grams=NGRAM, num_buckets=BANDS, hashes_per_bucket=ROWS, hash_config=HashConfig(precision=64)
    )
    with tempfile.TemporaryDirectory() as work:

        def read() -> ParquetReader:
            return ParquetReader(f"{folder}/documents", limit=documents, doc_progress=False)

        signature = minhash.MinhashDedupSignature(f"{work}/signatures", config=config)
        if at_spaces:
            signature.word_tokenizer = AtSpaces()
        signature.run(read().run(None, 0, 1), 0, 1)
        for band in range(BANDS):
            minhash.MinhashDedupBuckets(f"{work}/signatures", f"{work}/buckets", config=config).run(
                None, band, BANDS
            )
        minhash.MinhashDedupCluster(
            f"{work}/buckets", f"{work}/remove", config=config, save_cluster_id=True
        ).run(None, 0, 1)
        for _ in minhash.MinhashDedupFilter(f"{work}/remove").run(read().run(None, 0, 1), 0, 1):
            pass
        flagged = [False] * documents
        members = Path(f"{work}/remove/000000.clusters")  # which is not there when there are none
        for document, _ in struct.iter_unpack("<2I", members.read_bytes() if members.exists() else b""):
            flagged[document] = True
        return flagged


def main(name: str, folder: str, documents: str, out: str) -> None:
    count = int(documents)
    run = {
        "datatrove": datatrove,
        "datatrove-spaces": lambda folder, count: datatrove(folder, count, at_spaces=True),
        "datasketch": datasketch,
        "rensa": rensa,
    }[name]
    with tempfile.TemporaryDirectory() as small:  # imports, and what is loaded when first needed
        (Path(small) / "documents").symlink_to((Path(folder) / "documents").absolute())
        run(small, 20)
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    flagged = run(folder, count)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    size = sum(len(text.encode()) for texts in batches(folder, count) for text in texts)
    Path(out).write_text(
        json.dumps({"flagged": flagged, "documents": len(flagged), "text_bytes": size, "cpu_seconds": cpu})
    )
    print(f"{name}: {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
