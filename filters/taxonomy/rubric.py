"""The rubric: which questions a labeller answers about a document, and what each possible answer means.

A rubric is a TOML file with a name, a version and one `[[dimension]]` after the other; `rubric.toml` beside this file
is the one that is used when none is given. Ordinal dimensions have levels that are successive integers, nominal ones
have names. Labels, taggers and cards carry the rubric's name, version and digest.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import RequestError

RUBRIC = Path(__file__).with_name("rubric.toml")


@dataclass(frozen=True)
class Dimension:
    """One thing that is said about a document: what labels hold and taggers predict.

    levels: of an ordinal dimension the wording of the integers first, first + 1, …; of a nominal one its names.
    """

    name: str
    levels: tuple[str, ...]
    ordinal: bool
    first: int = 0

    @property
    def values(self) -> tuple[int, ...] | tuple[str, ...]:
        """What a label may be: integers of an ordinal dimension, names of a nominal one.

        >>> Dimension("depth", ("none", "some"), ordinal=True, first=1).values
        (1, 2)
        """
        if not self.ordinal:
            return self.levels
        return tuple(range(self.first, self.first + len(self.levels)))

    def to_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return asdict(self) | {"levels": list(self.levels)}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Dimension:
        """The opposite of `to_dict`."""
        return cls(found["name"], tuple(found["levels"]), found["ordinal"], found["first"])


@dataclass(frozen=True)
class Question:
    """How one dimension is asked about.

    meanings: of each level, in the order of the dimension's levels. examples: of each level, none or a few.
    abstain: when no level fits, in words; None where one always does.
    """

    text: str
    meanings: tuple[str, ...]
    examples: tuple[tuple[str, ...], ...]
    abstain: str | None = None


@dataclass(frozen=True)
class Rubric:
    """Dimensions, the question of each, and under which name and version they are known."""

    name: str
    version: str
    dimensions: tuple[Dimension, ...]
    questions: Mapping[str, Question]

    @property
    def digest(self) -> str:
        """sha256 of all that a labeller is told; comments and layout of the file do not count."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def identity(self) -> dict[str, str]:
        """What is written beside labels and models: name, version and digest."""
        return {"name": self.name, "version": self.version, "digest": self.digest}


def load_rubric(path: str | Path | None = None) -> Rubric:
    """The rubric in a file, or our own. Raises `RequestError` that names the file and the field."""
    file = Path(path).expanduser() if path else RUBRIC
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RequestError(f"cannot read the rubric {file}: {error}") from None
    where = f"rubric {file}"
    _refuse_unknown(found, {"name", "version", "dimension"}, where)
    name, version = _text(found, "name", where), _text(found, "version", where)
    entries = found.get("dimension")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise RequestError(f"{where}: expected at least one [[dimension]].")
    pairs = [_dimension(entry, f"{where}, dimension {number}") for number, entry in enumerate(entries, 1)]
    names = [dimension.name for dimension, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise RequestError(f"{where}: {', '.join(twice)}: given twice; a dimension's name must be its own.")
    return Rubric(name, version, tuple(d for d, _ in pairs), {d.name: question for d, question in pairs})


def _dimension(entry: dict[str, Any], where: str) -> tuple[Dimension, Question]:
    name = _text(entry, "name", where)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise RequestError(
            f"{where}: name = {name!r}: expected small letters, digits and _, as it becomes part of a column's name."
        )
    where = f"{where} ({name})"
    _refuse_unknown(entry, {"name", "question", "first", "level", "abstain"}, where)
    levels = entry.get("level")
    if (
        not isinstance(levels, list)
        or len(levels) < 2
        or not all(isinstance(level, dict) for level in levels)
    ):
        raise RequestError(f"{where}: level: expected at least two, each as {{meaning = …}}.")
    ordinal, first = "first" in entry, entry.get("first", 0)
    if (
        not isinstance(first, int)
        or isinstance(first, bool)
        or first < 0
        or (ordinal and first + len(levels) > 10)
    ):
        raise RequestError(f"{where}: first = {first!r}: levels must be single digits, from 0 to 9.")
    names, meanings, examples = [], [], []
    for number, level in enumerate(levels):
        at = f"{where}, level {first + number if ordinal else number + 1}"
        _refuse_unknown(level, {"meaning", "examples"} | (set() if ordinal else {"name"}), at)
        meanings.append(_text(level, "meaning", at))
        names.append(meanings[-1] if ordinal else _text(level, "name", at))
        shown = level.get("examples", [])
        if not isinstance(shown, list) or not all(isinstance(example, str) for example in shown):
            raise RequestError(f"{at}: examples: expected a list of texts.")
        examples.append(tuple(shown))
    if len(set(names)) < len(names):
        raise RequestError(f"{where}: level: two are the same; each must be its own.")
    abstain = _text(entry, "abstain", where) if "abstain" in entry else None
    question = Question(_text(entry, "question", where), tuple(meanings), tuple(examples), abstain)
    return Dimension(name, tuple(names), ordinal, first), question


def _text(found: Mapping[str, Any], field: str, where: str) -> str:
    value = found.get(field)
    if not isinstance(value, str) or not value.strip():
        raise RequestError(f"{where}: {field}: expected a text, found {value!r}.")
    return value.strip()


def _refuse_unknown(found: Mapping[str, Any], known: set[str], where: str) -> None:
    if unknown := sorted(set(found) - known):
        raise RequestError(
            f"{where}: {', '.join(unknown)}: not known here; expected {', '.join(sorted(known))}."
        )
