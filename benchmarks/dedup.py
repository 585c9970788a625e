"""Near-duplicate removal, measured: speed, precision and recall beside three peers, memory, growth, and kills.

    python -m benchmarks.dedup [--quick] [--only ours,peers,scaling,chaos,cost] [--sizes 50000,200000] [--work DIR]

The corpus: 50,600 documents of Debian's documentation packages (apt-get download), of them 12,600 planted copies of known
similarity; what is true of it, exact Jaccard similarity of all pairs, is worked out once by other means than ours.
One core: everything is measured in CPU seconds, ours with scheduler, workers and child processes, from Parquet to
decision columns, after a run over a small corpus that compiles the kernels. Peers are installed below DIR/peers at
their first use. Corpora, truth and peers are kept in DIR (runs/dedup). A table each; a Markdown copy goes to DIR/table.md.

Measured on two cores, in one run with the peers: 8,694 documents a CPU second end to end against 12,000 wanted (9,300 to
10,700 with nothing else on the machine); rensa's objects 2,702, datasketch 1,241, datatrove 664 with words at spaces and 118
as shipped, none of them verified. CPU time grows with documents to the power 0.99 up to two million. What helped most,
from 5,045: words cut without branches and with unsigned places (half the time), sets sorted by two radix digits (half),
a child process that goes on with the next stage, rows between rounds read as ranges of one stream, without Arrow's threads
(8 in place of 84 µs a piece). What did not help or was given up:

* Rows between rounds in Parquet: a footer of a thousand row groups is read by each of a thousand receivers; two million
  documents took 895 CPU seconds in place of 504, 364 of them in the last round.
* Insertion sort of all n-gram hashes after one pass by their high bits: quadratic in texts that repeat themselves.
  Ordered linear probing in their place: no faster.
* More memory kept by malloc (MALLOC_MMAP_THRESHOLD_, MALLOC_TRIM_THRESHOLD_): 4 %, and memory that is not given back.
* Comparing within a bucket above the cap only those that share the next bands as well: no recall gained (0.868 before
  and after, on 1,000 to 4,000 pairs in one template).

The exit code is 1 while a mark is missed, 2 when something asked for is not there to be measured. --quick takes less of
everything: three minutes where corpus, truth and peers are there already.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.dedup_parts import chaos, corpus, cost, ours, peers, scaling
from benchmarks.dedup_parts.ours import Measured
from benchmarks.dedup_parts.report import LeftOut, Report, console
from benchmarks.dedup_parts.truth import (
    THRESHOLD,
    Truth,
    judge,
    precision_of_documents,
    recall_of_documents,
    truth_of,
)
from pipeline.dataset import Dataset
from pipeline.dedup.minhash import s_curve

ROOT = Path(__file__).parents[1]
PARTS = ("ours", "peers", "scaling", "chaos", "cost")
QUICK_SIZES = (20_000, 100_000)
SMALL_SHARDS = 2_000  # documents; what the reader writes of web pages


class Bench:
    """The options, the corpora, and what has been measured so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.work, self.report = options, options.work, Report()
        self.base: Dataset = corpus.real(self.work / "corpus50k")
        corpus.recut(self.base, self.work / "warm", 1000, 2000)
        corpus.linked(self.base, self.folder)
        self.left_out: list[str] = []
        self.measured: dict[str, Measured] = {}

    @property
    def folder(self) -> Path:
        """Of the runs over the corpus: nobody else's decisions lie there."""
        return self.work / "one-core"

    def truth(self) -> Truth:
        return truth_of(self.base, self.work / "truth.npz")

    def one_core(self) -> Measured:
        """Our stages over the corpus with one worker, once a run."""
        if "one worker" not in self.measured:
            self.measured["one worker"] = ours.measure(self.folder, self.work / "warm", workers=1)
        return self.measured["one worker"]

    def leave_out(self, what: str) -> None:
        self.left_out.append(what)
        console.print(f"not measured: {what}", markup=False)

    # ---- the parts ----

    def ours(self) -> None:
        """Our decisions against the truth, and where the time goes."""
        run, truth = self.one_core(), self.truth()
        judged = judge(truth, ours.decisions(self.folder))
        rest = run.cpu_seconds - sum(run.by_round.values())
        times: list[list[object]] = [
            [name, seconds, 1e6 * seconds / run.documents]
            for name, seconds in [*run.by_round.items(), ("planning, manifests", rest)]
        ]
        times += [
            ["all", run.cpu_seconds, 1e6 * run.cpu_seconds / run.documents],
            ["… with start and warm-up", run.used.cpu_seconds, 1e6 * run.used.cpu_seconds / run.documents],
        ]
        self.report.show("Our rounds", ["round", "CPU seconds", "µs a document"], times)
        small = self.work / f"shards-of-{SMALL_SHARDS}"
        corpus.recut(self.base, small, SMALL_SHARDS)
        runs = {corpus.ROWS_PER_SHARD: run, SMALL_SHARDS: ours.measure(small, self.work / "warm", workers=1)}
        self.report.show(
            "Documents a shard",
            ["documents a shard", "documents per CPU-s", "MB per CPU-s"],
            [[rows, one.per_second, one.megabytes_per_second] for rows, one in runs.items()],
        )
        curve = [
            [f"{low:g} – {high:g}", pairs, share, float(s_curve(ours.BANDS, ours.ROWS, (low + high) / 2))]
            for low, high, pairs, share in judged.bins
        ]
        self.report.show(
            "Pairs in one cluster, by similarity",
            ["Jaccard similarity", "pairs", "ours", f"S-curve {ours.BANDS} × {ours.ROWS} at the middle"],
            curve,
            note=f"Below {THRESHOLD} a pair shares a cluster only through others.",
        )
        exact = judged.jaccard_checked - judged.jaccard_wrong
        self.report.show(
            "Our decisions against exact all-pairs similarity",
            ["measure", "count", "of"],
            [
                ["similarity to the kept document is exact", exact, judged.jaccard_checked],
                ["dropped for a similarity below the threshold", judged.links_wrong, judged.jaccard_checked],
                ["clusters inside a true one", judged.clusters - judged.clusters_wrong, judged.clusters],
                ["clusters that are a true one, whole", judged.clusters_equal, judged.clusters],
            ],
        )
        self.report.mark(
            "documents per CPU second, one core", run.per_second, "≥ 12,000", run.per_second >= 12_000
        )
        right = min(judged.precision, judged.document_precision)
        self.report.mark("precision", right, "1.000", right == 1)
        found = judged.document_recall
        self.report.mark("document recall", found, "≥ 0.995", found >= 0.995)

    def peers(self) -> None:
        """Peers on the same documents."""
        run, truth = self.one_core(), self.truth()
        judged = judge(truth, ours.decisions(self.folder))
        rates, memory = (run.per_second, run.megabytes_per_second), run.used.together / 2**20
        quality = (judged.document_recall, judged.document_precision)
        rows: list[list[object]] = [["ours, verified", run.documents, *rates, memory, *quality]]
        for name, peer in peers.PEERS.items():
            documents = int(self.base.rows * peer.share * (0.1 if self.options.quick else 1))
            try:
                found = peers.measure(name, self.folder, documents, self.work)
            except LeftOut as why:
                rows.append([f"{peer.title}: left out: {why}", *[""] * 6])
                self.leave_out(f"{peer.title}: {why}")
                continue
            part, flagged = truth.first(found.documents), np.array(found.flagged)
            rows.append(
                [
                    peer.title,
                    found.documents,
                    found.documents / found.cpu_seconds,
                    found.text_bytes / found.cpu_seconds / 1e6,
                    found.peak / 2**20,
                    recall_of_documents(part, flagged),
                    precision_of_documents(part, flagged),
                ]
            )
        head = [
            "one core",
            "documents",
            "documents per CPU-s",
            "MB per CPU-s",
            "peak MiB",
            "recall",
            "precision",
        ]
        self.report.show(
            f"Peers: word 5-grams, {ours.BANDS} × {ours.ROWS} hashes",
            head,
            rows,
            note=f"Of documents with a partner of similarity ≥ {THRESHOLD}. Slow peers get the first part of the corpus. "
            "Memory: ours of all processes together. A peer's imports and starting are left out.",
        )

    def scaling(self) -> None:
        """Growth from small to large."""
        sizes = list(self.options.sizes or (QUICK_SIZES if self.options.quick else scaling.SIZES))
        found = scaling.scale(
            sizes, self.base, self.work / "warm", self.work, keep=not self.options.throw_away
        )
        for run in found.runs:
            self.measured[f"{run.documents:,} generated, {scaling.WORKERS} workers"] = run
        rows: list[list[object]] = []
        for run in found.runs:
            times = (run.wall_seconds, run.cpu_seconds, run.per_second)
            peaks = (run.used.largest / 2**20, run.used.together / 2**20)
            rows.append([run.documents, run.text_bytes / 1e6, *times, *peaks, run.disk / 1e6])
        head = ["documents", "MB of text", "wall s", "CPU s", "documents per CPU-s", "largest process MiB"]
        exponents = {what: found.exponent(what) for what in ("cpu_seconds", "wall_seconds")}
        self.report.show(
            f"Growth, {scaling.WORKERS} workers",
            [*head, "all processes MiB", "disk MB"],
            rows,
            note=f"Exponent of CPU time {exponents['cpu_seconds']:.2f}, of wall time {exponents['wall_seconds']:.2f}; "
            f"between the first and the last {found.marginal():,.0f} documents per CPU second.",
        )
        scaling.plot(found, self.work / "scaling.svg")
        if sizes[-1] < scaling.SIZES[-1]:
            return  # too short a way for a mark
        for what in ("cpu_seconds", "wall_seconds"):
            self.report.mark(
                f"exponent of {what.replace('_', ' ')}", exponents[what], "≤ 1.1", exponents[what] <= 1.1
            )
        for what, name in (("largest", "largest process"), ("together", "all processes")):
            of_sizes = np.array([getattr(run.used, what) for run in found.runs])
            apart = float(np.abs(of_sizes / of_sizes.mean() - 1).max())
            self.report.mark(f"memory of the {name}, share off its mean", apart, "≤ 0.2", apart <= 0.2)

    def chaos(self) -> None:
        """Kills, and other cuts of the same corpus."""
        try:
            found = chaos.chaos(self.base, self.work, self.options.quick)
        except LeftOut as why:
            self.leave_out(str(why))
            return
        rows: list[list[object]] = [[o.what, o.kills, o.runs, o.same, o.hung] for o in found]
        self.report.show("The same, whatever happens", ["what", "kills", "runs", "identical", "hung"], rows)
        different = sum(one.runs - one.same for one in found)
        self.report.mark("disturbed runs that differ", different, "0", different == 0)
        if not self.options.quick:
            missed = sum(kill.endswith(" 0") for one in found for kill in str(one.kills).split(", "))
            self.report.mark("rounds that no kill has hit", missed, "0", missed == 0)

    def cost(self) -> None:
        """What 25T tokens take."""
        self.one_core()
        per_token = cost.bytes_per_token(self.base, self.work / "bytes_per_token.txt")
        self.report.show(
            "25T tokens",
            [
                "run",
                "documents per core-s",
                "MB per core-s",
                "tokens a document",
                "core-hours",
                "cores for one day",
            ],
            cost.rows(self.measured, per_token),
            note=f"{per_token:.2f} bytes a token: a byte-level BPE of {cost.VOCABULARY:,} entries trained on this corpus.",
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--only", default=",".join(PARTS), help="default: %(default)s")
    parser.add_argument(
        "--sizes", type=lambda s: sorted(map(int, s.split(","))), help=f"of scaling; default {scaling.SIZES}"
    )
    parser.add_argument("--throw-away", action="store_true", help="remove generated corpora after their run")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "dedup")
    options = parser.parse_args()
    options.work = options.work.resolve()
    wanted = options.only.split(",")
    if unknown := set(wanted) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    try:
        bench = Bench(options)
    except LeftOut as why:
        console.print(f"not measured: {why}", markup=False)
        sys.exit(2)
    for part in PARTS:
        if part in wanted:
            getattr(bench, part)()
    met = bench.report.finish(options.work / "table.md")
    sys.exit(1 if not met else 2 if bench.left_out else 0)


if __name__ == "__main__":
    main()
