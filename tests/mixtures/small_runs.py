"""Small run folders with finished datasets, and a look at what came of them."""

import numpy as np
import pyarrow as pa

from mixtures.tokenizer import Tokenizer
from pipeline import dataset, storage
from pipeline.dataset import Dataset
from pipeline.documents import DOCUMENT_SCHEMA
from pipeline.runner import Runner
from pipeline.stage import Unit
from tests.dask_workers import on_lasting_workers

POLICY = pa.schema([("id", pa.string()), ("policy_weight", pa.float64()), ("policy_group", pa.string())])

TEXTS = [
    "The theorem of Pythagoras says that $a^2 + b^2 = c^2$ in every right-angled triangle of the plane.\n\n",
    "def mean(values):\n    total = sum(values)\n\n    return total / len(values)  # 0 values: an error\n",
    "三角形的内角和等于一百八十度。因此，直角三角形的两个锐角互余。\n",
    "Let x = 12345 and y = 67.89; then x + y = 12412.89, isn't it? They're numbers, and we'd add them.\r\n",
    "Emoji \U0001f600\U0001f468‍\U0001f469‍\U0001f467 flags \U0001f1e9\U0001f1ea, accents e\u0301 é, tabs\t\there, nul \x00 end\u2028   \n \n",
]


def write_dataset(folder, name, tables, *, describes=None, aligned=False):
    """A finished dataset of one shard a table. `describes`: name of the dataset it says something about."""
    shards = [dataset.write_shard(f"{folder}/{name}/{n:05d}.parquet", t) for n, t in enumerate(tables)]
    rows = sum(t.num_rows for t in tables)
    counts = {"in": rows, "kept": rows, "dropped": {}, "failed": {}}
    manifest = {"version": 1, "stage": name, "shape": "map", "aligned": aligned, "key": "", "config": {}}
    manifest["schema"] = {f.name: str(f.type) for f in tables[0].schema}
    manifest["inputs"] = {describes: Dataset.open(f"{folder}/{describes}").digest} if describes else {}
    more = {"reasons": {}, "counts": counts, "shards": dataset.describe(shards)}
    storage.write_json(f"{folder}/{name}/manifest.json", manifest | more)


def write_documents(folder, texts, shards=1, weights=None, groups=None, keep=None):
    """Datasets `documents` and `policy` of these texts, cut into about equal shards; `keep`: rows the policy keeps."""
    rows = [
        {
            "id": f"{n:04d}",
            "parent_ids": [],
            "origin": {"source": "test", "path": str(n), "locator": "", "payload_sha256": ""},
            "media_type": "text/plain",
            "text": text,
            "extraction": {"method": "verbatim", "fidelity": 1.0},
        }
        for n, text in enumerate(texts)
    ]
    said = [
        {
            "id": f"{n:04d}",
            "policy_weight": weights[n] if weights else 1.0,
            "policy_group": groups[n] if groups else "other",
        }
        for n in range(len(texts))
    ]
    cuts = np.array_split(np.arange(len(texts)), shards)
    documents = [pa.Table.from_pylist([rows[i] for i in cut], schema=DOCUMENT_SCHEMA) for cut in cuts]
    write_dataset(folder, "documents", documents)
    kept = [[said[i] for i in cut if keep is None or i in keep] for cut in cuts]
    policy = [pa.Table.from_pylist(part, schema=POLICY) for part in kept]
    write_dataset(folder, "policy", policy, describes="documents")


def run_rounds(stage, tables):
    """A shuffle in this process: [results of each round]. The last are its shards."""
    results = []
    routed = None
    for step in stage.rounds:
        count = len(tables) if step.over == "shards" else 1 if step.over == "all" else len(routed)
        units = []
        for index in range(count):
            table = tables[index] if step.over == "shards" else None
            unit = Unit(index, table, routed[index] if routed is not None else None)
            units.append(getattr(stage, step.name)(unit))
        results.append(units)
        if step.to is not None:
            parts = {"shards": len(tables), "all": 1}.get(step.to, step.to)
            sent = pa.concat_tables(units)
            where = sent["partition"].to_numpy()
            assert sent.schema.field("partition").type == pa.int32() and (where < parts).all()
            routed = [sent.filter(pa.array(where == n)).drop_columns("partition") for n in range(parts)]
    return results


def trained(folder, texts=TEXTS * 20, vocabulary=400):
    """A finished dataset `tokenizer`, trained in this process."""
    table = pa.table({"id": [f"{n:04d}" for n in range(len(texts))], "text": texts})
    (row,) = run_rounds(Tokenizer(Tokenizer.Config(vocabulary=vocabulary)), [table])[-1]
    write_dataset(folder, "tokenizer", [row])
    return row.to_pylist()[0]


def run(folder, *stages, options=None):
    with Runner(folder, options or on_lasting_workers(memory_per_worker=2 << 30)) as runner:
        return [runner.run(stage) for stage in stages]


def rows_of(folder, name):
    found = Dataset.open(f"{folder}/{name}")
    return [row for s in found.shards for row in dataset.read_shard(found.shard_path(s.name)).to_pylist()]


def reasons_of(folder, name):
    found = Dataset.open(f"{folder}/{name}")
    return {
        row["id"]: row["reason"]
        for part in found.manifest["reasons"]
        for row in dataset.read_shard(f"{found.path}/{part}.parquet").to_pylist()
    }


def bytes_of(folder, name):
    """sha256 of each shard, by name."""
    return {shard.name: shard.sha256 for shard in Dataset.open(f"{folder}/{name}").shards}
