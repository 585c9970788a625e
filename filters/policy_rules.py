"""The rules of a policy: read from a YAML file, and each looked at alone before all of them are asked together."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import duckdb
import yaml
from pydantic import BeforeValidator


def _written(value: Any) -> Any:
    """YAML reads `true` and `2` as what they are; in SQL they are written the same."""
    return str(value).lower() if isinstance(value, bool | int | float) else value


SQL = Annotated[str, BeforeValidator(_written)]


def read_rules(path: Path) -> dict[str, Any]:
    """The fields `drop`, `weight` and `group` of a policy file.

    Raises ValueError, which names the file, where it cannot be read, holds other fields, a name twice (YAML would take
    the second and lose the first), or a condition that is no text.
    """
    try:
        text = path.read_text(encoding="utf-8")
        for name, first, line in _twice(yaml.compose(text, yaml.SafeLoader)):
            raise ValueError(
                f"{path}:{line}: {name} stands twice, first in line {first}; give one another name"
            )
        rules = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = (
            "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error).replace("\n", " ")
        )
        raise ValueError(f"cannot read policy file {path}: {why}") from None
    if not isinstance(rules, dict) or set(rules) - {"drop", "weight", "group"}:
        raise ValueError(
            f"policy file {path} must hold `drop` (reason: condition) and may hold `weight` and `group`"
        )
    for field in ("drop", "group"):
        conditions = rules.get(field)
        if conditions is None:
            rules.pop(field, None)  # all of its rules are commented out
        elif not isinstance(conditions, dict):
            raise ValueError(f"{path}: `{field}` must be a mapping of names to SQL conditions")
        else:
            rules[field] = {
                str(name): _text(path, f"{field}.{name}", sql) for name, sql in conditions.items()
            }
    if "weight" in rules:
        rules["weight"] = _text(path, "weight", rules["weight"])
    return rules


def _text(path: Path, field: str, value: Any) -> str:
    if not isinstance(value := _written(value), str):
        raise ValueError(f"{path}: {field} must be SQL, not {type(value).__name__}: write it in quotes")
    return value


def _twice(node: yaml.Node | None) -> Iterator[tuple[str, int, int]]:
    """Names that stand twice in a mapping: name, the first's line, the second's line."""
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in lines:
                yield key.value, lines[key.value], line
            lines[key.value] = line
            yield from _twice(value)


def what_is_wrong(connection: duckdb.DuckDBPyConnection, rule: str) -> str:
    """Why this SQL cannot be a rule, "" if it can: one expression, about one document, the same whenever it is asked.

    A subquery would see the other documents that happen to be in the same batch, `random` or `now` change with the run.
    """
    if not rule.strip():
        return "it is empty"
    if rule.rstrip().endswith(";"):
        return "leave out the semicolon"
    said = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT {rule}\n"]).fetchone()
    parsed: Any = json.loads(said[0]) if said else {"error": True}
    if parsed["error"]:
        return parsed.get("error_message", "it is no SQL expression")
    if len(parsed["statements"]) != 1:
        return "it is more than one statement"
    node = parsed["statements"][0]["node"]
    columns_asked = node.get("select_list", [])
    if len(columns_asked) != 1 or node["from_table"]["type"] != "EMPTY" or node["where_clause"]:
        return "it must be one expression"
    unsteady = _unsteady_functions(connection)
    for part in _parts(columns_asked[0]):
        if part.get("class") == "SUBQUERY":
            return "a rule sees one document at a time, a subquery would see others"
        if part.get("class") == "STAR":
            return "`*` and COLUMNS name several columns, a rule is one expression"
        named = part.get("function_name") or "".join(part.get("column_names") or [])
        # `current_date` is written like a column
        if named.lower() in unsteady and (part.get("function_name") or named.lower().startswith("current_")):
            return f"{named} does not say the same each time: a decision must not depend on when it was made"
    return ""


def _unsteady_functions(connection: duckdb.DuckDBPyConnection) -> set[str]:
    asked = "SELECT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'"
    return {name for (name,) in connection.execute(asked).fetchall()}


def _parts(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
    for part in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _parts(part)
