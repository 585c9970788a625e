"""Near-duplicates across a whole corpus: MinHash proposes pairs, exact Jaccard decides, a policy says which one stays.

Documents whose word n-gram sets have Jaccard similarity ≥ `threshold` are linked, linked documents are a cluster
(connected components), and of each cluster one document is kept: the best by the `keep` expressions, never the first
that happened to come. Nothing is removed here: the stage writes columns, and the policy reads them.

Every result is a function of the set of documents alone, whatever the shards, their order or the number of workers:
what is chosen among several goes by their ids.

Candidates are all pairs within a band's bucket, except that

* documents of equal words are one: the one of them that stands for all is compared with the rest of the bucket;
* of a bucket with more than `bucket_cap` different texts each is compared with one of them only. It costs true pairs
  where thousands of texts fill in one template: in a made-up one (J = 0.83 within pairs, 0.73 between them) recall was
  0.86 with the cap of 64 and 1.00 without.

The rounds, each over shards or over partitions of about `documents_per_partition` documents:

    bands     shards → the bucket's partition            17 short rows a document
    pairs     → both documents' shards                   twins and candidate pairs
    sets      shards → the pair's partition              n-gram sets of candidates: the only time that text is read
    verify    → both documents' partitions               links, with their exact similarity
    large, small  …and again until every cluster is a star around its smallest member
    gather    → the cluster's partition                  its members and links
    choose    → the members' shards                      the one that is kept, and why
    align     shards                                     a row for every document

Memory is that of one partition. Two things can make one larger than the others: a cluster (about 200 bytes for each
of its documents), and texts that are alike without being duplicates: the n-gram sets of all of a document's candidates
arrive where it is compared. Batches on their way are shards × partitions, each some tenths of a millisecond: with
more than a million documents shards of 10,000 and more are better than small ones.
"""

from __future__ import annotations

import logging
import unicodedata
from typing import Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipeline import dataset, storage
from pipeline.dataset import Dataset
from pipeline.dedup import minhash
from pipeline.dedup.graph import bucket_pairs, distinct, large_star, small_star
from pipeline.dedup.keep import DEFAULT, Keep, Rule
from pipeline.errors import RequestError, RunError
from pipeline.stage import Outcome, Repeat, Round, Sent, ShuffleStage, StageConfig, Unit

log = logging.getLogger(__name__)
ID_BAND = -1  # of the rows in which documents of equal id meet
TWIN, PAIR, SAME_ID = range(3)  # what two documents may be to each other before they are compared
# Of the documents of equal words one `stands` for all, in every comparison. A row for each shard that has some of them:
# these `documents`, the best two of them and the smallest id.
MEMBER = ["stands", "documents", "best", "best_id", "best_keep", "second_keep", "smallest_id"]
LINK = ["node", "other", "jaccard"]


class DedupConfig(StageConfig):
    threshold: Annotated[float, Field(gt=0, le=1)] = Field(
        0.8, description="Jaccard similarity of word n-gram sets from which two documents are duplicates"
    )
    keep: list[Rule] | None = Field(
        None,
        description="which document of a cluster is kept: SQL expressions over the documents' columns that give "
        "numbers, the first that differs decides, null is worst; after the last one the smallest id. Default, as far "
        f"as the columns are there: {', '.join(f'{which} {expression}' for expression, which in DEFAULT)}",
    )
    documents_per_partition: Annotated[int, Field(ge=1)] = Field(
        50_000, description="how many documents' rows a worker holds at a time, about 1.5 kB each"
    )
    dumps: list[str] = Field(
        [],
        description="run folders of several dumps, each with its `documents` and `signatures`: decide over all of them "
        "together; their own `dedup` stages adopt it by `decided_in`. Add or leave out a dump and run again",
    )
    decided_in: str | None = Field(
        None, description="run folder in which this run was one of the `dumps`: adopt what was decided there"
    )
    bucket_cap: Annotated[int, Field(ge=2)] = Field(
        64, description="different texts in a bucket up to which all pairs are compared, else a star"
    )


class Dedup(ShuffleStage):
    """One row a document: is it a duplicate, of which one, how alike, and why that one is kept.

    `dedup_jaccard` is the exact similarity of a dropped document and the kept one where the two are linked themselves,
    and null where they belong together only through others. A text without words is never a duplicate.
    """

    name = "dedup"
    output = "dedup"
    input = ("documents",)
    columns = ("signatures", "signals", "scores")
    uses = ("signatures",)
    libraries = ("numba", "duckdb")
    schema = pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("dedup_of", pa.string()),  # the kept document of its cluster; null = this one is kept
            pa.field("dedup_jaccard", pa.float32()),
            pa.field("dedup_cluster_id", pa.string()),  # smallest id of the cluster; null = alone
            pa.field("dedup_cluster_size", pa.int32(), nullable=False),  # 1 = alone
            pa.field("dedup_kept_because", pa.string()),  # the rule that decided; null = alone, or not kept
        ]
    )
    Config: ClassVar[type[StageConfig]] = DedupConfig

    def __init__(self, config: StageConfig | None = None) -> None:
        super().__init__(config)
        self.keep = Keep(self.config.keep)
        if self.config.dumps or self.config.decided_in:
            self.uses = ()  # type: ignore[misc, assignment] # the signatures are the dumps'

    def elsewhere(self) -> list[str]:
        return sorted(self.config.dumps, key=_name)

    def check(self, schema: pa.Schema | None) -> None:
        names = [_name(folder) for folder in self.config.dumps]
        if len(set(names)) < len(names):
            raise RequestError(
                f"dedup: dumps go by the names of their folders, and two are the same: {names}"
            )
        self.keep.check()
        if self.config.dumps and self.config.decided_in:
            raise RequestError("dedup: either `dumps`, to decide over them, or `decided_in`, to adopt that")
        stores = [Dataset.open(storage.join(folder, "signatures")) for folder in self.config.dumps]
        for store in stores[1:]:
            for what in ("files", "config"):
                if store.manifest[what] != stores[0].manifest[what]:
                    raise RequestError(
                        f"dedup: {store.path} was made with {store.manifest[what]}, {stores[0].path} with "
                        f"{stores[0].manifest[what]}: run `reasonmill signatures` with the same options on both"
                    )

    @property
    def rounds(self) -> tuple[Round | Repeat, ...]:  # type: ignore[override]
        if self.config.decided_in:
            return (Round("adopt", "shards", None, reads=("id",)),)
        parts = -(-max(1, self.rows) // self.config.documents_per_partition)
        of_keep = self.keep.names()
        return (
            Round(
                "bands",
                "shards",
                parts,
                reads=("id", "minhash_words", "minhash_text", "minhash_bands", *of_keep),
            ),
            Round("pairs", "partitions", "shards"),
            Round("sets", "shards", parts, reads=("id", "text", "minhash_words", *of_keep)),
            Round("verify", "partitions", parts),
            Repeat((Round("large", "partitions", parts), Round("small", "partitions", parts))),
            Round("gather", "partitions", parts, also=("verify",)),
            Round("choose", "partitions", "shards"),
            Round("align", "shards", None, reads=("id",)),
        )

    def files(self) -> dict[str, str]:
        """Not files, but the result hangs on them as on a file: our hashes and Python's tables of Unicode."""
        files = {"minhash algorithm": str(minhash.ALGORITHM), "unicode": unicodedata.unidata_version}
        if self.config.decided_in:
            files["decisions"] = self._decisions().digest
        return files

    def prepare(self) -> None:
        if self.config.decided_in:
            return
        dumps = self.config.dumps
        store = Dataset.open(storage.join(dumps[0], "signatures")) if dumps else self.used("signatures")
        self.open_store(store.manifest["files"], store.manifest["config"])

    def open_store(self, files: dict[str, str], config: dict[str, Any]) -> None:
        """What the signatures were made with. Raises `RequestError` when they are not ours."""
        if files != self.files():
            raise RequestError(
                f"dedup: the signatures were made with {files}, this is {self.files()}: run `reasonmill signatures` again"
            )
        self.ngram = config["ngram"]

    # ---- candidates ----

    def bands(self, unit: Unit) -> pa.Table:
        """Of every document, its signature's bands; rows of equal `key` meet in one partition, a bucket."""
        table = _documents(unit)
        if "minhash_bands" not in table.column_names:
            raise RequestError(
                "dedup: the signatures are not those of these documents: run `reasonmill signatures` again"
            )
        self.keep.values(table.slice(0, 2))  # a wrong expression is refused now, not hours later
        bands = table["minhash_bands"].combine_chunks()
        count = bands.type.list_size
        rows = np.flatnonzero(bands.is_valid())  # those with words
        keys = bands.flatten().to_numpy().reshape(len(rows), count)
        order = minhash.string_hashes(table["id"])
        again = minhash.string_hashes(table["id"], seed=1)  # equal ids agree in both
        text = table["minhash_text"].combine_chunks().fill_null(0).to_numpy()
        document = np.int64(unit.index) << 32 | np.arange(len(table))
        key = np.concatenate([minhash.mix(~order), keys.ravel()])
        return pa.table(
            {
                "partition": pa.array(_partition(key, unit.to)),
                "key": pa.array(key),
                "band": pa.array(
                    np.concatenate(
                        [
                            np.full(len(table), ID_BAND, np.int16),
                            np.tile(np.arange(count, dtype=np.int16), len(rows)),
                        ]
                    )
                ),
                **{
                    name: pa.array(np.concatenate([of_id, np.repeat(values[rows], count)]))
                    for name, of_id, values in (
                        ("text", again, text),
                        ("order", order, order),
                        ("document", document, document),
                    )
                },
            }
        )

    def pairs(self, unit: Unit) -> pa.Table:
        """Twins and candidate pairs of this partition's buckets, each sent to the shards of both documents."""
        rows = _routed(unit)
        key, band, text, order, document = (
            rows[name].to_numpy() for name in ("key", "band", "text", "order", "document")
        )
        of_id = band == ID_BAND
        same_id = _equal_neighbours(key[of_id], text[of_id], document[of_id])
        key, band, text, order, document = (values[~of_id] for values in (key, band, text, order, document))
        twins, pairs, left_out = bucket_pairs(key, band, text, order, document, self.config.bucket_cap)
        if left_out:
            log.warning(
                "%s pairs in buckets of more than %d different texts are not compared; bucket_cap raises that",
                f"{left_out:,}",
                self.config.bucket_cap,
            )
        left, right = np.concatenate([twins, pairs, same_id], axis=1)
        kind = np.repeat(
            np.array([TWIN, PAIR, SAME_ID], np.int8), [twins.shape[1], pairs.shape[1], same_id.shape[1]]
        )
        apart = left >> 32 != right >> 32
        return pa.table(
            {
                "partition": pa.array((np.concatenate([left, right[apart]]) >> 32).astype(np.int32)),
                **{
                    name: pa.array(np.concatenate([values, values[apart]]))
                    for name, values in (("left", left), ("right", right), ("kind", kind))
                },
            }
        )

    def sets(self, unit: Unit) -> pa.Table:
        """What is needed to compare this shard's documents, and who of them may be a member of a cluster.

        A pair is compared at its home's partition; there the home names its guests, and the guests' sets arrive.
        """
        table, routed = _documents(unit), _routed(unit)
        left, right, kind = (routed[name].to_numpy() for name in ("left", "right", "kind"))
        self._refuse_same_ids(unit, table, left[kind == SAME_ID], right[kind == SAME_ID])
        here = np.int64(unit.index)
        home, guest = distinct(np.stack([left[kind == PAIR], right[kind == PAIR]]))

        # Each set once for every partition where it is compared, under its row; guests by home.
        at_home, as_guest = home >> 32 == here, guest >> 32 == here
        row = np.concatenate([home[at_home], guest[as_guest]]) & 0xFFFFFFFF
        partition = _partition_of(np.concatenate([home[at_home], home[as_guest]]), unit.to)
        wanted, place = np.unique(partition.astype(np.int64) << 32 | row, return_inverse=True)
        of_home = place[: np.count_nonzero(at_home)]
        guests = np.bincount(of_home, minlength=len(wanted))
        by_home = np.argsort(of_home, kind="stable")
        needed, at = np.unique(wanted & 0xFFFFFFFF, return_inverse=True)
        values, offsets = minhash.shingle_hashes(table["text"], self.ngram, needed)
        shingles = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values))
        in_order = np.array_equal(at, np.arange(len(needed)))  # as with one partition: nothing to copy
        sets = pa.table(
            {
                "partition": pa.array((wanted >> 32).astype(np.int32)),
                "document": pa.array(here << 32 | wanted & 0xFFFFFFFF),
                "guests": pa.ListArray.from_arrays(_offsets(guests), pa.array(guest[at_home][by_home])),
                "shingles": shingles if in_order else shingles.take(pa.array(at)),
            }
        )

        # A member is a twin of the document that stands for it; that one, and every end of a pair, of itself.
        twin_of, twin = left[kind == TWIN], right[kind == TWIN]
        itself = np.unique(np.concatenate([home, guest, twin_of]))
        stands, member = np.concatenate([twin_of, itself]), np.concatenate([twin, itself])
        stands, member = distinct(np.stack([stands, member])[:, member >> 32 == here])
        members = self._members(table, stands, member, unit.to)
        return pa.concat_tables([sets, members], promote_options="default")

    def verify(self, unit: Unit) -> pa.Table:
        """Exact Jaccard similarity of the candidates; those at the threshold or above are links, told to both ends."""
        rows = _routed(unit)
        members = rows.select(MEMBER).filter(rows["stands"].is_valid())
        shingles, guests = rows["shingles"].combine_chunks(), rows["guests"].combine_chunks()
        documents = rows["document"].combine_chunks().fill_null(-1).to_numpy()
        order = np.argsort(documents)
        left = pc.list_parent_indices(guests).to_numpy()
        right = _find(documents, order, guests.flatten().to_numpy())
        if (right < 0).any():
            raise RunError(
                "dedup: a document did not arrive where it is compared; delete the stage's rounds and rerun"
            )
        offsets = np.append(0, np.cumsum(pc.list_value_length(shingles).fill_null(0).to_numpy()))
        jaccard = minhash.exact_jaccard(shingles.flatten().to_numpy(), offsets, left, right)
        linked = jaccard >= self.config.threshold
        node, other = documents[left[linked]], documents[right[linked]]
        links = pa.table(
            {
                "partition": pa.array(_partition_of(np.concatenate([node, other]), unit.to)),
                "node": pa.array(np.concatenate([node, other])),
                "other": pa.array(np.concatenate([other, node])),
                "jaccard": pa.array(np.tile(jaccard[linked], 2)),
            }
        )
        members = members.append_column("partition", pa.array(np.full(len(members), unit.index, np.int32)))
        return pa.concat_tables([links, members], promote_options="default")

    # ---- clusters ----

    def large(self, unit: Unit) -> Sent:
        """Large-star: to the larger end of every edge."""
        node, other, again = large_star(*_edges(_routed(unit)))
        return Sent(_edge_rows(node, other, unit.to), again)

    def small(self, unit: Unit) -> Sent:
        """Small-star: to both ends of every edge."""
        node, other = small_star(*_edges(_routed(unit)))
        both = np.concatenate([node, other]), np.concatenate([other, node])
        return Sent(_edge_rows(*both, unit.to), False)

    def gather(self, unit: Unit) -> pa.Table:
        """Members and links of every cluster, sent to the partition of its label: its smallest document that stands."""
        node, other = _edges(_routed(unit))
        nodes, edge = np.unique(
            node, return_index=True
        )  # a leaf of a star has one edge; the middle is the smallest
        labels = np.minimum(node, other)[edge]
        known = unit.also["verify"]
        members, links = known.filter(known["stands"].is_valid()), known.filter(known["node"].is_valid())
        links = links.filter(pc.less(links["node"], links["other"]))
        parts = []
        for rows, column, names in ((members, "stands", MEMBER), (links, "node", LINK)):
            stands = rows[column].to_numpy()
            at = _find(nodes, np.arange(len(nodes)), stands)
            label = np.where(at < 0, stands, labels[at]) if len(labels) else stands
            parts.append(
                rows.select(names)
                .append_column("partition", pa.array(_partition_of(label, unit.to)))
                .append_column("label", pa.array(label))
            )
        return pa.concat_tables(parts, promote_options="default")

    def choose(self, unit: Unit) -> pa.Table:
        """Of every cluster the document that is kept and why, sent to each of its documents' shards."""
        rows = _routed(unit)
        links = rows.filter(rows["node"].is_valid())
        rows = rows.filter(rows["stands"].is_valid())
        labels, cluster = np.unique(rows["label"].to_numpy(), return_inverse=True)
        documents = rows["documents"].combine_chunks()
        count = pc.list_value_length(documents).to_numpy()
        size = np.bincount(cluster, weights=count, minlength=len(labels)).astype(np.int64)

        ids = pc.rank(_strings(rows["best_id"]), tiebreaker="dense").to_numpy().astype(np.int64)
        rules = [f"{expression} {which}" for expression, which in self.keep.rules] + ["smallest id"]
        keep = _matrix(rows["best_keep"], len(rules) - 1)
        best = _first_of_each(cluster, np.column_stack([keep, ids]))
        decided_by = _decided_by(cluster, keep, best, _matrix(rows["second_keep"], len(rules) - 1))
        smallest = pc.rank(_strings(rows["smallest_id"]), tiebreaker="dense").to_numpy().astype(np.int64)
        first = _first_of_each(cluster, smallest[:, None])

        # Every document of a cluster of two or more.
        rows_of = pc.list_parent_indices(documents).to_numpy()
        document = documents.flatten().to_numpy()
        in_cluster = size[cluster[rows_of]] > 1
        rows_of, document = rows_of[in_cluster], document[in_cluster]
        its = cluster[rows_of]
        winner = rows["best"].to_numpy()[best][its]
        kept = document == winner
        stands = rows["stands"].to_numpy()
        similarity = _similarity(links, stands[rows_of], stands[best][its])
        return pa.table(
            {
                "partition": pa.array((document >> 32).astype(np.int32)),
                "row": pa.array(document & 0xFFFFFFFF),
                "dedup_of": rows["best_id"].take(pa.array(best[its], mask=kept)).combine_chunks(),
                "dedup_jaccard": pa.array(similarity, pa.float32(), mask=kept | np.isnan(similarity)),
                "dedup_cluster_id": rows["smallest_id"].take(pa.array(first[its])).combine_chunks(),
                "dedup_cluster_size": pa.array(size[its].astype(np.int32)),
                "dedup_kept_because": pa.array(rules).take(pa.array(decided_by[its], mask=~kept)),
            }
        )

    def align(self, unit: Unit) -> Outcome:
        """What was decided for this shard's documents, in their order; those without news are alone."""
        table, news = _documents(unit), _routed(unit)
        at = np.full(len(table), -1)
        at[news["row"].to_numpy()] = np.arange(len(news))
        columns = news.drop_columns(["row"]).take(pa.array(at, mask=at < 0)).add_column(0, "id", table["id"])
        size = columns.schema.get_field_index("dedup_cluster_size")
        columns = columns.set_column(size, "dedup_cluster_size", columns[size].fill_null(1))
        return Outcome(columns.cast(self.schema))

    def adopt(self, unit: Unit) -> Outcome:
        """What was decided for this shard's documents together with other dumps."""
        table, decisions = _documents(unit), self._decisions()
        run = _name(self.folder)
        name = f"{run}-{unit.shard}"
        if any(shard.name == name for shard in decisions.shards):
            now = Dataset.open(storage.join(self.folder, self.input[0]))
            if decisions.manifest["inputs"].get(f"{run}/{now.name}") != now.digest:
                raise RequestError(
                    f"dedup: {decisions.path} was decided about other documents than there are in {now.path}: decide again"
                )
        else:
            raise RequestError(
                f"dedup: {decisions.path} knows no shard {name}: name this run among its --dumps and decide again"
            )
        decided = dataset.read_shard(decisions.shard_path(name))
        assert decided["id"].equals(table["id"])
        return Outcome(decided)

    def _decisions(self) -> Dataset:
        return Dataset.open(storage.join(self.config.decided_in, self.output))

    # ---- parts of the rounds ----

    def _members(self, table: pa.Table, stands: np.ndarray, member: np.ndarray, parts: int) -> pa.Table:
        """Of this shard's members those with equal words in one row. Both arrays are sorted by `stands`."""
        rows = table.select(
            [name for name in table.column_names if name != "text" or name in self.keep.names()]
        )
        rows = rows.take(pa.array(member & 0xFFFFFFFF))
        ids = _strings(rows["id"])
        rank = pc.rank(ids, tiebreaker="dense").to_numpy().astype(np.int64)
        values = self.keep.values(rows)
        keep = pa.ListArray.from_arrays(
            _offsets(np.full(len(rows), values.shape[1])), pa.array(values.ravel())
        )
        group = np.unique(stands, return_inverse=True)[1]
        order = np.lexsort((rank, *values.T[::-1], group))  # the best of each group first
        first = np.flatnonzero(np.diff(group[order], prepend=-1))
        count = np.diff(np.append(first, len(order)))
        best, second = order[first], order[np.minimum(first + 1, max(len(order) - 1, 0))]
        return pa.table(
            {
                "partition": pa.array(_partition_of(stands[best], parts)),
                "stands": pa.array(stands[best]),
                "documents": pa.ListArray.from_arrays(_offsets(count), pa.array(member[order])),
                "best": pa.array(member[best]),
                "best_id": ids.take(pa.array(best)),
                "best_keep": keep.take(pa.array(best)),
                "second_keep": keep.take(pa.array(second, mask=count < 2)),
                "smallest_id": ids.take(pa.array(_first_of_each(group, rank[:, None]))),
            }
        )

    @staticmethod
    def _refuse_same_ids(unit: Unit, table: pa.Table, left: np.ndarray, right: np.ndarray) -> None:
        for one, other in zip(left.tolist(), right.tolist(), strict=True):
            here, there = (one, other) if one >> 32 == unit.index else (other, one)
            raise RequestError(
                f"dedup: two documents have the id {table['id'][here & 0xFFFFFFFF].as_py()!r}: row {here & 0xFFFFFFFF} of "
                f"input shard {here >> 32} and row {there & 0xFFFFFFFF} of shard {there >> 32} (all counted from 0). "
                "An id must be one document's; the reader gives every record its own."
            )


def _name(folder: str) -> str:
    """A run goes by the name of its folder."""
    return folder.rstrip("/").rsplit("/", 1)[-1]


def _documents(unit: Unit) -> pa.Table:
    assert unit.table is not None  # the runner's promise for rounds over shards
    return unit.table


def _routed(unit: Unit) -> pa.Table:
    assert unit.routed is not None  # the runner's promise for every round but the first
    return unit.routed


def _strings(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """In one piece, with 64-bit offsets: the ids of one partition may be more than 2 GiB."""
    column = column.cast(pa.large_string())
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _offsets(counts: np.ndarray) -> pa.Array:
    return pa.array(np.append(0, np.cumsum(counts)).astype(np.int32))


def _matrix(lists: pa.Array | pa.ChunkedArray, width: int) -> np.ndarray:
    """Lists of `width` numbers as rows; a null is a row of infinities, which come last."""
    lists = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
    matrix = np.full((len(lists), width), np.inf)
    matrix[lists.is_valid().to_numpy(zero_copy_only=False)] = (
        lists.flatten().to_numpy().reshape(-1, width) if width else 0
    )
    return matrix


def _edges(rows: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Edges among rows of several kinds."""
    rows = rows.select(["node", "other"]).filter(rows["node"].is_valid())
    return rows["node"].to_numpy(), rows["other"].to_numpy()


def _edge_rows(node: np.ndarray, other: np.ndarray, parts: int) -> pa.Table:
    return pa.table(
        {"partition": pa.array(_partition_of(node, parts)), "node": pa.array(node), "other": pa.array(other)}
    )


def _partition(hashes: np.ndarray, count: int) -> np.ndarray:
    """The hash's place when the range of hashes is cut into `count` equal pieces, int32."""
    return ((hashes >> np.uint64(32)) * np.uint64(count) >> np.uint64(32)).astype(np.int32)


def _partition_of(documents: np.ndarray, count: int) -> np.ndarray:
    return _partition(minhash.mix(documents.astype(np.uint64)), count)


def _find(values: np.ndarray, order: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where in `values`, which `order` sorts, each wanted one stands; −1 for nowhere."""
    if not len(values):
        return np.full(len(wanted), -1)
    at = np.searchsorted(values, wanted, sorter=order).clip(max=len(values) - 1)
    return np.where(values[order[at]] == wanted, order[at], -1)


def _equal_neighbours(key: np.ndarray, second: np.ndarray, document: np.ndarray) -> np.ndarray:
    """Documents of equal keys next to each other, int64 [2, …]."""
    order = np.lexsort((document, second, key))
    equal = (np.diff(key[order]) == 0) & (np.diff(second[order]) == 0)
    return np.stack([document[order[:-1][equal]], document[order[1:][equal]]])


def _first_of_each(group: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Of every group 0, 1, … the row whose values come first."""
    order = np.lexsort((*values.T[::-1], group))
    return order[np.flatnonzero(np.diff(group[order], prepend=-1))]


def _decided_by(
    cluster: np.ndarray, keep: np.ndarray, best: np.ndarray, second_keep: np.ndarray
) -> np.ndarray:
    """The first rule by which the best of a cluster differs from the next, as a number; if none does, the last."""
    others = keep.copy()
    others[best] = second_keep[best]  # what is left of the best one's row when it is gone
    next_cluster, next_keep = np.tile(cluster, 2), np.concatenate([others, second_keep])
    differs = keep[best] != next_keep[_first_of_each(next_cluster, next_keep)]
    last = np.ones((len(best), 1), bool)
    return np.concatenate([differs, last], axis=1).argmax(axis=1)


def _similarity(links: pa.Table, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Exact similarity of two documents that stand for others: 1 for the same one, NaN where no link tells."""
    nodes = np.unique(np.concatenate([left, right]))
    linked = [
        np.searchsorted(nodes, links[name].to_numpy()).clip(max=max(len(nodes) - 1, 0))
        for name in ("node", "other")
    ]
    code = linked[0] * len(nodes) + linked[1]
    ends = np.searchsorted(nodes, np.minimum(left, right)), np.searchsorted(nodes, np.maximum(left, right))
    at = _find(code, np.argsort(code), ends[0] * len(nodes) + ends[1])
    known = np.append(links["jaccard"].to_numpy(), np.nan)[at]
    return np.where(left == right, 1.0, known)
