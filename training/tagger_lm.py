"""A tagger that is a language model: any small transformers model with a linear head, fine-tuned on labels.

MiMo's taggers are small fine-tuned language models (report, §2.1; it says no more); EAI-Distill is Qwen2.5-0.5B
(Essential AI 2025), FineWeb-Edu's is an encoder with a frozen body (Penedo et al. 2024). Here the whole model is
fine-tuned, encoder or decoder: last hidden states, averaged over the tokens, one linear map for all dimensions. An
ordinal dimension of K levels has K − 1 outputs, "is it at least the level above?", with binary cross-entropy against
shared labels; a nominal one a softmax over its names. Raw scores are calibrated on sites that were held back from
training (`filters.taxonomy.heads`), and the card is measured on others again.

Of a long text the model reads its beginning, middle and end, a third of `context` tokens each.

Shapes: B rows, L tokens, D hidden size, C outputs of all dimensions; N rows and T outputs of one dimension.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer

from filters.taxonomy.heads import Calibration, Targets, calibrate, probabilities, targets, width
from filters.taxonomy.held_out import split
from filters.taxonomy.rubric import Dimension
from pipeline.errors import RequestError

if TYPE_CHECKING:
    from filters.taxonomy.train import Student

BODY, HEAD = "model", "head.safetensors"  # in a tagger's folder
CHARACTERS_A_TOKEN = 12  # more than any usual text has: what is beyond need not be tokenised


@dataclass(frozen=True)
class LMOptions:
    """How a language model is fine-tuned into a tagger.

    context: tokens read of a document. batch_tokens: of one step, padding counted. learning_rate: of the body, reached
    after a tenth of the steps, then falling to zero; the head's is `head_factor` times it, because it begins anew.
    calibrated_on: share of the training rows, whole sites, that is held back for calibration.
    """

    context: int = 1024
    epochs: int = 2
    batch_tokens: int = 16_384
    learning_rate: float = 2e-5
    head_factor: float = 20.0
    weight_decay: float = 0.01
    calibrated_on: float = 0.15
    seed: int = 0


class LMTagger:
    """A fine-tuned model and its head; `predict` says all dimensions at once."""

    kind = "lm"

    def __init__(
        self,
        dimensions: Sequence[Dimension],
        body: Any,
        tokenizer: Any,
        head: nn.Linear,
        calibration: dict[str, Calibration],
        options: LMOptions,
    ) -> None:
        self.dimensions = tuple(dimensions)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.body, self.tokenizer, self.head = body.to(self.device), tokenizer, head.to(self.device)
        self.calibration, self.options = calibration, options

    def predict(self, texts: pa.ChunkedArray) -> dict[str, np.ndarray]:
        """Probabilities of each dimension, float32 [N, T], as `filters.taxonomy.heads.probabilities`."""
        scores = self.scores(self.tokens(texts))
        return {d.name: probabilities(scores[d.name], self.calibration[d.name], d) for d in self.dimensions}

    def tokens(self, texts: pa.ChunkedArray) -> list[list[int]]:
        """What the model reads of each text: at least one token, at most `context`."""
        most = CHARACTERS_A_TOKEN * self.options.context
        pieces = [_thirds(text, most) for text in texts.to_pylist()]
        found = self.tokenizer(pieces, verbose=False)["input_ids"] if pieces else []
        return [_thirds(row, self.options.context) or [0] for row in found]

    @torch.no_grad()
    def scores(self, tokens: Sequence[list[int]]) -> dict[str, np.ndarray]:
        """Raw scores of each dimension, float32 [N, T]. Rows of like length go together, so that little is padding."""
        self.body.eval()
        score_NC = np.empty((len(tokens), self.head.out_features), np.float32)
        order = np.argsort([len(row) for row in tokens], kind="stable")
        for rows in _batches(tokens, order, self.options.batch_tokens):
            score_NC[rows] = self.forward([tokens[row] for row in rows]).float().cpu().numpy()
        return _of_dimensions(score_NC, self.dimensions)

    def forward(self, rows: Sequence[list[int]]) -> Tensor:
        """Raw scores s_BC of rows of tokens."""
        longest = max(map(len, rows))
        token_BL = torch.zeros(len(rows), longest, dtype=torch.int64)
        there_BL = torch.zeros(len(rows), longest, dtype=torch.int64)
        for b, row in enumerate(rows):
            token_BL[b, : len(row)] = torch.tensor(row)
            there_BL[b, : len(row)] = 1
        token_BL, there_BL = token_BL.to(self.device), there_BL.to(self.device)
        with self._precision():
            hidden_BLD = self.body(input_ids=token_BL, attention_mask=there_BL).last_hidden_state
            weight_BL1 = there_BL[..., None].to(hidden_BLD.dtype)
            mean_BD = (hidden_BLD * weight_BL1).sum(1) / weight_BL1.sum(1)
            return self.head(mean_BD)

    def _precision(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")

    def save(self, folder: Path) -> list[str]:
        """Write the model's files and return their names."""
        self.body.save_pretrained(folder / BODY)
        self.tokenizer.save_pretrained(folder / BODY)
        arrays = {"weight": self.head.weight.detach().cpu(), "bias": self.head.bias.detach().cpu()}
        for name, (slope_T, offset_T) in self.calibration.items():
            arrays |= {f"slope_{name}": torch.tensor(slope_T), f"offset_{name}": torch.tensor(offset_T)}
        save_file({name: array.contiguous() for name, array in arrays.items()}, folder / HEAD)
        return [HEAD, *sorted(f"{BODY}/{file.name}" for file in (folder / BODY).iterdir())]

    @classmethod
    def open(cls, folder: Path | str) -> LMTagger:
        """The tagger in a model folder. Raises `RequestError` if its files do not fit what `tagger.json` says."""
        folder = Path(folder)
        said = json.loads((folder / "tagger.json").read_bytes())
        dimensions = [Dimension.from_dict(found) for found in said["dimensions"]]
        known = {field.name for field in fields(LMOptions)}
        options = LMOptions(**{name: value for name, value in said["options"].items() if name in known})
        body, tokenizer = _load(folder / BODY)
        arrays = load_file(folder / HEAD)
        head = _head(body, dimensions)
        if arrays["weight"].shape != head.weight.shape:
            raise RequestError(
                f"{folder / HEAD} has {len(arrays['weight'])} outputs of {arrays['weight'].shape[1]} inputs, expected "
                f"{head.out_features} of {head.in_features}: it belongs to another model or other dimensions. Train it again."
            )
        head.load_state_dict({name: arrays[name] for name in ("weight", "bias")})
        calibration = {
            d.name: Calibration(arrays[f"slope_{d.name}"].numpy(), arrays[f"offset_{d.name}"].numpy())
            for d in dimensions
        }
        return cls(dimensions, body, tokenizer, head, calibration, options)


def lm_student(model: str | Path, options: LMOptions | None = None) -> Student:
    """What `filters.taxonomy.train.train` teaches to make the transformers model in the folder `model` a tagger."""
    from filters.taxonomy.train import Student  # numba, pydantic: only where a tagger is trained

    chosen = options or LMOptions()

    def learn(rows: pa.Table, dimensions: Sequence[Dimension], source: str) -> LMTagger:
        return fine_tune(rows, dimensions, Path(model), chosen, source)

    return Student(LMTagger.kind, asdict(chosen) | {"model": Path(model).name}, learn)


def fine_tune(
    labelled: pa.Table,
    dimensions: Sequence[Dimension],
    model: Path,
    options: LMOptions,
    source: str = "the labelled table",
) -> LMTagger:
    """A model trained on most sites of a labelled table and calibrated on the rest. Deterministic on the CPU."""
    wanted = {d.name: targets(labelled, d, source) for d in dimensions}
    weight_N = labelled["weight"].to_numpy().astype(np.float32)
    weight_N /= weight_N.mean()
    learnt, others = split(labelled, options.calibrated_on, options.seed)
    torch.manual_seed(options.seed)
    body, tokenizer = _load(model)
    neutral = {
        d.name: Calibration(np.ones(width(d), np.float32), np.zeros(width(d), np.float32)) for d in dimensions
    }
    tagger = LMTagger(dimensions, body, tokenizer, _head(body, dimensions), neutral, options)
    tokens = tagger.tokens(labelled["text"])
    _learn(tagger, tokens, wanted, weight_N, learnt)
    scores = tagger.scores([tokens[row] for row in others])
    for dimension in dimensions:
        share_NT, known_N = wanted[dimension.name]
        known = known_N[others]
        tagger.calibration[dimension.name] = calibrate(
            scores[dimension.name][known], share_NT[others][known], weight_N[others][known], dimension
        )
    return tagger


def _learn(
    tagger: LMTagger,
    tokens: Sequence[list[int]],
    wanted: Mapping[str, Targets],
    weight_N: np.ndarray,
    rows: np.ndarray,
) -> None:
    options = tagger.options
    random = np.random.default_rng(options.seed)
    groups = [
        {"params": list(tagger.body.parameters()), "lr": options.learning_rate},
        {"params": list(tagger.head.parameters()), "lr": options.learning_rate * options.head_factor},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=options.weight_decay)
    epochs = [list(_shuffled(tokens, rows, options.batch_tokens, random)) for _ in range(options.epochs)]
    steps = sum(map(len, epochs))
    warm_up = max(1, steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm_up, (steps - step) / max(1, steps - warm_up))
    )
    tagger.body.train()
    for batch in (batch for epoch in epochs for batch in epoch):
        score_BC = tagger.forward([tokens[row] for row in batch]).float()
        loss_of_labels(score_BC, wanted, weight_N, batch, tagger.dimensions).backward()
        parameters = [parameter for group in groups for parameter in group["params"]]  # type: ignore[attr-defined]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()


def loss_of_labels(
    score_BC: Tensor,
    wanted: Mapping[str, Targets],
    weight_N: np.ndarray,
    batch: np.ndarray,
    dimensions: Sequence[Dimension],
) -> Tensor:
    """Cross-entropy against shared labels, weighted by row, summed over dimensions, averaged over the batch.

    Of an ordinal dimension the mean over its questions, so that ten levels weigh no more than two. A row that a dimension
    has no label for adds nothing to it.
    """
    total = score_BC.new_zeros(())
    at = 0
    for dimension in dimensions:
        score_BT = score_BC[:, at : at + width(dimension)]
        at += width(dimension)
        share_NT, known_N = wanted[dimension.name]
        share_BT = torch.from_numpy(share_NT[batch]).to(score_BT)
        weight_B = torch.from_numpy(weight_N[batch] * known_N[batch]).to(score_BT)
        if dimension.ordinal:
            loss_B = F.binary_cross_entropy_with_logits(score_BT, share_BT, reduction="none").mean(1)
        else:
            loss_B = F.cross_entropy(score_BT, share_BT, reduction="none")
        total = total + (loss_B * weight_B).sum() / len(batch)
    return total


def _thirds(whole: Any, most: int) -> Any:
    """A text or tokens if no longer than `most`; else beginning, middle and end, a third of `most` each.

    >>> _thirds("abcdefghijklmno", 6), _thirds([1, 2, 3], 6)
    ('abghno', [1, 2, 3])
    """
    if len(whole) <= most:
        return whole
    third = most // 3
    middle = (len(whole) - third) // 2
    return whole[: most - 2 * third] + whole[middle : middle + third] + whole[len(whole) - third :]


def _batches(tokens: Sequence[list[int]], order: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Rows in the given order, as many at a time as hold at most `most` tokens with their padding (one at least)."""
    batch: list[int] = []
    longest = 0
    for row in order.tolist():
        longest = max(longest, len(tokens[row]))
        if batch and longest * (len(batch) + 1) > most:
            yield np.array(batch)
            batch, longest = [], len(tokens[row])
        batch.append(row)
    if batch:
        yield np.array(batch)


def _shuffled(
    tokens: Sequence[list[int]], rows: np.ndarray, most: int, random: np.random.Generator
) -> Iterator[np.ndarray]:
    """An epoch: batches of rows of like length (their order by length blurred by a tenth), in a random order."""
    lengths = np.array([len(tokens[row]) for row in rows]) * random.uniform(0.9, 1.1, len(rows))
    batches = list(_batches(tokens, rows[np.argsort(lengths)], most))
    for place in random.permutation(len(batches)):
        yield batches[place]


def _of_dimensions(score_NC: np.ndarray, dimensions: Sequence[Dimension]) -> dict[str, np.ndarray]:
    ends = np.cumsum([width(dimension) for dimension in dimensions])
    return {d.name: part for d, part in zip(dimensions, np.split(score_NC, ends[:-1], axis=1), strict=True)}


def _head(body: Any, dimensions: Sequence[Dimension]) -> nn.Linear:
    head = nn.Linear(body.config.hidden_size, sum(map(width, dimensions)))
    nn.init.zeros_(head.weight)  # at first it says the same of every document
    nn.init.zeros_(head.bias)
    return head


def _load(folder: Path) -> tuple[Any, Any]:
    """Body and tokenizer of a local folder; nothing is downloaded, no code in it is run."""
    if not (folder / "config.json").is_file():
        raise RequestError(
            f"{folder} is no model: it has no config.json. Give a folder that transformers saved."
        )
    try:
        body = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise RequestError(f"{folder} cannot be loaded by transformers: {error}") from error
    return body, tokenizer
