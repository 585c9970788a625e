"""Small packed mixtures and recipes for the tests of training, written with the datasets' own functions."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from pipeline import dataset, storage

VOCABULARY = 97
END_OF_TEXT = 0
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("tokens", pa.list_(pa.int32()), nullable=False),
        pa.field("lengths", pa.list_(pa.int32()), nullable=False),
        pa.field("documents", pa.list_(pa.string()), nullable=False),
        pa.field("groups", pa.list_(pa.string()), nullable=False),
        pa.field("starts", pa.list_(pa.int32()), nullable=False),
    ]
)


def sequence(context: int, number: int) -> tuple[list[int], list[int]]:
    """Tokens and segment lengths of one packed sequence: counting up by 1, 2 or 3, so that there is something to learn."""
    random = np.random.default_rng((context, number))
    tokens: list[int] = []
    lengths: list[int] = []
    while context - len(tokens) > 4:
        length = int(random.integers(2, max(3, context // 2)))
        length = min(length, context - len(tokens))
        start, stride = random.integers(1, VOCABULARY, 2)
        tokens += [int(1 + (start + (stride % 3 + 1) * i) % (VOCABULARY - 1)) for i in range(length - 1)]
        tokens.append(END_OF_TEXT)
        lengths.append(length)
    return tokens + [END_OF_TEXT] * (context - len(tokens)), lengths


def write_dataset(
    path: str, schema: pa.Schema, shards: dict[str, list[dict[str, Any]]], rows_per_group: int = 5
) -> None:
    """A finished dataset of these rows; several row groups a shard."""
    described = []
    for name, rows in shards.items():
        table = pa.Table.from_pylist(rows, schema=schema)
        sink = io.BytesIO()
        pq.write_table(table, sink, row_group_size=rows_per_group)
        data = sink.getvalue()
        storage.write_bytes(storage.join(path, f"{name}.parquet"), data)
        described.append(dataset.Shard(name, storage.sha256(data), len(rows), len(data)))
    manifest = {
        "version": dataset.DATASET_VERSION,
        "schema": str(schema),
        "shards": dataset.describe(described),
        "aligned": False,
        "inputs": {},
        "config": {},
    }
    storage.write_json(storage.join(path, "manifest.json"), manifest)


def write_run(
    folder: str, stages: dict[str, tuple[int, int]], rows_per_shard: int = 12, tokenizer_json: str = "{}"
) -> None:
    """A run's folder with the datasets `mixture` ({stage: (context, sequences)}) and `tokenizer`."""
    shards = {}
    for stage, (context, sequences) in stages.items():
        for shard, first in enumerate(range(0, sequences, rows_per_shard)):
            name, rows = f"{stage}-{shard:05d}", []
            for number in range(first, min(first + rows_per_shard, sequences)):
                tokens, lengths = sequence(context, number)
                rows.append(
                    {
                        "id": f"{name}:{number - first}",
                        "stage": stage,
                        "tokens": tokens,
                        "lengths": lengths,
                        "documents": ["d"] * len(lengths),
                        "groups": ["g"] * len(lengths),
                        "starts": [0] * len(lengths),
                    }
                )
            shards[name] = rows
    write_dataset(storage.join(folder, "mixture"), SCHEMA, shards)
    tokenizer = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("tokenizer_json", pa.string(), nullable=False),
            pa.field("vocabulary", pa.int32(), nullable=False),
            pa.field("end_of_text", pa.int32(), nullable=False),
        ]
    )
    row = {
        "id": "tokenizer",
        "tokenizer_json": tokenizer_json,
        "vocabulary": VOCABULARY,
        "end_of_text": END_OF_TEXT,
    }
    write_dataset(storage.join(folder, "tokenizer"), tokenizer, {"00000": [row]})


def recipe(path: Path, data: str, **changes: Any) -> Path:
    """A recipe of three short stages (32, 32 and 64 tokens) for the smallest model."""
    section: dict[str, Any] = {
        "data": data,
        "model": {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
        },
        "schedule": {
            "batch_warm_up": {"tokens": 1200, "from": 2, "multiple": 2},
            "phases": [
                {
                    "tokens": 800,
                    "stage": "stage1",
                    "learning_rate": {"from": 0, "to": "1e-2"},
                    "mtp_weight": 0.3,
                    "context": 32,
                    "rope_base": 10_000,
                    "sequences": 8,
                },
                {"tokens": 2_000},
                {"tokens": 1_500, "learning_rate": {"to": 3e-3, "shape": "cosine"}, "mtp_weight": 0.1},
                {"tokens": 1_100, "stage": "stage2"},
                {"tokens": 1_400, "stage": "stage3", "context": 64, "rope_base": 640_000, "sequences": 4},
            ],
        },
        "micro_batch_tokens": 96,
        "checkpoints": {"every_tokens": 1_000, "every_minutes": None, "keep": 2},
    }
    path.write_text(yaml.safe_dump({"pretrain": section | changes}, sort_keys=False), encoding="utf-8")
    return path


STAGES = {"stage1": (32, 160), "stage2": (32, 40), "stage3": (64, 30)}
