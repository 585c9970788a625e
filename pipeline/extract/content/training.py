"""Trains the classifier of main content on pages with their text as people took it out.

    pip install lightgbm rapidfuzz scipy
    python -m pipeline.extract.content.training PAGES [--validate PAGES] [--output model.npz]

PAGES is a folder with truth.jsonl.gz (id, page_type, main_content) and pages.tar or ID.html.gz files. The weights in
this repository come from 1,037 pages of the Web Content Extraction Benchmark's development split (M. Foley, commit
c039d5e, annotations CC-BY-4.0): numbers only, no text of a page is in them; another 180 pages of that split validate.

A run's truth is the share of its words that the longest common subsequence with the page's text takes. Pages are
dealt to five folds by their host; what a run's names and words are worth comes from pages of the other folds, so that
the trees learn how far such scores can be trusted on new pages.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import lightgbm
import numpy as np
from rapidfuzz.distance import LCSseq
from scipy.optimize import minimize
from scipy.sparse import csr_array

from pipeline.extract.content.choose import DEPTH, MODEL, Model, Trees, most_likely, save
from pipeline.extract.content.features import features
from pipeline.extract.content.words import WORD_BUCKETS, buckets_of, tokens_of
from pipeline.extract.flat import NAME_BUCKETS, TEXT, Flat
from pipeline.extract.html import HTMLPage, decode_html

WORD = re.compile(r"[぀-ヿ㐀-鿿]|[^\W぀-ヿ㐀-鿿]+")
FOLDS = 5
SHAPE = {
    "objective": "cross_entropy", "learning_rate": 0.05, "num_leaves": 24, "max_depth": DEPTH, "min_data_in_leaf": 100,
    "max_bin": 63, "feature_fraction": 0.3, "bagging_fraction": 0.7, "bagging_freq": 1, "lambda_l2": 5.0,
    "num_threads": 2, "seed": 1, "deterministic": True, "verbose": -1,
}  # fmt: skip
ROUNDS = 200
WORDS_L2 = 5.0  # how strongly the weights of words are held to 0, in runs of average weight


@dataclass
class Page:
    host: str
    kind: str
    flat: Flat
    extra_RC: np.ndarray
    truth_R: np.ndarray  # share of each run's words that are content
    words_R: np.ndarray
    texts: list[Counter[str]]  # words of each run
    content: Counter[str]


def read(folder: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Truth and bytes of every page."""
    with gzip.open(folder / "truth.jsonl.gz", "rt", encoding="utf-8") as lines:
        truth = {row["id"]: row for row in map(json.loads, lines)}
    if (folder / "pages.tar").exists():
        with tarfile.open(folder / "pages.tar") as tar:
            for member in tar:
                if (row := truth.get(member.name.removesuffix(".html.gz"))) and (
                    file := tar.extractfile(member)
                ):
                    yield row, gzip.decompress(file.read())
    else:
        for name, row in truth.items():
            yield row, gzip.decompress((folder / f"{name}.html.gz").read_bytes())


def page_of(row: dict[str, Any], payload: bytes) -> Page | None:
    """A page with its runs labelled; None when its truth is empty or not in it."""
    page = HTMLPage(decode_html(payload))
    page.rewrite()
    flat = page.flat()
    wanted = WORD.findall((row["main_content"] or "").lower())
    texts: list[list[str]] = [[] for _ in range(flat.runs)]
    for node in np.flatnonzero(flat.run_N >= 0).tolist():
        text = flat.html[flat.start_N[node] : flat.end_N[node]].decode("utf-8", "replace").lower()
        for match in re.finditer(rf"{page.protected.prefix.lower()}[mdcbt](\d+)z", text):
            text = text.replace(match[0], " " + page.protected.items[int(match[1])][1].lower() + " ")
        texts[flat.run_N[node]] += WORD.findall(re.sub(r"&(?:amp|lt|gt|nbsp);", " ", text))
    if not wanted or not flat.runs:
        return None
    number: dict[str, int] = {}
    owner = [run for run, words in enumerate(texts) for _ in words]
    found = [number.setdefault(word, len(number)) for words in texts for word in words]
    asked = [number.setdefault(word, len(number)) for word in wanted]
    taken = np.zeros(len(found), bool)
    for step in LCSseq.opcodes(found, asked):
        if step.tag == "equal":
            taken[step.src_start : step.src_end] = True
    counts = np.array([len(words) for words in texts])
    truth = np.bincount(np.array(owner, int)[taken], minlength=flat.runs) / np.maximum(counts, 1)
    if taken.sum() < 0.5 * len(wanted):
        return None
    truth[truth < 0.2] = 0  # words that the subsequence picked up on its way
    host = urlsplit(row["url"]).hostname or ""
    return Page(
        host, row["page_type"], flat, page.protected_in(flat), truth, counts, [Counter(words) for words in texts], Counter(wanted)
    )  # fmt: skip


def name_scores(pages: list[Page]) -> np.ndarray:
    """Log-odds of content for each bucket of words in class and id, by words of text, each page counting alike."""
    yes, no = np.zeros(NAME_BUCKETS), np.zeros(NAME_BUCKETS)
    for page in pages:
        flat = page.flat
        total = max(page.words_R.sum(), 1)
        low = np.searchsorted(flat.first_R, np.arange(len(flat.tag_N)))
        high = np.searchsorted(flat.first_R, flat.last_N)
        kept = np.concatenate([[0], np.cumsum((page.words_R + 1) * page.truth_R)]) / total
        all_ = np.concatenate([[0], np.cumsum(page.words_R + 1)]) / total
        seen: set[tuple[int, int, int]] = set()
        for node in np.flatnonzero((flat.tag_N != TEXT) & (high > low)).tolist():
            for bucket in flat.names[flat.names_at_N[node] : flat.names_at_N[node + 1]].tolist():
                if (bucket, low[node], high[node]) in seen:
                    continue
                seen.add((bucket, low[node], high[node]))
                inside = kept[high[node]] - kept[low[node]]
                yes[bucket] += min(inside, 1)
                no[bucket] += min(all_[high[node]] - all_[low[node]] - inside, 1)
    return np.log((yes + 0.3) / (no + 0.3)).astype(np.float32)


def word_scores(pages: list[Page]) -> np.ndarray:
    """Weights of a logistic regression from the words of a run (`words.buckets_of`) to content.

    Each bucket of a run counts 1/√(buckets of the run). The constant is left out: trees have no use for it.
    """
    buckets, begins, end = [], [np.zeros(1, np.int64)], 0
    for page in pages:
        found, begin = buckets_of(tokens_of(page.flat))
        buckets.append(found)
        begins.append(begin[1:] + end)
        end += len(found)
    begin = np.concatenate(begins)
    many = np.diff(begin)
    values = np.repeat(1 / np.sqrt(np.maximum(many, 1)), many).astype(np.float32)
    x_RB = csr_array((values, np.concatenate(buckets), begin), shape=(len(many), WORD_BUCKETS))
    x_BR = x_RB.T.tocsr()
    truth_R = np.concatenate([page.truth_R for page in pages])
    weight_R = np.concatenate([weights(page) for page in pages])
    weight_R /= weight_R.mean()

    def loss(scores: np.ndarray) -> tuple[float, np.ndarray]:
        odds_R = x_RB @ scores[:-1].astype(np.float32) + scores[-1]
        wrong_R = weight_R * (1 / (1 + np.exp(-odds_R)) - truth_R)
        value = (weight_R * (np.logaddexp(0, odds_R) - truth_R * odds_R)).sum()
        slope = x_BR @ wrong_R.astype(np.float32) + WORDS_L2 * scores[:-1]
        return value + WORDS_L2 / 2 * (scores[:-1] ** 2).sum(), np.append(slope, wrong_R.sum())

    start = np.zeros(WORD_BUCKETS + 1)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 40}).x
    return found[:-1].astype(np.float32)


def fit(pages: list[Page], inputs: list[np.ndarray], rounds: int) -> Trees:
    """Boosted trees on features of runs."""
    truth_R = np.concatenate([page.truth_R for page in pages])
    weight_R = np.concatenate([weights(page) for page in pages])
    data = lightgbm.Dataset(np.concatenate(inputs), truth_R, weight=weight_R)
    return trees_of(lightgbm.train(SHAPE, data, rounds))


def trees_of(booster: lightgbm.Booster) -> Trees:
    """A LightGBM model as arrays. Its raw sum is `Trees`' sum: LightGBM keeps the start value in the first tree's leaves.

    Thresholds are rounded down, so that a float32 is above one if and only if it is above LightGBM's.
    """
    roots = [tree["tree_structure"] for tree in booster.dump_model()["tree_info"]]
    feature = np.zeros((len(roots), 2**DEPTH - 1), np.uint8 if booster.num_feature() <= 256 else np.int16)
    threshold = np.full(feature.shape, np.inf, np.float32)
    value = np.zeros((len(roots), 2**DEPTH), np.float32)

    def add(tree: int, node: dict[str, Any], question: int, depth: int) -> None:
        if "split_feature" in node:
            rounded = np.float32(node["threshold"])
            above = rounded > node["threshold"]
            feature[tree, question] = node["split_feature"]
            threshold[tree, question] = np.nextafter(rounded, np.float32(-np.inf)) if above else rounded
            add(tree, node["left_child"], 2 * question + 1, depth + 1)
            add(tree, node["right_child"], 2 * question + 2, depth + 1)
        else:
            left = DEPTH - depth  # steps that are always to the left
            value[tree, ((question + 1) << left) - 1 - feature.shape[1]] = node["leaf_value"]

    for tree, root in enumerate(roots):
        add(tree, root, 0, 0)
    return Trees(feature, threshold, value)


def weights(page: Page) -> np.ndarray:
    """Words count, but neither do long runs count for all, nor do pages with many runs."""
    weight = np.sqrt(page.words_R + 1.0) + 0.1 * np.minimum(page.words_R, 200)
    return weight / weight.sum() * 100


def f1(page: Page, kept_R: np.ndarray) -> float:
    """F1 of the page's words."""
    found: Counter[str] = Counter()
    for run in np.flatnonzero(kept_R).tolist():
        found.update(page.texts[run])
    common = (found & page.content).total()
    return 2 * common / max(found.total() + page.content.total(), 1)


def cross_fitted(pages: list[Page], rounds: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Features of each page's runs, and what is thought of them, both by models that have not seen the page."""
    folds = [_fold(page) for page in pages]
    others = [[page for page, its in zip(pages, folds, strict=True) if its != fold] for fold in range(FOLDS)]
    scores = [(name_scores(some), word_scores(some)) for some in others]
    inputs = [
        features(page.flat, page.extra_RC, *scores[its]) for page, its in zip(pages, folds, strict=True)
    ]
    trees = [
        fit(some, [x_RF for x_RF, its in zip(inputs, folds, strict=True) if its != fold], rounds)
        for fold, some in enumerate(others)
    ]
    return inputs, [trees[its].probabilities(x_RF) for x_RF, its in zip(inputs, folds, strict=True)]


def train(pages: list[Page], rounds: int = ROUNDS) -> Model:
    """The model of all pages, after what cross-fitting says of it is printed."""
    inputs, held_out = cross_fitted(pages, rounds)
    print("best possible", report(pages, [page.truth_R > 0.5 for page in pages]))
    print("held out     ", report(pages, chosen(pages, held_out)))
    # Names and words are scored on all pages, but the trees keep what they learned from scores of other pages: that is
    # how far such scores can be trusted.
    return Model(name_scores(pages), word_scores(pages), fit(pages, inputs, rounds))


def chosen(pages: list[Page], looks: list[np.ndarray]) -> list[np.ndarray]:
    return [most_likely(p_R, page.words_R) for p_R, page in zip(looks, pages, strict=True)]


def report(pages: list[Page], kept: list[np.ndarray]) -> str:
    """Mean F1 of words, over all pages and by kind."""
    by_kind: dict[str, list[float]] = {}
    for page, kept_R in zip(pages, kept, strict=True):
        by_kind.setdefault(page.kind, []).append(f1(page, kept_R))
    every = [value for values in by_kind.values() for value in values]
    kinds = ", ".join(f"{kind} {np.mean(values):.3f}" for kind, values in sorted(by_kind.items()))
    return f"{np.mean(every):.4f} ({kinds})"


def _fold(page: Page) -> int:
    return zlib.crc32(page.host.encode()) % FOLDS


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", type=Path)
    parser.add_argument("--validate", type=Path, help="other pages, on which nothing is chosen")
    parser.add_argument("--output", type=Path, default=MODEL)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="trees")
    options = parser.parse_args(arguments)
    pages = [page for row, payload in read(options.pages) if (page := page_of(row, payload))]
    print(f"{len(pages)} pages, {sum(page.flat.runs for page in pages)} runs")
    model = train(pages, options.rounds)
    if options.validate:
        others = [page for row, payload in read(options.validate) if (page := page_of(row, payload))]
        looks = [model.probabilities(page.flat, page.extra_RC) for page in others]
        print("validation   ", report(others, chosen(others, looks)))
    save(model, options.output, __doc__ or "")
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
