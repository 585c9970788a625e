"""The additions of the demo: right, apart from one another, and none that carries."""

import json

from reasonmill.demo_arithmetic import write


def test_the_three_files_are_right_and_share_no_pair(tmp_path):
    counts = write(tmp_path, test=150)
    rows = {name: [json.loads(line) for line in (tmp_path / f"{name}.jsonl").open()] for name in counts}
    assert {name: len(found) for name, found in rows.items()} == counts and counts["test"] == 150
    pairs = {}
    for name, found in rows.items():
        for row in found:
            a, b = map(int, row["id"].split("+"))
            told = row["check"]["answer"] if name == "answers" else row["answer"]
            assert int(told) == a + b and (row.get("query") or row["problem"]) == f"{a} + {b} = ?"
            assert all(int(x) + int(y) < 10 for x, y in zip(str(a), str(b), strict=True)), "it carries"
            pairs.setdefault(name, set()).add(frozenset((a, b)))
    assert not (
        pairs["answers"] & pairs["problems"] or (pairs["answers"] | pairs["problems"]) & pairs["test"]
    )
    larger_first = sum(int(row["id"].split("+")[0]) > int(row["id"].split("+")[1]) for row in rows["test"])
    assert 45 < larger_first < 105, "the sample leans to one order of the two numbers"
