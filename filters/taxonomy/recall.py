"""Active recall: which hosts are rich in good documents, how many more of each to label, and what a round has found.

A tagger knows the good documents that the pool happened to show it. Where it finds some, there are others that it
misses, as a site seldom mixes good with bad: more documents of such hosts are labelled and the next tagger is taught
with them, until it finds hardly anything new (Shao et al. 2024, arXiv 2402.03300, section 2.1).

Good is a condition in SQL over the scores. The labels have the same dimensions on the same scales, so that the same
condition says what the labeller thinks is good.

Documents of a rich host are drawn whatever the tagger says of them. Only those it does not call good can teach it
something new, but a draw that asked for the score would change with every tagger: labels that are paid for would fall
out of the pool, and nobody could say how likely one was to be drawn. On a host of which a share g is called good this costs
1/(1 − g) as many labels, and they check the tagger's precision where most of what it keeps comes from.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from filters.taxonomy.held_out import split
from filters.taxonomy.label import labelled
from filters.taxonomy.pool import HOST, read_hosts, spread
from filters.taxonomy.rubric import Dimension
from pipeline import dataset, storage, view
from pipeline.errors import RequestError

GOOD = "score_reasoning_depth >= 2.5"  # nearer to level 3 than to 2: what the card calls good
FEWEST = 5  # documents of a host: what is so small holds nothing worth mining
NORMAL_95 = 1.959964
NO_HOSTS = pa.table({"host": pa.array([], pa.string()), "documents": pa.array([], pa.int64())})
TO_READ = (
    "AUC and AP are the card's, recall and precision those of the condition; all four on hosts that this round's tagger "
    "was not taught, which are others in every round. Good: documents of the run that meet the condition; new: those "
    f"that did in no round before. Rich: hosts with at least {FEWEST} documents, of whose share of good ones the lower end "
    "of Wilson's 95 % interval lies above `host_share` (in `request.json`). Mined: labelled since the round before; "
    "missed before: good by their label, which the tagger of the round before did not see."
)


def check_good(run: str, good: str, dimensions: Sequence[Dimension]) -> None:
    """Raises `RequestError` if the condition cannot be asked of both scores and labels, before anything is paid for."""
    with contextlib.closing(view.connect(run)) as connection:
        told = _in_place_of_scores(connection, dimensions)
        names = [row[0] for row in connection.execute(f"DESCRIBE {told}").fetchall()]
        try:
            connection.execute(f"SELECT 1 FROM ({told}) WHERE ({good}\n) LIMIT 0")
            (kind,) = connection.sql(f"SELECT ({good}\n) FROM ({told})").types
        except duckdb.Error as error:
            raise RequestError(
                f"--good {good}: {str(error).splitlines()[0]} Columns: {', '.join(names)}"
            ) from None
    if kind != "BOOLEAN":
        raise RequestError(
            f"--good {good}: that is {kind}, expected a condition, which is true or false: {GOOD}"
        )


def count_round(
    run: str,
    folder: Path,
    dimensions: Sequence[Dimension],
    *,
    good: str = GOOD,
    host_share: float = 0.1,
    documents: int = 1000,
    share: float = 0.2,
    seed: int = 0,
    earlier: Sequence[Path] = (),
    hosts: str | None = None,
) -> dict[str, Any]:
    """Count a run that the tagger in `folder` has just tagged; returns the round's record.

    Beside the tagger are written `documents.parquet` (id, host, good, labelled, label_good of what is good or labelled)
    and `hosts.parquet` (hosts that are rich or were; the pool's next list). host_share: a host of at least 5
    documents is rich if the lower end of Wilson's 95 % interval of its share of good ones lies above it. documents: how
    many to label next. share, seed: the tagger's, which say what was held out. earlier: folders of the rounds before.
    hosts: the list that the present pool was drawn with.
    """
    with contextlib.closing(view.connect(run)) as connection:
        told = _in_place_of_scores(connection, dimensions)
        connection.execute(f"CREATE TEMP TABLE told AS SELECT id, ({good}\n) AS label_good FROM ({told})")
        connection.execute(SAID.format(host=HOST, good=good))
        found = _found(connection, folder, earlier)
        held_out = _held_out(connection, run, share, seed)
        mined = _mined(connection, host_share, documents, hosts)
    storage.write_bytes(str(folder / "hosts.parquet"), dataset.encode(mined))
    return {
        "round": len(earlier),
        "card": _card(folder / "tagger", good, dimensions),
        "held_out": held_out,
        **found,
        "hosts": {name: len(mined.filter(mined[name])) for name in ("rich", "newly_rich")},
        "to_label": int(np.sum(mined["new"].to_numpy())),
    }


def table(rounds: Sequence[dict[str, Any]]) -> str:
    """The rounds in Markdown."""
    titles = (
        *("round", "labelled", "AUC", "AP", "recall", "precision", "good", "new"),
        *("rich hosts", "newly rich", "mined", "good by label", "missed before"),
    )
    lines = ["| " + " | ".join(titles) + " |", "|" + "---:|" * len(titles)]
    for one in rounds:
        card: dict[str, Any] = next(iter(one["card"].values()), {})
        cells = (
            *(one["round"], f"{one['labelled']:,}", _short(card.get("auc")), _short(card.get("ap"))),
            *(_short(one["held_out"]["recall"]), _short(one["held_out"]["precision"])),
            *(f"{one['good']:,}", f"{one['new']:,} ({one['new_share']:.1%})"),
            *(f"{one['hosts']['rich']:,}", f"{one['hosts']['newly_rich']:,}"),
            *(f"{one['mined']:,}", f"{one['mined_good']:,}", f"{one['mined_missed']:,}"),
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join([*lines, "", TO_READ, ""])


def lower_bound(good_H: np.ndarray, documents_H: np.ndarray) -> np.ndarray:
    """The lower end of Wilson's 95 % interval (1927) of each host's share of good documents.

    A tagger that is wrong about one document in twenty finds 2 good ones among 10 on one of 12 poor hosts, and poor
    hosts are nearly all there are: by shares alone the larger part of the labels would go to them. By the lower bound
    1 poor host in 90 passes, and the larger a host, the closer to its share the bound.

    >>> lower_bound(np.array([2, 3, 200]), np.array([10, 10, 1000])).round(3).tolist()
    [0.057, 0.108, 0.176]
    """
    z2, share_H = NORMAL_95**2, good_H / documents_H
    spread_H = NORMAL_95 * np.sqrt(share_H * (1 - share_H) / documents_H + z2 / (4 * documents_H**2))
    return (share_H + z2 / (2 * documents_H) - spread_H) / (1 + z2 / documents_H)


def _in_place_of_scores(connection: duckdb.DuckDBPyConnection, dimensions: Sequence[Dimension]) -> str:
    """SQL: the labelled documents with the labels of these dimensions in the columns of their scores."""
    columns = [row[0] for row in connection.execute("DESCRIBE docs").fetchall()]
    scores = [f'"{name}"' for name in columns if name.startswith("score_")]
    without = f" EXCLUDE ({', '.join(scores)})" if scores else ""
    labels = []
    for dimension in dimensions:  # of two levels `tag` writes the probability of the upper, not a level
        from_zero = dimension.first if dimension.ordinal and len(dimension.levels) == 2 else 0
        less = f" - {from_zero}" if from_zero else ""
        labels.append(f'labels."label_{dimension.name}"{less} AS "score_{dimension.name}"')
    return (
        f"SELECT docs.*{without}, {', '.join(labels)} "
        "FROM docs JOIN labels ON source_id = docs.id WHERE NOT again"
    )


# What is said of every document; label_good is null where the labeller abstained or was not asked.
SAID = """
CREATE TEMP VIEW said AS
SELECT said.*, told.id IS NOT NULL AS labelled, label_good
FROM (
    SELECT id, pool_probability AS probability, {host} AS host, coalesce(({good}
), false) AS good FROM docs
) AS said LEFT JOIN told USING (id)
"""

FOUND = """
WITH found AS (
    SELECT now.*, coalesce(before.good, false) AS was_good, ever.id IS NOT NULL AS ever_good,
        {later} AND now.labelled AND NOT coalesce(before.labelled, false) AS mined
    FROM now LEFT JOIN before USING (id) LEFT JOIN (SELECT DISTINCT id FROM ever WHERE good) AS ever USING (id)
)
SELECT count(*) FILTER (labelled) AS labelled, count(*) FILTER (label_good) AS labelled_good,
    count(*) FILTER (good) AS good, count(*) FILTER (good AND NOT ever_good) AS new,
    (SELECT count(*) FROM before WHERE good) - count(*) FILTER (good AND was_good) AS lost,
    count(*) FILTER (mined) AS mined, count(*) FILTER (mined AND label_good) AS mined_good,
    count(*) FILTER (mined AND label_good AND NOT was_good) AS mined_missed
FROM found
"""

HELD_OUT = """
SELECT count(*) AS rows, count(*) FILTER (label_good) AS good,
    sum(1 / probability) FILTER (good AND label_good) / sum(1 / probability) FILTER (label_good) AS recall,
    sum(1 / probability) FILTER (good AND label_good) / sum(1 / probability) FILTER (good) AS precision
FROM said JOIN held_out USING (id) WHERE label_good IS NOT NULL
"""

BY_HOST = """
SELECT said.host, count(*) AS total, count(*) FILTER (good) AS good, count(probability) AS pooled,
    count(*) FILTER (labelled) AS labelled, count(*) FILTER (label_good) AS labelled_good,
    coalesce(any_value(listed.documents), 0) AS drawn, count(listed.host) > 0 AS listed
FROM said LEFT JOIN listed USING (host) WHERE said.host IS NOT NULL
GROUP BY said.host HAVING listed OR count(*) FILTER (good) > {host_share} * count(*) ORDER BY said.host
"""


def _found(connection: duckdb.DuckDBPyConnection, folder: Path, earlier: Sequence[Path]) -> dict[str, Any]:
    """What is good and new now, and what the documents labelled since the round before are.

    New is what no earlier tagger called good: what two taggers in turn find and lose again is no news.
    """
    now = folder / "documents.parquet"
    quoted = str(now).replace("'", "''")
    connection.execute(
        "COPY (SELECT id, host, good, labelled, label_good FROM said WHERE good OR labelled ORDER BY id) "
        f"TO '{quoted}' (FORMAT parquet)"
    )
    connection.read_parquet(str(now)).create_view("now")
    nothing = connection.sql("SELECT * FROM now WHERE false")
    files = [str(one / "documents.parquet") for one in earlier]
    (connection.read_parquet(files) if files else nothing).create_view("ever")
    (connection.read_parquet(files[-1]) if files else nothing).create_view("before")
    (row,) = connection.sql(FOUND.format(later=bool(earlier))).to_arrow_table().to_pylist()
    return row | {"new_share": round(row["new"] / row["good"], 4) if row["good"] else 0.0}


def _held_out(connection: duckdb.DuckDBPyConnection, run: str, share: float, seed: int) -> dict[str, Any]:
    """Recall and precision of the condition on labels that the tagger was not taught, for the corpus as a whole."""
    table = labelled(run)
    rows = split(table, share, seed)[1]
    connection.register("held_out", table.select(["id"]).take(pa.array(rows)))
    (row,) = connection.sql(HELD_OUT).to_arrow_table().to_pylist()
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}


def _mined(
    connection: duckdb.DuckDBPyConnection, host_share: float, documents: int, hosts: str | None
) -> pa.Table:
    """The hosts that are rich, or were, and how many `documents` of each the next pool is to draw."""
    connection.register("listed", read_hosts(hosts) if hosts else NO_HOSTS)
    table = connection.sql(BY_HOST.format(host_share=host_share)).to_arrow_table()
    total_H, good_H, pooled_H, drawn_H = (
        table[name].to_numpy() for name in ("total", "good", "pooled", "drawn")
    )
    rich_H = (total_H >= FEWEST) & (lower_bound(good_H, total_H) > host_share)
    room_H = np.where(rich_H, total_H - pooled_H, 0)
    new_H = spread(room_H, documents)
    # The lowest hashes are drawn already. Of the others, which may be in the pool by another draw, `room` are not.
    drawn_H = np.minimum(drawn_H, total_H)
    more_H = np.ceil(new_H * (total_H - drawn_H) / np.maximum(1, room_H)).astype(np.int64)
    listed = table["listed"].to_numpy()
    kept = pa.array(rich_H | listed)
    columns = table.select(["host", "total", "good", "labelled", "labelled_good"]).to_pydict() | {
        "documents": drawn_H + more_H,
        "new": new_H,
        "rich": rich_H,
        "newly_rich": rich_H & ~listed,
    }
    return pa.table(columns).filter(kept)


def _card(tagger: Path, good: str, dimensions: Sequence[Dimension]) -> dict[str, Any]:
    """AUC, AP and what the cut keeps, from the card, of each ordinal dimension that the condition names."""
    dimensions_of_card = json.loads((tagger / "card.json").read_bytes())["dimensions"]
    found = {}
    for dimension in dimensions:
        part = dimensions_of_card[dimension.name]
        if dimension.ordinal and part.get("cut") and re.search(rf"\bscore_{dimension.name}\b", good):
            cut = part["cut"]
            at = next(one for one in part["thresholds"] if one["at_least"] == cut["at_least"])
            found[dimension.name] = {
                "at_least": cut["at_least"],
                **{name: at[name]["value"] for name in ("auc", "ap")},
                **{name: cut[name]["value"] for name in ("recall", "precision")},
            }
    return found


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
